"""``capi-async dashboard``: a page in the browser that shows what a durable spool does."""

from __future__ import annotations

import asyncio
import os
import secrets
from functools import partial
from typing import Annotated, Final

import typer

from capi_async.cli.queue import SpoolUrl, opened
from capi_async.cli.running import plainly, run, say
from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import LOCAL, Access
from capi_async.dashboard.serve import listen
from capi_async.dashboard.site import Dashboard
from capi_async.dashboard.spool_source import SpoolSource
from capi_async.errors import ConfigError
from capi_async.spec import is_loopback
from capi_async.watch.history import FINE_S

_TOKEN: Final = "CAPI_ASYNC_DASHBOARD_TOKEN"  # noqa: S105 - the name of a variable


@plainly
def dashboard(
    spool: SpoolUrl,
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535, metavar="N")
    ] = 8790,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a token.", metavar="H")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            help=f"env:NAME of a variable with the token that opens the page, {_TOKEN} unless given; without one it is "
            "made and printed.",
            metavar="env:NAME",
        ),
    ] = None,
) -> None:
    """Show in the browser what a durable spool does: destinations, rates, recent events, dead letters, replay.

    On this machine's own address (127.0.0.1) whoever uses the machine may open it. On any other address it asks for a
    token; put it behind HTTPS there. Ctrl-C ends it.
    """
    local = is_loopback(host.strip("[]"))
    known = _token(token, needed=not local)
    access = Access(known, hosts=LOCAL if local else None, clock=SYSTEM_CLOCK)
    run(_serve(spool, access, host, port))


def _token(named: str | None, *, needed: bool) -> str | None:
    if named is not None and not named.startswith("env:"):
        raise ConfigError("--token: others on this host see what stands here: set a variable, and write env:NAME")
    name = (named or f"env:{_TOKEN}").removeprefix("env:")
    found = os.environ.get(name) or None
    if found is None and named is not None:
        raise ConfigError(f"--token: the environment variable {name} is not set")
    if found is None and needed:
        found = secrets.token_urlsafe(24)
        say(f"capi-async: the token for this run is {found}")
    return found


async def _serve(url: str, access: Access, host: str, port: int) -> None:
    async with opened(url, reading=True) as spool:
        source = SpoolSource(spool, partial(opened, url, reading=False))
        await source.look()
        runner = await listen(Dashboard(source, access, durable=True), host, port)
        try:
            name = f"[{host}]" if ":" in host and not host.startswith("[") else host
            say(f"capi-async: the dashboard is on http://{name}:{runner.addresses[0][1]}/ (Ctrl-C ends it)")
            while True:
                await asyncio.sleep(FINE_S)
                await source.look()
        finally:
            await runner.cleanup()
