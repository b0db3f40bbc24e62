"""Dead letters become pending again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from capi_async.spool.base import LetterFilter, Record
from capi_async.spool.sqlite.dead_letters import select
from capi_async.spool.sqlite.group import split
from capi_async.spool.sqlite.store import Store, count

#: Letters per transaction: others want to write, too.
_A_TURN: Final = 500


def replay(
    store: Store, wanted: LetterFilter, permitted: Callable[[str], bool] | None, now: float
) -> Mapping[str, int]:
    """Make dead letters pending again, or final if they are too old or not permitted; how many, per destination.

    An uncertain one is sent once more because somebody asks for it: it counts as never attempted.
    """
    with store.transaction(sync=False) as db:
        wanted_letters = select(db, wanted)
    ids = [letter.id for letter in wanted_letters]
    # asked before the file is locked: the callable may look somewhere else, and take its time
    refused = {one.id for one in wanted_letters if permitted is not None and not permitted(one.event_id)}
    replayed: Counter[str] = Counter()
    for start in range(0, len(ids), _A_TURN):
        found = store.read_letters(ids[start : start + _A_TURN])
        with store.transaction(sync=True) as db:
            counts: Counter[tuple[str, str]] = Counter()
            again: list[Record] = []
            for letter, record in found:
                if not store.letters.remove(db, letter):
                    continue  # somebody else was faster
                counts[letter.destination, letter.kind] -= 1
                if record.expires_at <= now:
                    counts[letter.destination, "expired"] += 1
                elif letter.id in refused:
                    counts[letter.destination, "skipped"] += 1
                else:
                    again.append(record)
                    replayed[letter.destination] += 1
            for chunk in split(again):
                store.insert(db, chunk, mine=False)
                counts[chunk.destination, "pending"] += chunk.left
                counts[chunk.destination, "bytes"] += chunk.size
                chunk.drop()
            count(db, counts)
    return replayed
