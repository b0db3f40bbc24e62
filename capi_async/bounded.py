"""Dicts that remember the latest so many keys."""

from __future__ import annotations

from itertools import islice
from typing import Any

#: Keys that go at once, as a share of all.
_SHARE = 16


def make_room(held: dict[Any, Any], most: int) -> None:
    """Forget the oldest keys of ``held``, a sixteenth of them at once, if it has ``most`` of them.

    To be called before a new key is added. One key at a time would be dear: a dict walks over the places of all that
    was deleted in front of its first key, which with a million keys makes each deletion cost a millisecond.
    """
    if len(held) >= most:
        for key in list(islice(held, max(1, most // _SHARE))):
            del held[key]
