"""The facts of a run, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from capi_async.cli.summary import Reason, Summary
from capi_async.cli.terminal import cell, show_line
from capi_async.spool.base import Ledger

#: Counts that mean that something was rejected or lost.
LOST: Final = ("rejected", "uncertain", "dead", "expired", "dropped", "pending")
_ALWAYS: Final = ("accepted", "delivered", "rejected", "skipped", "uncertain", "dead")
_IF_ANY: Final = ("expired", "dropped", "forgotten", "pending")
_REASONS_SHOWN: Final = 3


class DestinationFacts(Struct, frozen=True, kw_only=True):
    """One destination at the end of a run; seconds throughout.

    Attributes:
        events_per_request: Events in all requests, repeats included, per request.
        seconds: From the start to the last outcome.
        p50_s, p99_s: From acceptance to delivery; ``None`` if nothing was delivered.
    """

    accepted: int
    delivered: int
    rejected: int
    skipped: int
    uncertain: int
    dead: int
    expired: int
    dropped: int
    forgotten: int
    pending: int
    requests: int
    events_per_request: float
    seconds: float
    p50_s: float | None
    p99_s: float | None
    reasons: Sequence[Reason]

    @property
    def lost(self) -> int:
        """Events that were rejected, or that cannot be said to have arrived."""
        return sum(getattr(self, kind) for kind in LOST)


def facts(ledger: Mapping[str, Ledger], summary: Summary) -> dict[str, DestinationFacts]:
    """What is to be told of each destination."""
    return {name: _facts_of(name, counts, summary) for name, counts in ledger.items()}


def _facts_of(name: str, counts: Ledger, summary: Summary) -> DestinationFacts:
    requests = summary.requests(name)
    return DestinationFacts(
        **{kind: getattr(counts, kind) for kind in (*_ALWAYS, *_IF_ANY)},
        requests=requests,
        events_per_request=round(summary.carried(name) / requests, 1) if requests else 0.0,
        seconds=round(summary.seconds(name), 3),
        p50_s=summary.percentile(name, 0.50),
        p99_s=summary.percentile(name, 0.99),
        reasons=summary.reasons(name),
    )


def show(console: Console, found: Mapping[str, DestinationFacts]) -> None:
    """The table, and below it the first reasons of each destination."""
    kinds = [*_ALWAYS, *(kind for kind in _IF_ANY if any(getattr(one, kind) for one in found.values()))]
    counts = {name: [_count(kind, getattr(one, kind)) for kind in kinds] for name, one in found.items()}
    speeds = {name: _speed(one) for name, one in found.items()}
    whole = _table((*kinds, *_SPEED), {name: [*counts[name], *speeds[name]] for name in found})
    if not console.is_terminal or _width(console, whole) <= console.width:
        print_whole(console, whole)
    else:
        # two tables that fit are easier to read than one whose lines are broken
        print_whole(console, _table(kinds, counts))
        console.print()
        print_whole(console, _table(_SPEED, speeds))
    for name, one in found.items():
        show_reasons(console, name, one.reasons)


_SPEED: Final = ("requests", "ev/req", "seconds", "p50", "p99")


def _speed(one: DestinationFacts) -> list[Text]:
    return [
        Text(f"{one.requests:,}"),
        Text(f"{one.events_per_request:,.1f}"),
        Text(f"{one.seconds:.1f}"),
        Text(duration(one.p50_s)),
        Text(duration(one.p99_s)),
    ]


def _table(headings: Sequence[str], rows: Mapping[str, Sequence[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("destination", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(cell(name), *row)
    return table


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def duration(seconds: float | None) -> str:
    """Seconds as people read them."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _count(kind: str, count: int) -> Text:
    style = "" if not count else "green" if kind == "delivered" else "yellow" if kind in LOST else ""
    return Text(f"{count:,}", style=style)


def show_reasons(console: Console, name: str, reasons: Sequence[Reason]) -> None:
    """The first reasons of one destination."""
    for reason in reasons[:_REASONS_SHOWN]:
        where = f"{reason.field}: " if reason.field else ""
        fix = f" ({reason.fix})" if reason.fix else ""
        show_line(console, f"{name}: {reason.kind}: {where}{reason.reason}{fix}")
    if len(reasons) > _REASONS_SHOWN:
        show_line(console, f"{name}: and other reasons; --json shows more")


def print_whole(console: Console, table: Table) -> None:
    """At its full width: a narrow terminal wraps lines, which is better than numbers cut off."""
    width = console.width
    console.width = max(width, _width(console, table))
    console.print(table)
    console.width = width
