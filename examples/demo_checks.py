"""What must hold after the demo, whatever went wrong on the way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from capi_async import Outcome
from capi_async.spool.base import Ledger

#: Platforms that answer yes to anything, so that nobody is told of a poisoned event.
BLIND: Final = frozenset({"ga4"})


#: Events without a key that one request may hold, of which one lost answer leaves all in doubt.
_TOGETHER: Final = 250


class Sent(Struct, frozen=True):
    """One event after the run.

    Attributes:
        poisoned: Every platform refuses it.
        outcomes: Destination to what became of it.
        keyless: Destinations where nobody would notice a second copy of this event.
    """

    event_id: str
    poisoned: bool
    outcomes: Mapping[str, Outcome]
    keyless: Collection[str] = ()


def check(
    sent: Sequence[Sent], ledger: Mapping[str, Ledger], stats: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Each check to the destinations that fail it.

    Args:
        ledger: As the client counted.
        stats: As the sandbox counted, with its details.
    """
    fails: dict[str, list[str]] = {
        "every ledger balances, with nothing left over": [
            name for name, counts in ledger.items() if not counts.balanced or counts.pending
        ],
        f"each destination accounts for all {len(sent):,} events": [
            name for name, counts in ledger.items() if counts.accepted != len(sent)
        ],
        "every good event is delivered, or uncertain where a copy would count twice": [
            name for name in ledger if not all(_is_right(one, name) for one in sent if not one.poisoned)
        ],
        "every poisoned event is refused": [
            name for name in ledger if not all(_is_right(one, name) for one in sent if one.poisoned)
        ],
        "the sandbox holds what the ledgers say, each event once": [
            name for name, counts in ledger.items() if not _agrees(counts, stats[name], _swallowed(sent, name))
        ],
        "no copy was counted twice": [name for name in ledger if stats[name]["counted_twice"]],
    }
    return fails


def _is_right(one: Sent, name: str) -> bool:
    kind = one.outcomes[name].kind
    # an answer that was lost may have been the refusal, too
    told = one.poisoned and name not in BLIND
    return kind == ("rejected" if told else "delivered") or (kind == "uncertain" and name in one.keyless)


def _swallowed(sent: Sequence[Sent], name: str) -> int:
    """Events that may have been refused behind a yes."""
    return sum(one.poisoned for one in sent) if name in BLIND else 0


def _agrees(counts: Ledger, stats: Mapping[str, Any], swallowed: int) -> bool:
    """Whether what arrived is what was delivered, and beyond it nothing but uncertain events whose answer was lost."""
    beyond = arrived(stats) - counts.delivered
    lost_answers = sum(int(stats["faults"].get(kind, 0)) for kind in ("reset_after", "truncate", "hang"))
    return -swallowed <= beyond <= min(counts.uncertain, lost_answers * _TOGETHER)


def arrived(stats: Mapping[str, Any]) -> int:
    """Distinct events that a platform holds."""
    return int(stats["accepted"]) - int(stats["duplicates"])
