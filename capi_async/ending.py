"""Closes blocking clients that nobody closed when their process ends, and makes them fit for a fork.

A process ends in more ways than one: the interpreter's exit; the end of a child of ``multiprocessing``, which ran no
exit handlers before Python 3.13; a Celery worker's child, which ends with ``os._exit()`` after a signal of Celery's
own. A process that calls ``os._exit()`` itself tells nobody, and what waits in its memory is lost.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any, Protocol
from weakref import WeakSet

from capi_async.log import Log

logger = Log(__name__)

#: Seconds that a process may take at its end, whatever the number of its clients.
EXIT_S = 10.0

#: Among the finalizers of a child of ``multiprocessing``: before those of its queues, which have priorities below 0.
_PRIORITY = 10


class Closable(Protocol):
    """What ends with its process."""

    def close_soon(self, deadline_s: float) -> object:
        """Begin to close, and do not wait."""

    def close(self, deadline_s: float) -> object:
        """Close, or wait for the close that has begun."""

    def after_fork(self) -> None:
        """In the child, before anything else runs there: locks may be held by threads that exist no more."""


_open: set[Closable] = set()
_forkable: WeakSet[Closable] = WeakSet()
_watched: set[str] = set()


def on_fork(client: Closable) -> None:
    """Have :meth:`Closable.after_fork` called in the child of every fork."""
    if "fork" not in _watched and hasattr(os, "register_at_fork"):
        _watched.add("fork")
        os.register_at_fork(after_in_child=_after_fork)
    _forkable.add(client)


def on_exit(client: Closable) -> None:
    """Have a client closed when this process ends, unless :func:`closed` comes first."""
    _open.add(client)
    if "exit" not in _watched:
        _watched.add("exit")
        atexit.register(close_all)
    # the two libraries are looked at each time: they may be imported after the first client was started
    for name in ("multiprocessing.util", "billiard.util"):
        if name in sys.modules and name not in _watched:
            _watched.add(name)
            sys.modules[name].Finalize(None, close_all, exitpriority=_PRIORITY)
    if "celery.signals" in sys.modules and "celery" not in _watched:
        _watched.add("celery")
        sys.modules["celery.signals"].worker_process_shutdown.connect(_on_celery, weak=False)


def closed(client: Closable) -> None:
    """A client was closed, and need not be at the end."""
    _open.discard(client)


def close_all() -> None:
    """Close all clients of this process, at the same time."""
    clients = list(_open)
    for client in clients:
        client.close_soon(EXIT_S)
    for client in clients:
        try:
            client.close(EXIT_S)
        except Exception as error:
            logger.error(
                "closing %r at the end of the process failed (%s): what it held in memory is lost",
                client,
                type(error).__name__,
            )


def _on_celery(**_news: Any) -> None:
    close_all()


def _after_fork() -> None:
    _open.clear()
    # multiprocessing forgets its parent's finalizers in a child; exit handlers and signals' receivers are inherited
    _watched.difference_update(("multiprocessing.util", "billiard.util"))
    for client in list(_forkable):
        client.after_fork()
