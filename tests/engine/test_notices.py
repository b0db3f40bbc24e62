"""The first of a kind is said at once, and after that a sum, once a minute at most."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from capi_async.engine.notices import Notices


class Said:
    """Keeps what was logged, as text."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.extras: list[dict[str, Any] | None] = []

    def log(self, level: int, message: str, /, *arguments: object, extra: dict[str, Any] | None = None) -> None:
        self.texts.append(f"{logging.getLevelName(level)} {message % arguments}")
        self.extras.append(extra)


@pytest.fixture
def said() -> Said:
    return Said()


def test_the_first_of_a_kind_is_said_at_once_and_the_others_as_a_sum(said: Said) -> None:
    """Another kind has a first of its own; what came since the last message is in the next."""
    now = [100.0]
    notices = Notices(said, now=lambda: now[0])
    for number in range(5):
        notices.note(logging.WARNING, ("snap", "email"), "snap: refused: %s", f"e{number}")
    notices.note(logging.INFO, "other", "skipped")
    assert said.texts == ["WARNING snap: refused: e0", "INFO skipped"]
    now[0] += 59.0
    notices.tick()
    notices.note(logging.WARNING, ("snap", "email"), "snap: refused: %s", "e5")
    assert len(said.texts) == 2
    now[0] += 1.0
    notices.tick()
    assert said.texts[2:] == ["WARNING snap: refused: e5 (5 of this kind within 60 s)"]
    assert said.extras[2] == {"count": 5}
    now[0] += 600.0
    notices.tick()
    assert len(said.texts) == 3


def test_a_sum_that_is_due_needs_no_tick(said: Said) -> None:
    """The next of the kind brings it, and after a long silence it is alone."""
    now = [0.0]
    notices = Notices(said, now=lambda: now[0])
    notices.note(logging.WARNING, "a", "text %s", 1)
    now[0] = 61.0
    notices.note(logging.WARNING, "a", "text %s", 2)
    assert said.texts == ["WARNING text 1", "WARNING text 2"]


def test_what_was_not_said_is_said_at_the_end(said: Said) -> None:
    """Once; and a count may be given."""
    notices = Notices(said, now=lambda: 5.0)
    notices.note(logging.ERROR, "a", "lost", count=3)
    notices.note(logging.ERROR, "a", "lost", count=4)
    notices.flush()
    notices.flush()
    assert said.texts == ["ERROR lost (3 of this kind within 0 s)", "ERROR lost (4 of this kind within 0 s)"]


def test_the_kinds_kept_are_bounded_and_so_is_what_is_said(said: Said) -> None:
    """Whoever invents kinds fills neither memory nor log; one that was quiet for long makes room, with its sum."""
    now = [0.0]
    notices = Notices(said, now=lambda: now[0], max_kinds=2)
    for kind in ("a", "b", "a", "b", "c", "d", "e"):
        notices.note(logging.INFO, kind, kind)
    assert said.texts == ["INFO a", "INFO b", "INFO c"]
    notices.flush()
    assert said.texts[3:] == ["INFO a", "INFO b", "INFO e (2 of this kind within 0 s)"]
    now[0] = 61.0
    notices.note(logging.INFO, "f", "f")
    assert said.texts[6:] == ["INFO f"]
    assert len(notices._kinds) <= 3
