"""Celery: a client for each process that runs tasks, which is closed before the process ends.

    capi = setup(app, SyncClient.from_env)

    @app.task
    def pay(order_id):
        capi().send(Event("purchase", order_id=order_id, value="72.39", currency="EUR"))

Holds for the pools prefork, solo and threads, and for eager tasks. With ``task_acks_late`` a task that was interrupted
runs again: give events an ``order_id`` or an ``event_id`` of your own, so that the platforms count them once.
"""

from __future__ import annotations

from typing import Any, Final

from capi_async.errors import ConfigError
from capi_async.integrations.wsgi import BlockingOrFactory, OnePerProcess

try:
    from celery import Celery, signals
except ImportError:
    raise ImportError("capi_async.integrations.celery needs Celery: pip install celery") from None

#: Celery kills a child of a worker that does not end; a warm shutdown waits as long as tasks run.
CLOSE_S: Final = 10.0


def setup(app: Celery, client: BlockingOrFactory, *, close_s: float = CLOSE_S) -> OnePerProcess:
    """Make the client where tasks run, and close it there; call it where the application is configured.

    Args:
        app: The application.
        client: A client, or a function or classmethod that makes one: called in each process, with its first task.
        close_s: Seconds that the end of a process may take for events that wait; what a spool in memory holds then is
            lost, and is said.

    Returns:
        A function that gives the client of the process.

    Raises:
        ConfigError: It can be no client.
    """
    if not isinstance(app, Celery):
        raise ConfigError(f"setup() needs a Celery application first, not {type(app).__name__}")
    one = OnePerProcess(client)

    def close(**_news: Any) -> None:
        one.close(close_s)

    # a child of prefork, at its end for whatever reason: warm shutdown, max-tasks-per-child, max-memory-per-child
    signals.worker_process_shutdown.connect(close, weak=False)
    # solo and threads run in the worker itself; tasks may run until it has stopped
    signals.worker_shutdown.connect(close, weak=False)
    return one
