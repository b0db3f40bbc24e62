"""``capi-async google-ads``: what became of events after Google had taken them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from capi_async.cli.accounts import configured
from capi_async.cli.running import plainly, run
from capi_async.cli.terminal import show_line, write_json
from capi_async.destinations.google_ads.destination import GoogleAds
from capi_async.destinations.google_ads.followup import MEANINGS, ActionStatus, request_status
from capi_async.errors import ConfigError
from capi_async.transport import HttpTransport

app = typer.Typer(help="Ask Google Ads what became of events.", no_args_is_help=True)


@app.callback()
def google_ads() -> None:
    """Ask Google Ads what became of events."""


@app.command()
@plainly
def status(
    request_id: Annotated[str, typer.Argument(help="Trace id of an outcome.", metavar="REQUEST_ID")],
    config: Annotated[
        Path | None, typer.Option(help="Take the account of this file, not of the environment.", metavar="FILE")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--account", help="Of several accounts, this one.", metavar="NAME")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how many events of a request were counted, and why the others were not.

    A first answer comes about half an hour after delivery, the last one within a day.
    """
    found = run(_asked(_account(config, name), request_id))
    if as_json:
        write_json([msgspec.to_builtins(one) | {"final": one.final} for one in found], indent=2)
    else:
        _show(Console(highlight=False), found)


def _account(config: Path | None, name: str | None) -> GoogleAds:
    destinations, _ = configured(config, [name] if name else [])
    accounts = [one for one in destinations if isinstance(one, GoogleAds)]
    if not accounts:
        raise ConfigError("no account of Google Ads is configured; set GOOGLE_ADS_CUSTOMER_ID, or use --config FILE")
    if len(accounts) > 1:
        raise ConfigError(f"there are several accounts: use --account with {' or '.join(one.name for one in accounts)}")
    return accounts[0]


async def _asked(account: GoogleAds, request_id: str) -> list[ActionStatus]:
    transport = HttpTransport()
    try:
        return await request_status(account, transport, request_id)
    finally:
        await transport.aclose()


def _show(console: Console, found: list[ActionStatus]) -> None:
    if not found:
        show_line(console, "Google says nothing of this request yet; ask again in half an hour")
    for one in found:
        events = "" if one.events is None else f", {one.events} events"
        show_line(console, f"conversion action {one.action}: {one.status}{events}")
        for kind, counts in (("not counted", one.errors), ("warning", one.warnings)):
            for reason, count in sorted(counts.items(), key=lambda pair: -pair[1]):
                meaning = f" ({MEANINGS[reason]})" if reason in MEANINGS else ""
                show_line(console, f"  {count} {kind}: {reason}{meaning}")
