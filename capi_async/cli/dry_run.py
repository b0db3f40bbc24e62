"""``send --dry-run``: what would become of every event of a file, offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from capi_async.cli.lines import Good
from capi_async.cli.mapping import Mapper
from capi_async.cli.readers import Source, read
from capi_async.cli.reporting import Reporter
from capi_async.cli.summary import Reason, note_reason
from capi_async.cli.table import print_whole, show_reasons
from capi_async.cli.terminal import cell, show_line
from capi_async.cli.unidentified import Unidentified
from capi_async.client import Client
from capi_async.errors import EventError
from capi_async.spec import Destination

_VERDICTS: Final = ("would_be_sent", "rejected", "skipped", "expired")


class Expected(Struct, kw_only=True):
    """What is to be expected of one destination."""

    would_be_sent: int = 0
    rejected: int = 0
    skipped: int = 0
    expired: int = 0
    reasons: list[Reason] = []


class DryRun(Struct, frozen=True, kw_only=True):
    """The result of a dry run; nothing was sent.

    Attributes:
        unread: Identifiers that could not be read, and why.
        lost: Whether something would be rejected, a line was bad, or nothing at all would be sent.
    """

    destinations: Mapping[str, Expected]
    events: int
    bad_lines: int
    problems: Sequence[Any]
    unread: Sequence[str]
    lost: bool


def dry_run(
    destinations: Sequence[Destination],
    options: Mapping[str, Any],
    sources: Sequence[Source],
    mapper: Mapper | None,
    group_by: str,
) -> DryRun:
    """Read everything and explain each event to itself."""
    client = Client(destinations, **options)
    reporter = Reporter()
    unread = Unidentified()
    counts = {one.name: Counter[str]() for one in client.destinations}
    reasons: dict[str, dict[tuple[str, str, str], Reason]] = {name: {} for name in counts}
    events = 0
    for source in sources:
        for piece in read(source, mapper, group_by=group_by):
            for one in piece:
                if not isinstance(one, Good):
                    reporter.tell(one)
                    continue
                try:
                    found = client.explain(one.event)
                except EventError as error:
                    reporter.bad(one, error)
                    continue
                events += 1
                reporter.repeats.look(one)
                unread.add(found)
                for name, said in found.items():
                    counts[name]["would_be_sent" if said.verdict == "pending" else said.verdict] += 1
                    if said.verdict != "pending":
                        note_reason(reasons[name], said.verdict, said.field, said.reason, said.fix)
    reporter.end()
    expected = {
        name: Expected(
            **{verdict: counts[name][verdict] for verdict in _VERDICTS}, reasons=list(reasons[name].values())
        )
        for name in counts
    }
    sent = any(one.would_be_sent for one in expected.values())
    refused = any(one.rejected or one.expired for one in expected.values())
    return DryRun(
        destinations=expected,
        events=events,
        bad_lines=reporter.bad_lines,
        problems=reporter.problems,
        unread=unread.lines(),
        lost=bool(reporter.bad_lines or refused or not sent),
    )


def show_dry_run(console: Console, found: DryRun) -> None:
    """The table, the first reasons of each destination, and what could not be read."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("destination", no_wrap=True)
    for heading in _VERDICTS:
        table.add_column(heading.replace("_", " "), justify="right", no_wrap=True)
    for name, one in found.destinations.items():
        table.add_row(cell(name), *(f"{getattr(one, verdict):,}" for verdict in _VERDICTS))
    print_whole(console, table)
    for name, one in found.destinations.items():
        show_reasons(console, name, one.reasons)
    for line in found.unread:
        show_line(console, f"not read: {line}")
    bad = f", {found.bad_lines:,} bad lines" if found.bad_lines else ""
    show_line(console, f"{found.events:,} events read{bad}; nothing was sent")
