"""Dead letters as a whole, in any spool: counted by reason, erased."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import DeadLetter, LetterFilter, Spool

_FORGOTTEN: Final = Outcome(kind="forgotten", reason="erased on request")


class Heap(Struct, kw_only=True):
    """Dead letters that ended alike.

    Attributes:
        first_at, last_at: Seconds since the epoch at which the oldest and the newest of them ended.
        sample: Event id of the newest.
    """

    destination: str
    kind: str
    reason: str
    count: int
    first_at: float
    last_at: float
    sample: str


def heaps(letters: Iterable[DeadLetter]) -> list[Heap]:
    """Dead letters by destination, kind and reason; the largest heap first."""
    found: dict[tuple[str, str, str], Heap] = {}
    for letter in letters:
        key = letter.destination, letter.kind, letter.reason
        heap = found.get(key)
        if heap is None:
            found[key] = Heap(
                destination=letter.destination, kind=letter.kind, reason=letter.reason, count=1, first_at=letter.at,
                last_at=letter.at, sample=letter.event_id,
            )  # fmt: skip
            continue
        heap.count += 1
        heap.first_at = min(heap.first_at, letter.at)
        if letter.at > heap.last_at:
            heap.last_at, heap.sample = letter.at, letter.event_id
    return sorted(found.values(), key=lambda heap: (-heap.count, heap.destination, heap.reason))


async def forget_letters(spool: Spool, wanted: LetterFilter) -> Mapping[str, int]:
    """Erase dead letters, and what else waits of the same events at the same destinations; how many per destination.

    Raises:
        SpoolError: Storage failed.
    """
    meant = {(letter.destination, letter.event_id) for letter in await spool.letters(wanted)}
    if not meant:
        return {}
    return await spool.settle_matching(lambda record: (record.destination, record.event_id) in meant, _FORGOTTEN)
