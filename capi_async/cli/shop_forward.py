"""One run of ``tiktok-shop forward``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from capi_async.cli.listening import listen
from capi_async.cli.running import say
from capi_async.cli.shop_access import chosen_shops, opened_shop
from capi_async.cli.summary import Summary
from capi_async.cli.table import DestinationFacts, facts
from capi_async.client import Client
from capi_async.errors import ConfigError
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sources.tiktok_shop import TikTokShop, TikTokShopAPIError
from capi_async.sources.tiktok_shop.forwarder import ForwarderCounts, OrderForwarder
from capi_async.sources.tiktok_shop.web import PATH, aiohttp_handler
from capi_async.sources.tiktok_shop.webhooks import WebhookVerifier
from capi_async.spec import Destination

DEFAULT_SPOOL: Final = "sqlite:///tiktok-shop-events.db"
#: An order is asked about again for as long; longer than the time between two starts.
_REMEMBER_DAYS: Final = 7
_LOOK_S: Final = 0.25
#: What a forwarder has a use for, by the names under which the platform subscribes it.
TOPICS: Final = (
    "ORDER_STATUS_CHANGE",
    "CANCELLATION_STATUS_CHANGE",
    "SELLER_DEAUTHORIZATION",
    "UPCOMING_AUTHORIZATION_EXPIRATION",
)


class Plan(Struct, frozen=True, kw_only=True):
    """What the command line says; durations in seconds."""

    share: tuple[str, ...]
    to: Sequence[str]
    config: Path | None
    tokens: Path
    shops: Sequence[str]
    state: str
    spool: str | None
    listen: str | None
    webhook_address: str | None
    poll_every_s: float
    lookback_s: float
    counts_when: str
    cash_on_delivery: bool
    once: bool
    deadline_s: float


class Result(Struct, frozen=True, kw_only=True):
    """What a run did.

    Attributes:
        troubles: Shop to why it could not be read in the end.
        notices: Shop to what somebody should see to.
        lost: Whether something was rejected or lost, or a shop could not be read.
    """

    orders: ForwarderCounts
    destinations: Mapping[str, DestinationFacts]
    troubles: Mapping[str, str]
    lost: bool
    notices: Mapping[str, str] = {}


class Forwarding:
    """Forwards until it is told to end.

    Args:
        options: Of the client.
        sandbox: The one to take orders from; ``None``: the environment's shop.
    """

    def __init__(
        self, plan: Plan, destinations: Sequence[Destination], options: Mapping[str, Any], sandbox: Sandbox | None
    ) -> None:
        self._plan = plan
        self._sandbox = sandbox
        self._summary = Summary(destination.name for destination in destinations)
        spool = plan.spool or options.get("spool", "memory")
        if spool == "memory" and sandbox is None:
            spool = DEFAULT_SPOOL
            say(f"capi-async: purchases wait in {DEFAULT_SPOOL}; --spool names another place")
        self._client = Client(destinations, hooks=[self._summary], **{**options, "spool": remembering(spool)})

    async def run(self) -> Result:
        """Until Ctrl-C, SIGTERM, or with ``once`` until everything that was found is delivered."""
        plan = self._plan
        async with AsyncExitStack() as stack:
            access = await stack.enter_async_context(opened_shop(plan.tokens, self._sandbox))
            shops = [mine for _, mine in await chosen_shops(access, plan.shops)]
            client = await stack.enter_async_context(self._client)
            forwarder = OrderForwarder(
                shops,
                client,
                share=plan.share,  # type: ignore[arg-type]  # the command line takes these names only
                state=plan.state,
                webhooks=self._verifier() if plan.listen else None,
                counts_when=plan.counts_when,  # type: ignore[arg-type]  # as above
                cash_on_delivery=plan.cash_on_delivery,
                poll_every_s=plan.poll_every_s,
                # the sandbox's orders were made a moment ago
                lookback_s=max(plan.lookback_s, 60.0 if self._sandbox else 0.0),
            )
            async with forwarder:
                if plan.listen:
                    own = await stack.enter_async_context(_listening(plan.listen, forwarder))
                    address = plan.webhook_address or (own if self._sandbox else None)
                    for shop in shops:
                        await subscribed(shop, address)
                if plan.once:
                    await forwarder.poll()
                else:
                    await _until_told(forwarder)
                troubles = forwarder.troubles
            await client.flush(plan.deadline_s)
            found = facts(client.ledger(), self._summary)
        return Result(
            orders=forwarder.counts,
            destinations=found,
            troubles=troubles,
            notices=forwarder.notices,
            lost=bool(troubles or any(one.lost for one in found.values())),
        )

    def _verifier(self) -> WebhookVerifier:
        if self._sandbox is not None:
            return WebhookVerifier(APP_KEY, APP_SECRET)
        return WebhookVerifier.from_env()


def remembering(spool: Any) -> Any:
    """The spool's address, with a memory of what was accepted, so that a crash costs no second copy."""
    if not isinstance(spool, str) or not spool.startswith("sqlite:") or "remember_days=" in spool:
        return spool
    return f"{spool}{'&' if '?' in spool else '?'}remember_days={_REMEMBER_DAYS}"


async def subscribed(shop: TikTokShop, address: str | None) -> None:
    """Have the shop's webhooks sent to an address; without one, say how if they are sent nowhere."""
    try:
        if address is not None:
            for topic in TOPICS:
                await shop.set_webhook(topic, address)
            say(f"capi-async: shop {shop.shop_id} sends its webhooks to {address}")
        elif TOPICS[0] not in {one.event_type for one in await shop.get_webhooks() if one.address}:
            say(
                f"capi-async: shop {shop.shop_id} sends its webhooks nowhere, so that orders wait for the next poll; "
                f"--webhook-address https://YOUR.DOMAIN{PATH} subscribes them"
            )
    except TikTokShopAPIError as error:
        say(
            f"capi-async: shop {shop.shop_id}: its webhooks could not be subscribed ({error}); polling finds its orders"
        )


@asynccontextmanager
async def _listening(address: str, forwarder: OrderForwarder) -> AsyncIterator[str]:
    """Takes webhooks; gives the address at which it does.

    Raises:
        ConfigError: It cannot listen there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("--listen takes HOST:PORT, such as 127.0.0.1:8080")
    runner = await listen({("POST", PATH): aiohttp_handler(forwarder)}, host, int(port))
    try:
        own = f"http://{host}:{runner.addresses[0][1]}{PATH}"
        say(f"capi-async: webhooks are taken at {own}")
        yield own
    finally:
        await runner.cleanup()


async def _until_told(forwarder: OrderForwarder) -> None:
    """Until Ctrl-C or SIGTERM; a second one ends at once."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, told.set)
    say(f"capi-async: forwarding as process {os.getpid()}; Ctrl-C ends it")
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    try:
        with progress:
            task = progress.add_task("forwarding", total=None, note="")
            while not told.is_set() and forwarder.running:
                counts = forwarder.counts
                note = f"{counts.webhooks:,} webhooks, {counts.forwarded:,} purchases forwarded"
                progress.update(task, note=note)
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await told.wait()
                except TimeoutError:
                    continue
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
