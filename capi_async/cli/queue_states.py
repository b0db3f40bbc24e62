"""What the processes on a spool say of each destination: its state with the reason, and how long the oldest waits."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from capi_async.spool.base import Spool, board_of
from capi_async.watch.telling import EVERY_S, ask, told

#: Seconds that processes get to answer: they look every :data:`~capi_async.watch.telling.EVERY_S`.
_ANSWER_S: Final = EVERY_S + 1.0
#: The worse a state, the later it stands here: of several processes, the worst one's is shown.
_ORDER: Final = ("open", "broken", "paused")


async def told_states(spool: Spool) -> dict[str, dict[str, Any]]:
    """Destination to state, reason, fix and the age of the oldest, of the processes that deliver and have answered.

    Raises:
        SpoolError: The question cannot be left, or the answers cannot be read.
    """
    board = board_of(spool)
    if board is None:
        return {}
    await ask(board)
    await asyncio.sleep(_ANSWER_S)
    found: dict[str, dict[str, Any]] = {}
    for one in told(await board.notes()):
        for name, seen in one.snapshot.destinations.items() if one.snapshot.delivers else ():
            known = found.setdefault(name, {"state": "open", "reason": "", "fix": "", "oldest_s": None})
            if _ORDER.index(seen.state) > _ORDER.index(known["state"]):
                known |= {"state": seen.state, "reason": seen.reason, "fix": seen.fix}
            if known["state"] == seen.state == "open" and seen.throttled:
                known["reason"] = f"throttled: {seen.throttled}"
            if seen.oldest_s is not None:
                known["oldest_s"] = max(round(seen.oldest_s, 1), known["oldest_s"] or 0.0)
    return found


def waiting_text(facts: dict[str, Any]) -> str:
    """The same as words."""
    parts = [facts["state"] + (f": {facts['reason']}" if facts["reason"] else "")]
    if facts["fix"]:
        parts.append(facts["fix"])
    if facts["oldest_s"] is not None:
        parts.append(f"the oldest has waited for {facts['oldest_s']:.0f} s")
    return "; ".join(parts)
