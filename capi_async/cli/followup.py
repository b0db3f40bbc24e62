"""``capi-async followup``: what became of events after the platforms had taken them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from capi_async.cli.accounts import configured
from capi_async.cli.queue import opened
from capi_async.cli.running import EXIT_LOST, plainly, run
from capi_async.cli.terminal import cell, show_line, write_json
from capi_async.engine.followup import FollowedUp, follow_up
from capi_async.errors import ConfigError
from capi_async.followup import Told
from capi_async.spec import Destination
from capi_async.transport import HttpTransport

_UNITS_S: Final = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}
_AGE: Final = re.compile(r"([0-9]{1,6})([mhd])")


@plainly
def followup(
    since: Annotated[
        str, typer.Option(help="Age of the deliveries that are asked about, such as 90m, 24h or 7d; or a moment (UTC).")
    ] = "24h",
    config: Annotated[
        Path | None, typer.Option(help="Take the accounts and the spool of this file.", metavar="FILE")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(help="Only this destination; may be repeated.", metavar="NAME")
    ] = None,
    spool: Annotated[
        str | None,
        typer.Option(help="The durable spool that was delivered from; env:NAME reads it there.", metavar="SPOOL"),
    ] = None,
    limit: Annotated[
        int, typer.Option(help="Requests per destination that are asked about at most, the newest first.", min=1)
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how many delivered events were matched or refused, and why, where a platform tells it later.

    Delivered means that the platform took an event. Google Ads is asked by the ids of delivered requests, which a
    durable spool keeps for 50 days. A platform that tells nothing later is named with where to look instead.

    Exit codes: 0; 1: a platform that tells something could not be asked, or not about everything; 2: the command or
    its configuration is wrong.
    """
    found = run(_found(config, to or [], spool, _moment(since), limit))
    if as_json:
        write_json([_plain(one) for one in found], indent=2)
    else:
        _show(Console(highlight=False), found)
    raise typer.Exit(EXIT_LOST if any(one.problems or one.unasked for one in found) else 0)


async def _found(
    config: Path | None, names: Sequence[str], spool: str | None, since: float, limit: int
) -> list[FollowedUp]:
    destinations, options = configured(config, names)
    async with AsyncExitStack() as stack:
        kept = await _kept(stack, destinations, spool or options.get("spool", "memory"))
        transport = HttpTransport()
        stack.push_async_callback(transport.aclose)
        return await follow_up(destinations, kept, transport, since=since, limit=limit)


async def _kept(stack: AsyncExitStack, destinations: Sequence[Destination], spool: str) -> Any:
    """The spool, if anybody needs it and it outlives its process."""
    if spool == "memory" or not any(one.followup.by_request for one in destinations):
        return None
    return await stack.enter_async_context(opened(spool, reading=True))


def _moment(text: str) -> float:
    if age := _AGE.fullmatch(text.strip()):
        return time.time() - int(age[1]) * _UNITS_S[age[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError("--since needs an age such as 90m, 24h or 7d, or a moment such as 2026-11-27T08:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _plain(one: FollowedUp) -> dict[str, Any]:
    return {**msgspec.to_builtins(one), "told": [msgspec.structs.asdict(told) for told in one.told]}


def _show(console: Console, found: Sequence[FollowedUp]) -> None:
    rows = [(one.destination, told) for one in found for told in one.told]
    if rows:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("destination", overflow="fold", max_width=14)
        table.add_column("of", overflow="fold", max_width=22)
        table.add_column("events", justify="right")
        table.add_column("became")
        table.add_column("why", ratio=1, overflow="fold")
        for name, told in rows:
            count = "" if told.events is None else str(told.events)
            table.add_row(cell(name), cell(told.about), count, told.kind, cell(_why(told)))
        console.print(table)
    for one in found:
        show_line(console, f"{one.destination}: {one.tells}")
        if one.requests or one.unasked:
            left = f"; {one.unasked} further ones were not asked about" if one.unasked else ""
            show_line(console, f"  requests answered: {one.requests}, with {one.events} delivered events{left}")
        for problem, times in one.problems.items():
            show_line(console, f"  not told: {problem}" + (f" ({times} times)" if times > 1 else ""))


def _why(told: Told) -> str:
    return f"{told.reason}: {told.meaning}" if told.reason and told.meaning else told.reason or told.meaning
