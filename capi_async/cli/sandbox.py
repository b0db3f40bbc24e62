"""``capi-async sandbox``: every platform on a local port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from capi_async.cli.running import plainly, run
from capi_async.cli.terminal import cell
from capi_async.errors import ConfigError
from capi_async.nearest import nearest
from capi_async.sandbox import TOKEN, Sandbox, serve


@plainly
def sandbox(
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535, metavar="N")
    ] = 8787,
    host: Annotated[str, typer.Option(help="Address to listen on.", metavar="H")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Seed of faults and generated ids.", metavar="S")] = 0,
    rates: Annotated[
        bool, typer.Option("--rates/--no-rates", help="Keep the platforms' documented request rates, or lift them.")
    ] = True,
    poison: Annotated[str | None, typer.Option(help="Refuse every event that holds this text.", metavar="TEXT")] = None,
    reading: Annotated[
        list[str] | None,
        typer.Option(
            help="Another answer to a question that no source settles; may be repeated; list shows them.",
            metavar="PLATFORM=NAME|list",
        ),
    ] = None,
) -> None:
    """Run the sandbox: a local server that plays every platform, strictly.

    Set a destination's base_url to one of the addresses shown. The access token is sandbox-token, and every account id
    of valid form exists. The page at / shows what arrived; /_sandbox/arrivals, /_sandbox/stats and /_sandbox/faults
    read and steer the sandbox. Ctrl-C ends it.
    """
    if "list" in (reading or ()):
        _show_readings(Console(highlight=False))
        return
    options: dict[str, Any] = {"seed": seed, "poison": poison, "readings": _readings(reading or ())}
    if not rates:
        options["rates"] = dict.fromkeys(Sandbox().platforms)
    try:
        run(serve(host, port, ready=_announce, **options))
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror or type(error).__name__})") from None
    except KeyboardInterrupt:
        print("\nThe sandbox has ended.")


def _readings(wanted: Sequence[str]) -> dict[str, set[str]]:
    """What ``--reading`` names, checked before anything listens."""
    chosen: dict[str, set[str]] = {}
    for one in wanted:
        platform, equals, names = one.partition("=")
        if not equals or not names:
            every = [f"{name}={it}" for name in Sandbox().platforms for it in Sandbox().readings(name)]
            own = [known for known in every if known.endswith(f"={one}")]
            hint = f"; is {own[0]} meant?" if own else nearest(one, every)
            raise ConfigError(f"--reading: {one!r} is no PLATFORM=NAME; --reading list shows all{hint}")
        chosen.setdefault(platform.strip(), set()).update(name.strip() for name in names.split(","))
    try:
        Sandbox(readings=chosen)
    except ValueError as error:
        raise ConfigError(f"--reading: {error}") from None
    return chosen


def _show_readings(console: Console) -> None:
    server = Sandbox()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("reading", no_wrap=True)
    table.add_column("what it changes")
    for platform in server.platforms:
        for name, meaning in server.readings(platform).items():
            table.add_row(cell(f"{platform}={name}"), cell(meaning))
    console.print(table)


def _announce(server: Sandbox) -> None:
    width = max(map(len, server.platforms))
    print(f"The sandbox listens on {server.base_url}/ (token: {TOKEN}). Ctrl-C ends it.\n", flush=True)
    for platform in server.platforms:
        print(f"  {platform:{width}}  {server.url(platform)}", flush=True)
    app = server.tiktok_shop.app
    print("\ntiktok_shop: for capi-async tiktok-shop in another terminal:", flush=True)
    print(f"  export TIKTOK_SHOP_APP_KEY={app.key} TIKTOK_SHOP_APP_SECRET={app.secret}", flush=True)
    print(f"  export TIKTOK_SHOP_SERVICE_ID={app.service_id}", flush=True)
    print(f"  export TIKTOK_SHOP_API_BASE_URL={server.url('tiktok_shop')}", flush=True)
    print(f"orders, tokens and webhooks are steered at {server.base_url}/_sandbox/tiktok_shop\n", flush=True)
