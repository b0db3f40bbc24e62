"""Where an error came from, in words that hold nothing of an event: modules, lines, functions and types of errors.

A usual traceback ends with the error's text, which may quote what the code was given, and error trackers add the values
of variables. What is said here is of the code alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Final

#: Frames of one error that are told, the innermost; and errors that led to one another.
_MOST_FRAMES: Final = 8
_MOST_ERRORS: Final = 4
_OURS: Final = "capi_async."


def place_of(error: BaseException) -> str:
    """The innermost place outside of this package where an error came from, such as ``capi_acme:58 in body``.

    Inside of this package, if it never left it; empty where nothing is known.
    """
    places = list(_places(error.__traceback__))
    theirs = [place for place in places if not place.startswith(_OURS)]
    return (theirs or places or [""])[-1]


def trace_of(error: BaseException) -> str:
    """A traceback of lines alone, most recent call last, with the errors that led to this one before it."""
    told: list[str] = []
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen and len(seen) < _MOST_ERRORS:
        seen.add(id(now))
        lines = [*list(_places(now.__traceback__))[-_MOST_FRAMES:], type(now).__name__]
        told.insert(0, "\n".join(lines))
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)
    return "\n-- led to --\n".join(told)


def _places(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        module: object = trace.tb_frame.f_globals.get("__name__", "?")
        yield f"{module}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
