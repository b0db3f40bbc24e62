"""``capi-async top``: what a durable spool does, live, in one table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer
from msgspec import Struct, structs
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from capi_async.cli.queue import SpoolUrl, opened
from capi_async.cli.running import plainly, run
from capi_async.cli.terminal import cell, write_json
from capi_async.clock import SYSTEM_CLOCK
from capi_async.spool.base import Ledger

#: Weight of the newest look in a rate: about five looks are told apart.
_NEWEST: Final = 0.4


class Line(Struct, frozen=True, kw_only=True):
    """One destination, as of one look.

    Attributes:
        waiting: Events accepted and not settled.
        in_per_s, out_per_s: Events accepted and settled a second, evened out over some looks.
        still_s: Seconds for which something has waited and nothing was settled.
    """

    waiting: int
    in_per_s: float
    out_per_s: float
    delivered: int
    rejected: int
    lost: int
    still_s: float

    @property
    def state(self) -> str:
        """``idle``, ``moving``, or for how long nothing moves."""
        if not self.waiting:
            return "idle"
        return f"still for {self.still_s:.0f} s" if self.still_s else "moving"


class Watch:
    """Turns looks at the ledgers into rates.

    Args:
        now: A clock that never steps, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at = 0.0
        self._before: Mapping[str, Ledger] = {}
        self._rates: dict[str, tuple[float, float]] = {}
        self._moved_at: dict[str, float] = {}

    def look(self, ledger: Mapping[str, Ledger]) -> dict[str, Line]:
        """What there is to show of this look."""
        now = self._now()
        lines = {name: self._line(name, counts, now) for name, counts in ledger.items()}
        self._at, self._before = now, dict(ledger)
        return lines

    def _line(self, name: str, counts: Ledger, now: float) -> Line:
        before = self._before.get(name)
        incoming, outgoing = self._rates.get(name, (0.0, 0.0))
        if before is not None and (passed_s := now - self._at) > 0:
            # a replay makes settled events wait again: that is no rate below zero
            came = max(0, counts.accepted - before.accepted) / passed_s
            went = max(0, counts.settled - before.settled) / passed_s
            incoming += (came - incoming) * _NEWEST
            outgoing += (went - outgoing) * _NEWEST
        if before is None or counts.settled != before.settled or not counts.pending:
            self._moved_at[name] = now
        self._rates[name] = incoming, outgoing
        return Line(
            waiting=counts.pending,
            in_per_s=round(incoming, 1),
            out_per_s=round(outgoing, 1),
            delivered=counts.delivered,
            rejected=counts.rejected,
            lost=counts.dead + counts.uncertain + counts.expired + counts.dropped,
            still_s=now - self._moved_at[name],
        )


@plainly
def top(
    spool: SpoolUrl,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1, metavar="SECONDS")] = 1.0,
    looks: Annotated[int, typer.Option(help="End after so many looks; 0: at Ctrl-C.", min=0, metavar="N")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per look.")] = False,
) -> None:
    """Watch a durable spool: what waits for each destination, how fast it comes and goes, and whether it moves.

    Lost are events that ended dead, uncertain, expired or dropped; 'capi-async queue dead' says why. The spool is only
    looked into. Ctrl-C ends it.
    """
    run(_watch(spool, every, looks, as_json))


async def _watch(url: str, every_s: float, looks: int, as_json: bool) -> None:
    console = Console(highlight=False)
    watch = Watch(SYSTEM_CLOCK.monotonic)
    live = Live(console=console, auto_refresh=False, transient=False)
    seen = 0
    async with opened(url, reading=True) as spool:
        with live:
            while True:
                lines = watch.look(spool.ledger())
                if as_json:
                    write_json({name: _told(line) for name, line in lines.items()})
                else:
                    live.update(table(lines), refresh=True)
                seen += 1
                if seen == looks:
                    return
                await asyncio.sleep(every_s)


def _told(line: Line) -> dict[str, Any]:
    return {**structs.asdict(line), "still_s": round(line.still_s, 1), "state": line.state}


def table(lines: Mapping[str, Line]) -> Table:
    """The lines, in less than 80 columns."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    made.add_column("destination", overflow="fold")
    for heading in ("waiting", "in/s", "out/s", "delivered", "rejected", "lost"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("state", no_wrap=True)
    for name, line in lines.items():
        made.add_row(
            cell(name),
            f"{line.waiting:,}",
            f"{line.in_per_s:,.1f}",
            f"{line.out_per_s:,.1f}",
            f"{line.delivered:,}",
            f"{line.rejected:,}",
            Text(f"{line.lost:,}", style="yellow" if line.lost else ""),
            Text(line.state, style="red" if line.state.startswith("still") else ""),
        )
    if not lines:
        made.add_row("nothing yet")
    return made
