"""Entries that this process appended or released: their records, or their receipts, for when they come back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from capi_async.spool.base import Record

#: Most records whose receipts are kept; the receipts of older ones stay pending.
MAX_RECORDS: Final = 200_000
#: Most of them that are kept as whole records, so that they need not be decoded when they come back.
MAX_WHOLE: Final = 10_000
#: Most released entries whose receipts are kept.
MAX_RELEASED: Final = 2_000


class _Appended(Struct):
    """An entry that this process appended.

    Attributes:
        items: Its records, or only their receipts.
        id: Given by Redis; empty until it is known, and while the entry is blocked by an older record of its order key.
    """

    items: list[Any]
    id: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the records themselves are kept."""
        return bool(self.items) and isinstance(self.items[0], Record)


class OwnEntries:
    """Entries of one destination that this process appended or released, and that may come back to it."""

    def __init__(self) -> None:
        self._appended: OrderedDict[str, _Appended] = OrderedDict()
        self._released: dict[str, list[Any]] = {}
        self._record_count = 0
        self._whole_count = 0

    def add(self, token: str, records: list[Record]) -> None:
        """Keep the records of an entry that is about to be appended, or at least their receipts.

        This is called before Redis gets the entry, because the entry may come back before Redis's answer does.
        """
        if self._whole_count < MAX_WHOLE:
            self._whole_count += len(records)
            self._appended[token] = _Appended(records)
        else:
            receipts = [record.receipt for record in records]
            if not any(receipts):
                return
            self._appended[token] = _Appended(receipts)
        self._record_count += len(records)
        while self._record_count > MAX_RECORDS:
            self._uncount(self._appended.popitem(last=False)[1])

    def set_id(self, token: str, number: str) -> None:
        """Note the id of an appended entry, if it has not come back yet."""
        entry = self._appended.get(token)
        if entry is not None:
            entry.id = number

    def discard(self, token: str) -> None:
        """Drop an appended entry whose append failed: its receipts must not be settled."""
        entry = self._appended.pop(token, None)
        if entry is not None:
            self._uncount(entry)

    def discard_older(self, number: tuple[int, int]) -> None:
        """Drop the appended entries with ids below this one: other processes have read them."""
        while self._appended:
            token, entry = next(iter(self._appended.items()))
            if not entry.id or id_order(entry.id) >= number:
                return
            self._uncount(self._appended.pop(token))

    def add_released(self, number: str, receipts: Sequence[Any]) -> None:
        """Keep the receipts of an entry that goes back to Redis."""
        if any(receipts) and len(self._released) < MAX_RELEASED:
            self._released[number] = list(receipts)

    def pop(self, token: str, number: str) -> list[Any] | None:
        """Take out what is kept of an entry that came back: records or receipts."""
        entry = self._appended.pop(token, None) if token else None
        if entry is None:
            return self._released.pop(number, None)
        self._uncount(entry)
        return entry.items

    def records(self, token: str) -> list[Any] | None:
        """The records of an appended entry, if they are kept; they stay kept."""
        entry = self._appended.get(token)
        return entry.items if entry is not None and entry.is_whole else None

    def _uncount(self, entry: _Appended) -> None:
        self._record_count -= len(entry.items)
        if entry.is_whole:
            self._whole_count -= len(entry.items)


def id_order(number: str) -> tuple[int, int]:
    """An entry's id in a form that compares by age."""
    milliseconds, _, sequence = number.partition("-")
    return int(milliseconds), int(sequence or 0)
