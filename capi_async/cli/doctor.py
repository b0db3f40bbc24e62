"""``capi-async doctor``: what keeps a configuration from working, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from capi_async.cli.accounts import configured
from capi_async.cli.running import plainly, run
from capi_async.cli.terminal import cell, write_json
from capi_async.client import Client
from capi_async.doctor import Finding, Report
from capi_async.doctor.environment import environment
from capi_async.errors import ConfigError
from capi_async.spec import Destination

_STYLES: Final = {"ok": "green", "note": "", "warning": "yellow", "failure": "red"}


@plainly
def doctor(
    config: Annotated[
        Path | None, typer.Option(help="Look at this TOML file instead of the environment.", metavar="FILE")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(help="Only this destination; may be repeated.", metavar="NAME")
    ] = None,
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Send one event to each in its test mode, where it never counts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what keeps this configuration from working.

    Packages, configuration, credentials, the way to each platform, clocks, accounts and the spool are looked at, and
    every line that is not ok says what to do. Nothing is sent without --send-test.

    The exit code is 0 if nothing is a failure, else 1.
    """
    report = run(_report(config, to or [], send_test=send_test))
    if as_json:
        write_json({"ok": report.ok, "findings": report.findings}, indent=2)
    else:
        _show(Console(highlight=False), report)
    raise typer.Exit(0 if report.ok else 1)


async def _report(config: Path | None, names: list[str], *, send_test: bool = False) -> Report:
    source = str(config) if config else "the environment"
    try:
        destinations, options = configured(config, names)
        client = Client(destinations, **options)
    except ConfigError as error:
        wrong = Finding("configuration", source, "failure", str(error), "mend what is named, then run this again")
        return Report([*environment(), wrong])
    report = await client.check(send_test=send_test)
    return Report([_source(source, destinations, options), *report.findings])


def _source(source: str, destinations: list[Destination], options: dict[str, Any]) -> Finding:
    names = ", ".join(one.name for one in destinations)
    return Finding("configuration", source, "ok", f"{names}; mode {options.get('mode', 'live')}")


def _show(console: Console, report: Report) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("subject", "check", "result"):
        table.add_column(heading, overflow="fold")
    table.add_column("what, and what to do", ratio=1, overflow="fold")
    for one in report.findings:
        said = cell(one.text)
        if one.fix and one.level != "ok":
            said = Text.assemble(said, "\n", (cell(f"-> {one.fix}").plain, "bold"))
        table.add_row(cell(one.subject), cell(one.check), Text(one.level, style=_STYLES[one.level]), said)
    console.print(table)
    bad = sum(one.level == "failure" for one in report.findings)
    warned = sum(one.level == "warning" for one in report.findings)
    console.print(f"{bad} failures, {warned} warnings")
