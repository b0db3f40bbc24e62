"""The receiver that tests kill: an aiohttp application with a forwarder, and a durable spool behind it.

``python -m tests.integration.shop_receiver FOLDER SANDBOX_URL PORT LINGER_S``; prints ``ready`` when it listens.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web
from msgspec.structs import replace

from capi_async import Client, Event, User
from capi_async.destinations import Meta, Pinterest, Snap, TikTok
from capi_async.sandbox import TOKEN
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sources.tiktok_shop.client import TikTokShop
from capi_async.sources.tiktok_shop.forwarder import OrderForwarder
from capi_async.sources.tiktok_shop.models import Order, Shop, TokenSet
from capi_async.sources.tiktok_shop.web import PATH, aiohttp_handler
from capi_async.sources.tiktok_shop.webhooks import WebhookVerifier
from capi_async.spec import Destination

PLATFORMS = ("snap", "pinterest", "tiktok", "meta")


def destinations(sandbox: str) -> list[Destination]:
    """One account at each of the four."""
    return [
        Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token=TOKEN, base_url=f"{sandbox}/snap"),
        Pinterest(ad_account_id="549755885175", access_token=TOKEN, base_url=f"{sandbox}/pinterest"),
        TikTok(
            pixel_code="CEXAMPLE0000000000AA",
            access_token=TOKEN,
            offline_event_set_id="OFFLINE00000001",
            base_url=f"{sandbox}/tiktok",
        ),
        Meta(pixel_id="1234567890", access_token=TOKEN, base_url=f"{sandbox}/meta"),
    ]


def client(folder: Path, sandbox: str, linger_s: float) -> Client:
    """The one that is killed, and its successors."""
    return Client(
        destinations(sandbox),
        spool=f"sqlite:///{folder.absolute() / 'events.db'}?remember_days=7",
        linger_s=linger_s,
    )


def shop(sandbox: str, **settings: object) -> TikTokShop:
    """The sandbox's shop, authorized."""
    tokens = TokenSet(access_token=TOKEN, refresh_token="", access_expires_at=4_000_000_000)
    return TikTokShop(
        APP_KEY,
        APP_SECRET,
        tokens=tokens,
        base_url=f"{sandbox}/tiktok_shop",
        **settings,  # type: ignore[arg-type]
    )


def known_buyer(order: Order, event: Event) -> Event:
    """The address that the seller's own records hold: without one, neither Snap nor Pinterest can use the event."""
    return replace(event, user=User(email=f"buyer-{order.user_id}@example.com", external_id=order.user_id))


def forwarder(folder: Path, source: TikTokShop, client: Client, **options: object) -> OrderForwarder:
    """As a shop would have it."""
    return OrderForwarder(
        source,
        client,
        **{  # type: ignore[arg-type]
            "share": ["buyer_id"],
            "enrich": known_buyer,
            "state": f"sqlite:///{folder.absolute() / 'shop.db'}",
            "webhooks": WebhookVerifier(APP_KEY, APP_SECRET),
            "poll_every_s": 600.0,
            **options,
        },
    )


async def serve(folder: Path, sandbox: str, port: int, linger_s: float) -> None:
    """Until killed, or told to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with shop(sandbox) as seller:
        [us] = [one for one in await seller.get_shops() if one.region == "US"]
        mine = seller.for_shop(Shop(id=us.id, cipher=us.cipher))
        async with client(folder, sandbox, linger_s) as it, forwarder(folder, mine, it) as receiver:
            app = web.Application()
            app.router.add_post(PATH, aiohttp_handler(receiver))
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await ended.wait()
            await receiver.poll()
            await it.flush(20)
            await runner.cleanup()


if __name__ == "__main__":
    where, url, number, linger = sys.argv[1:]
    asyncio.run(serve(Path(where), url, int(number), float(linger)))
