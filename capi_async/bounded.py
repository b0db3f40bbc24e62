"""Dicts that remember the latest so many keys."""

from __future__ import annotations

from itertools import islice
from typing import Any

#: Keys that go at once, as a share of all.
_SHARE = 16


def make_room(held: dict[Any, Any], key: object, most: int) -> None:
    """Before ``key`` is set: forget the oldest keys, a sixteenth of them at once, if it is new and there are ``most``.

    One key at a time would be dear: a dict walks over the places of all that
    was deleted in front of its first key, which with a million keys makes each deletion cost a millisecond.
    """
    if len(held) >= most and key not in held:
        for oldest in list(islice(held, max(1, most // _SHARE))):
            del held[oldest]
