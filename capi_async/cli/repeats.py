"""Rows that share an event id and are not the same event: each platform counts one of them."""

from __future__ import annotations

import re
from collections import OrderedDict
from hashlib import blake2b
from typing import Final

import msgspec

from capi_async.cli.lines import Good
from capi_async.event import Event

#: Event ids remembered; the oldest go first, so that repeats far apart may be missed in a large file.
_MAX_IDS: Final = 200_000
_FIELDS: Final = tuple(name for name in Event.__struct_fields__ if name not in ("event_id", "time"))
_ROUNDED: Final = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+?[0-9]+\Z", re.ASCII)
_encoder: Final = msgspec.json.Encoder()


class Repeats:
    """Counts events whose id an earlier one with other content had."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._count = 0
        self._first: tuple[str, int, int] | None = None
        self._rounded = False

    def look(self, one: Good) -> None:
        """Note an event. Its time does not count: it may be the time of reading."""
        event = one.event
        content = blake2b(_encoder.encode([getattr(event, name) for name in _FIELDS]), digest_size=8).digest()
        before, line = self._seen.setdefault(event.event_id, (content, one.line))
        if before != content:
            self._count += 1
            self._first = self._first or (one.file, line, one.line)
            self._rounded |= bool(_ROUNDED.search(event.event_id))
        elif len(self._seen) > _MAX_IDS:
            self._seen.popitem(last=False)

    def warning(self) -> str:
        """What to tell of them; empty if there are none."""
        if self._first is None:
            return ""
        file, first, second = self._first
        rows = "row repeats" if self._count == 1 else "rows repeat"
        cure = (
            "the ids look rounded by a spreadsheet: keep that column as text"
            if self._rounded
            else "if these are lines of one order, --group-lines order_id makes one event of them; else give each an id"
        )
        return (
            f"{file}: {self._count:,} {rows} the event id of an earlier one with other content (first: lines {first} "
            f"and {second}); each platform counts one event per id; {cure}"
        )
