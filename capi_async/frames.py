"""Errors that reach a caller without the frames they came from.

Error trackers send the locals of every frame of a traceback, and follow ``__context__``. Inside, those locals are what
never to tell: the token, the address that holds it, the environment, what a platform said about a person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=BaseException)


def bare(error: E) -> E:
    """The same error without its frames, and apart from what it came of."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def frameless(*kinds: type[Exception]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let these errors leave a function as :func:`bare` ones; their traceback begins at its caller's line."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except kinds as error:
                failure = bare(error)
            # this frame stays in the traceback
            del args, kwargs
            raise failure

        return run

    return decorate


def frameless_async(*kinds: type[Exception]) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """The same for a coroutine function."""

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return await function(*args, **kwargs)
            except kinds as error:
                failure = bare(error)
            del args, kwargs
            raise failure

        return run

    return decorate
