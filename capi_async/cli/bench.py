"""``capi-async bench``: capi_async beside the SDKs it replaces, on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from capi_async.bench import contenders, environment, harness, latency, web
from capi_async.bench import report as reporting
from capi_async.bench import scaling as curves
from capi_async.bench.chart import draw
from capi_async.cli.running import EXIT_LOST, plainly, say
from capi_async.errors import ConfigError


@plainly
def bench(
    events: Annotated[
        int, typer.Option(help="Events of a run; slow contenders get a stated share.", min=100, metavar="N")
    ] = 100_000,
    repeats: Annotated[int, typer.Option(help="Runs of each contender, after a first one.", min=1, metavar="N")] = 5,
    only: Annotated[list[str] | None, typer.Option(help="Only this contender; may be repeated.", metavar="KEY")] = None,
    destinations: Annotated[
        list[str] | None,
        typer.Option(help="Instead, capi_async alone at this type of destination; may be repeated.", metavar="TYPE"),
    ] = None,
    events_file: Annotated[
        Path | None,
        typer.Option(help="Events from this JSON Lines file instead of seeded ones.", metavar="FILE", exists=True),
    ] = None,
    install_peers: Annotated[
        bool, typer.Option("--install-peers", help="Install the SDKs to compare with from the package index.")
    ] = False,
    peers: Annotated[
        Path | None, typer.Option(help="Folder of the SDKs' environment; default: in the user's cache.", metavar="DIR")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures there.", metavar="FILE")] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw the SVG chart there.", metavar="FILE")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the events, two repeats; of curves the first points.")
    ] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="How cost grows, instead: events, destinations, batches, backlog.")
    ] = False,
    web_app: Annotated[
        bool,
        typer.Option("--web", help="One event at a time, instead, as web applications send: 20 to 1,000 a second."),
    ] = False,
) -> None:
    """Measure what an event costs: capi_async, the SDKs of platforms, and code written by hand.

    Every contender makes the same events, delivers them to a local sink, and runs in a process of its own on a core
    of its own. A run counts only if sent = delivered = counted by the sink. SDKs that are not installed are named;
    --install-peers gets them into an environment of their own.

    The exit code is 0 if every run counts, 1 if one is void.
    """
    if scaling:
        _scale(only, quick, json)
        return
    if web_app:
        _web(only, quick, repeats, install_peers, peers, json, chart, as_markdown)
        return
    if quick:
        events, repeats = max(100, events // 10), min(repeats, 2)
    try:
        entries = contenders.at_destinations(destinations) if destinations else contenders.chosen(only)
        where = environment.Peers((peers or environment.default_folder()).absolute())
        if install_peers:
            where.install({entry.peer for entry in entries if entry.peer})
        before = reporting.facts()
        runs, missing = harness.compare(
            entries, where, events=events, repeats=repeats, events_file=events_file, say=say
        )
        more = latency.accept_us(harness.cores()[0]) | latency.import_ms() if not only and not destinations else {}
    except (ValueError, RuntimeError, harness.Void) as error:
        raise ConfigError(str(error)) from None
    found = reporting.report(runs, missing, repeats=repeats, more=more, described=before)
    _write(json, found)
    if chart:
        _draw(chart, draw(found))
    _tell(found, as_markdown)
    if any(reason.startswith("void") for reason in missing.values()):
        raise typer.Exit(EXIT_LOST)


def _web(
    only: list[str] | None,
    quick: bool,
    repeats: int,
    install_peers: bool,
    peers: Path | None,
    json: Path | None,
    chart: Path | None,
    as_markdown: bool,
) -> None:
    rates = {200: web.RATES[200] / 2} if quick else web.RATES
    try:
        entries = web.chosen(only)
        where = environment.Peers((peers or environment.default_folder()).absolute())
        if install_peers:
            where.install({entry.peer for entry in entries if entry.peer})
        found = web.compare(entries, where, repeats=min(repeats, 2) if quick else repeats, rates=rates, say=say)
    except (ValueError, RuntimeError, harness.Void) as error:
        raise ConfigError(str(error)) from None
    _write(json, found)
    if chart:
        bars, panels = web.as_bars(found)
        _draw(chart, draw(bars, panels, subtitle="One await of send() each, above the driver; median of the repeats"))
    console = _console()
    if as_markdown:
        print(web.markdown(found), end="\n\n")
    else:
        for rate in sorted({one.rate for one in found.contenders}):
            console.print(f"{rate:,} events a second (the driver alone: {found.driver_us[str(rate)]:.0f} us)")
            console.print(_table(web.HEADINGS, web.rows(found, rate), left=(0, 2)))
            console.print()
    for line in web.notes(found):
        console.print(line, soft_wrap=True)
    if any(reason.startswith("void") for reason in found.missing.values()):
        raise typer.Exit(EXIT_LOST)


def _scale(only: list[str] | None, quick: bool, json: Path | None) -> None:
    before = reporting.facts()
    try:
        points = curves.measure_all(quick=quick, only=only, say=say)
    except (ValueError, harness.Void) as error:
        raise ConfigError(str(error)) from None
    _write(json, {"date": reporting.today(), "facts": before, "points": points})
    for line in curves.lines(points):
        print(line)


def _write(path: Path | None, found: object) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def _tell(found: reporting.Report, as_markdown: bool) -> None:
    console = _console()
    if as_markdown:
        print(reporting.markdown(found), end="\n\n")
    else:
        console.print(_table(reporting.HEADINGS, reporting.rows(found), left=(0, 2)))
    for line in reporting.notes(found):
        console.print(line, soft_wrap=True)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _draw(path: Path, drawn: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drawn, "utf-8")
