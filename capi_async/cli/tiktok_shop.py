"""``capi-async tiktok-shop``: connect a shop, look at its orders, forward them."""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode, urlsplit

import typer
from rich.console import Console
from rich.table import Table

from capi_async.cli.accounts import configured, sandbox_destinations
from capi_async.cli.running import EXIT_LOST, plainly, run, say
from capi_async.cli.shop_access import DEFAULT_TOKENS, chosen_shops, demo_orders, opened_shop
from capi_async.cli.shop_forward import Forwarding, Plan, Result
from capi_async.cli.table import print_whole, show
from capi_async.cli.terminal import cell, show_line, write_json
from capi_async.errors import ConfigError
from capi_async.sandbox import Sandbox
from capi_async.sources.tiktok_shop import Order, TikTokShop, new_state, read_callback
from capi_async.sources.tiktok_shop.orders import EVERYTHING, event_id_of, purchase_verdict
from capi_async.sources.tiktok_shop.web import PATH
from capi_async.spec import is_loopback

_HOUR: Final = 3600.0
_ORDERS_PER_CALL: Final = 50
#: In the sandbox, TikTok takes sales that no website saw, too.
_OFFLINE_SET: Final = {"tiktok": {"offline_event_set_id": "7000000000000000001"}}

app = typer.Typer(help="Connect a TikTok Shop, look at its orders, forward them as purchases.", no_args_is_help=True)

Tokens = Annotated[
    Path,
    typer.Option(help="Encrypted file of the tokens; its key is in TIKTOK_SHOP_TOKENS_KEY.", metavar="FILE"),
]
Shops = Annotated[
    list[str] | None,
    typer.Option("--shop", help="Only this shop, by id, region or name; may be repeated.", metavar="SHOP"),
]
InSandbox = Annotated[bool, typer.Option("--sandbox", help="A sandbox inside this process, with a few orders in it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class CountsWhen(StrEnum):
    """When an order counts as a purchase."""

    PAID = "paid"
    CONFIRMED = "confirmed"


class Share(StrEnum):
    """What of a buyer may leave."""

    BUYER_ID = "buyer_id"
    PHONE = "phone"
    NAME = "name"
    ADDRESS = "address"
    EMAIL = "email"
    NOTHING = "nothing"


@app.command()
@plainly
def authorize(
    tokens: Tokens = DEFAULT_TOKENS,
    port: Annotated[
        int | None,
        typer.Option(help="Wait for the seller's return on this port of 127.0.0.1.", min=1, max=65535, metavar="N"),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait on the port.", min=0.0, metavar="SECONDS")] = 600.0,
) -> None:
    """Connect a seller's shops: show where the seller agrees, and keep the tokens.

    The app comes from TIKTOK_SHOP_APP_KEY, TIKTOK_SHOP_APP_SECRET and TIKTOK_SHOP_SERVICE_ID (TIKTOK_SHOP_API_BASE_URL
    points to a sandbox). After agreeing, the seller is sent to the address in the app's settings: paste that here, or
    have it lead to --port.
    """
    run(_authorize(tokens, port, timeout))


async def _authorize(tokens: Path, port: int | None, timeout_s: float) -> None:
    async with opened_shop(tokens) as shop:
        state = new_state()
        say(f"Let the seller open this address and agree: {_link(shop.authorize_url(state), port)}")
        if port is None:
            say("Then paste here the address that the browser was sent to:")
            returned = (await asyncio.to_thread(sys.stdin.readline)).strip()
        else:
            returned = await _returned(port, timeout_s, state)
        granted = await shop.connect(read_callback(returned, expected_state=state))
        console = Console(highlight=False)
        until = _when(granted.refresh_expires_at)
        show_line(console, f"Connected to {granted.seller_name or 'the seller'}, until {until}.")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("shop", "region", "name", "type"):
            table.add_column(heading, no_wrap=True)
        for one in await shop.get_shops():
            table.add_row(*map(cell, (one.id, one.region, one.name, one.seller_type)))
        print_whole(console, table)


def _link(address: str, port: int | None) -> str:
    """Where the seller agrees. The platform returns to the address in the app's settings; a sandbox, to this port."""
    if port is None or not is_loopback(urlsplit(address).hostname or ""):
        return address
    return f"{address}&{urlencode({'redirect_uri': f'http://127.0.0.1:{port}/'})}"


async def _returned(port: int, timeout_s: float, state: str) -> str:
    """The address at which the seller's browser came back; others do not know the state."""
    from aiohttp import web

    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def receive(request: web.BaseRequest) -> web.Response:
        if not {"code", "error"} & set(request.query):
            return web.Response(status=404)
        if not hmac.compare_digest(request.query.get("state", "").encode(), state.encode()):
            return web.Response(status=400, text="This is not the visit that is waited for.")
        if not came.done():
            came.set_result(str(request.rel_url))
        return web.Response(text="Thank you. This window may be closed.")

    runner = web.ServerRunner(web.Server(receive, access_log=None))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            raise ConfigError(f"cannot listen on 127.0.0.1:{port} ({error.strerror})") from None
        say(f"Waiting on http://127.0.0.1:{port}/ for the seller's return.")
        async with asyncio.timeout(timeout_s):
            return await came
    except TimeoutError:
        raise ConfigError(f"the seller did not return within {timeout_s:g} seconds") from None
    finally:
        await runner.cleanup()


@app.command()
@plainly
def orders(
    tokens: Tokens = DEFAULT_TOKENS,
    shop: Shops = None,
    days: Annotated[float, typer.Option(help="Orders made in the last so many days.", min=0.0, metavar="DAYS")] = 7.0,
    status: Annotated[str | None, typer.Option(help="Only of this status.", metavar="STATUS")] = None,
    limit: Annotated[int, typer.Option(help="At most so many of each shop, newest first.", min=1, metavar="N")] = 50,
    counts_when: Annotated[CountsWhen, typer.Option(help="When an order counts.")] = CountsWhen.PAID,
    sandbox: InSandbox = False,
    as_json: AsJson = False,
) -> None:
    """List orders, and which of them are purchases that would be forwarded. Nothing of a buyer is shown."""
    found = run(_orders(tokens, shop or [], days, status, limit, counts_when.value, sandbox))
    if as_json:
        write_json(found, indent=2)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("shop", "order", "status", "paid"):
        table.add_column(heading, no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("items", justify="right", no_wrap=True)
    table.add_column("counts", no_wrap=True)
    for one in found:
        paid, value, counts = one["paid"] or "-", f"{one['value']} {one['currency']}", one["counts"]
        texts = (one["shop"], one["order"], one["status"], paid, value, str(one["items"]), counts)
        table.add_row(*map(cell, texts))
    console = Console(highlight=False)
    print_whole(console, table)
    console.print(f"{len(found):,} orders, {sum(one['counts'] == 'yes' for one in found):,} of them count")


async def _orders(
    tokens: Path, wanted: list[str], days: float, status: str | None, limit: int, counts_when: Any, in_sandbox: bool
) -> list[dict[str, Any]]:
    server = Sandbox() if in_sandbox else None
    async with server or nullcontext():
        if server is not None:
            demo_orders(server)
        async with opened_shop(tokens, server) as access:
            found = []
            for known, mine in await chosen_shops(access, wanted):
                newest = await _newest(mine, days, status, limit)
                found += [_told(known.id, order, counts_when) for order in newest]
            return found


async def _newest(shop: TikTokShop, days: float, status: str | None, limit: int) -> list[Order]:
    """Orders in detail: what is listed may be little more than ids."""
    ids: list[str] = []
    async for order in shop.iter_orders(
        page_size=min(100, limit), start_time=time.time() - days * 24 * _HOUR, order_status=status
    ):
        ids.append(order.id)
        if len(ids) >= limit:
            break
    found: dict[str, Order] = {}
    for at in range(0, len(ids), _ORDERS_PER_CALL):
        found |= {order.id: order for order in await shop.get_orders_by_id(ids[at : at + _ORDERS_PER_CALL])}
    return [found[order_id] for order_id in ids if order_id in found]


def _told(shop_id: str, order: Order, counts_when: Any) -> dict[str, Any]:
    verdict, reason = purchase_verdict(order, counts_when=counts_when)
    return {
        "shop": shop_id,
        "order": order.id,
        "status": order.status,
        "paid": _when(order.paid_time) if order.paid_time else "",
        "value": "-" if order.payment.total_amount is None else format(order.payment.total_amount, "f"),
        "currency": order.payment.currency,
        "items": sum(not line.is_gift for line in order.line_items),
        "counts": "yes" if verdict == "counts" else f"{verdict}: {reason}",
        "event_id": event_id_of(shop_id, order.id),
    }


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else "further notice"


@app.command()
@plainly
def forward(
    share: Annotated[
        list[Share] | None,
        typer.Option(
            help="What of a buyer may leave: buyer_id, phone, name, address, email, or nothing; may be repeated.",
            metavar="WHAT",
        ),
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(help="Only to this destination; may be repeated.", metavar="NAME")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Destinations of this TOML file instead of the environment's.", metavar="FILE")
    ] = None,
    tokens: Tokens = DEFAULT_TOKENS,
    shop: Shops = None,
    state: Annotated[
        str, typer.Option(help="What has been forwarded, and how far polling is.", metavar="URL")
    ] = "sqlite:///tiktok-shop.db",
    spool: Annotated[
        str | None, typer.Option(help="Where accepted purchases wait; default: the configuration's.", metavar="URL")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(help=f"Take webhooks here, under {PATH}, behind your TLS proxy.", metavar="HOST:PORT"),
    ] = None,
    webhook_address: Annotated[
        str | None,
        typer.Option(help=f"Have the shops send them here: https://YOUR.DOMAIN{PATH}.", metavar="URL"),
    ] = None,
    poll_every: Annotated[float, typer.Option(help="Seconds between polls.", min=1.0, metavar="SECONDS")] = 300.0,
    lookback: Annotated[
        float, typer.Option(help="Hours back from which payments count, at this start.", min=0.0, metavar="HOURS")
    ] = 0.0,
    counts_when: Annotated[CountsWhen, typer.Option(help="When an order counts.")] = CountsWhen.PAID,
    cash_on_delivery: Annotated[
        bool, typer.Option("--cash-on-delivery", help="Count these when they are placed, not when they are paid.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Poll once, deliver, and end.")] = False,
    deadline: Annotated[
        float, typer.Option(help="Seconds to go on delivering in the end.", min=0.0, metavar="SECONDS")
    ] = 60.0,
    test: Annotated[bool, typer.Option("--test", help="Use each platform's test mode.")] = False,
    sandbox: InSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Forward paid orders to the ad platforms, each once, until Ctrl-C.

    Orders are found by polling, and by webhooks with --listen. Destinations come from --config or the environment. What
    was forwarded is remembered in --state; keep it, and the spool, over restarts.

    The exit code is 0 if nothing was rejected or lost and every shop could be read, else 1; 2 if the command or its
    configuration is wrong.
    """
    if sandbox and config:
        raise ConfigError("--sandbox and --config exclude each other")
    if webhook_address and not listen:
        raise ConfigError("--webhook-address needs --listen: somebody has to take what is sent there")
    plan = Plan(
        share=_shared(share or []),
        to=to or [],
        config=config,
        tokens=tokens,
        shops=shop or [],
        state="memory" if sandbox and state == "sqlite:///tiktok-shop.db" else state,
        spool=spool,
        listen=listen,
        webhook_address=webhook_address,
        poll_every_s=poll_every,
        lookback_s=lookback * _HOUR,
        counts_when=counts_when.value,
        cash_on_delivery=cash_on_delivery,
        once=once,
        deadline_s=deadline,
    )
    result = run(_forward(plan, test, sandbox))
    _tell(result, as_json)
    raise typer.Exit(EXIT_LOST if result.lost else 0)


def _shared(share: list[Share]) -> tuple[str, ...]:
    names = {one.value for one in share}
    if not names:
        raise ConfigError(
            f"say what of a buyer may leave: --share {', --share '.join(EVERYTHING)}, or --share nothing (most "
            "platforms then skip the event: they have nobody to identify)"
        )
    if "nothing" in names and len(names) > 1:
        raise ConfigError("--share nothing excludes the others")
    return tuple(name for name in EVERYTHING if name in names)


async def _forward(plan: Plan, test: bool, in_sandbox: bool) -> Result:
    server = Sandbox(rates={"cutmeshort": None}, keep_events=False) if in_sandbox else None
    async with server or nullcontext():
        if server is not None:
            demo_orders(server)
            destinations = sandbox_destinations(server.url, plan.to, test=test, overrides=_OFFLINE_SET)
            return await Forwarding(plan, destinations, {"spool": plan.spool or "memory"}, server).run()
        found, options = configured(plan.config, plan.to, test=test)
        return await Forwarding(plan, found, options, None).run()


def _tell(result: Result, as_json: bool) -> None:
    if as_json:
        write_json(result, indent=2)
        return
    console = Console(highlight=False)
    show(console, result.destinations)
    orders = result.orders
    console.print(
        f"{orders.forwarded:,} purchases forwarded; {orders.webhooks:,} webhooks, {orders.copies:,} of them again, "
        f"{sum(orders.refused.values()):,} refused; {orders.cancelled:,} cancelled later",
        soft_wrap=True,
    )
    for kind, reasons in (("not yet", orders.later), ("never", orders.never), ("failed", orders.failed)):
        for reason, count in reasons.items():
            show_line(console, f"{kind}: {reason}: {count:,}")
    for shop_id, trouble in result.troubles.items():
        show_line(console, f"shop {shop_id}: {trouble}")
    for shop_id, notice in result.notices.items():
        show_line(console, f"shop {shop_id}: {notice}")
