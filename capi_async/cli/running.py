"""How a command runs and ends: its event loop, its exit codes, and expected errors as one line each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer

from capi_async.cli.terminal import say as say
from capi_async.errors import CapiError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: Something was rejected or lost.
EXIT_LOST = 1
#: The command, its files or its configuration are wrong; nothing was sent.
EXIT_USAGE = 2
#: Ended by Ctrl-C.
EXIT_INTERRUPTED = 130


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what goes wrong by mistake of the caller into a line on stderr and exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        logger = logging.getLogger("capi_async")
        if not any(isinstance(handler, _Lines) for handler in logger.handlers):
            logger.addHandler(_Lines())
        try:
            return command(*args, **kwargs)
        except CapiError as error:
            say(f"capi-async: {error}")
            raise typer.Exit(EXIT_USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return run


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end, on uvloop where the extra ``speedups`` is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


class _Lines(logging.Handler):
    """Warnings of the library as lines; what its fields hold beyond the text follows it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            values = (record.__dict__.get(name) for name in ("destination", "settings", "reason", "fix"))
            facts = [str(value) for value in values if value and str(value) not in text]
            say(": ".join([f"capi-async: {text}", *facts]))
        except Exception:  # whoever logs must not fail because stderr does
            self.handleError(record)
