"""Dead letters by reason, and what can be done about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from capi_async.dashboard.source import LETTERS
from capi_async.pages.markup import Html, tag
from capi_async.pages.parts import button, clock, row, table
from capi_async.spool.base import DeadLetter, Ledger
from capi_async.spool.letters import Heap, heaps

#: Reasons on one page.
_MOST: Final = 100


def letters_page(
    letters: Sequence[DeadLetter], ledger: Mapping[str, Ledger], form: str, *, durable: bool, done: str
) -> Html:
    """The page.

    Args:
        letters: The newest, at most :data:`~capi_async.dashboard.source.LETTERS`.
        form: The forms' token.
        done: What was just done, to be said.
    """
    if not durable:
        said = (
            "A spool in memory keeps no dead letters. With sqlite:///events.db or redis://… they are kept for replay."
        )
        return tag("p", said, class_="quiet")
    found = heaps(letters)
    ended = sum(counts.dead + counts.uncertain for counts in ledger.values())
    about = f"{ended:,} events ended dead or uncertain by the ledger; {len(letters):,} of them are looked at here"
    about += f" (the newest {LETTERS:,})." if len(letters) == LETTERS else "."
    about += f" The {_MOST} largest of {len(found):,} reasons are shown." if len(found) > _MOST else ""
    return tag(
        "div",
        tag("p", done, role="status") if done else None,
        tag("p", about, class_="quiet"),
        table(
            ("Destination", "Kind", ("Events", "n"), "Reason", "Newest (UTC)", "For example", "Replay", "Forget"),
            [_heap(heap, form) for heap in found[:_MOST]],
            caption="Dead letters by reason",
            empty="No dead letters.",
        ),
    )


def _heap(heap: Heap, form: str) -> Html:
    hidden = {"form": form, "destination": heap.destination, "kind": heap.kind, "reason": heap.reason}
    key = f"{heap.destination} {heap.kind} {heap.reason}"
    twice = " Some may have arrived already, and could be counted twice." if heap.kind == "uncertain" else ""
    return row(
        heap.kind,
        ("n", f"{heap.count:,}"),
        heap.reason,
        ("t", clock(heap.last_at, day=True)),
        tag("code", heap.sample),
        button(
            "Replay", "./replay", hidden, key=f"{key} replay",
            confirm=f"Sends all dead letters of this reason to {heap.destination} again, under their old ids.{twice}",
        ),
        button(
            "Forget", "./forget", hidden, key=f"{key} forget", danger=True,
            confirm=f"Erases all dead letters of this reason at {heap.destination} for good; they cannot be replayed.",
        ),
        head=heap.destination,
    )  # fmt: skip
