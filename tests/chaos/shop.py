"""Two processes forward two shops while they are killed, orders are odd, and parts of the API are out.

``python -m tests.chaos.shop``: ten minutes, or ``--minutes``. One order in a hundred is odd in one of twelve ways;
detail and search go out by turns, in each of five ways; the receivers are killed (SIGKILL) all the while, share their
state and their spool, and get webhooks as well as polls. In the end every paid order of the sandbox's book has arrived
at both platforms, and none counts twice there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web
from msgspec import Struct, structs

from capi_async import Client
from capi_async.destinations import Meta, TikTok
from capi_async.sandbox import TOKEN, Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, Order
from capi_async.sandbox.platforms.tiktok_shop.oddities import ODDITIES, OUTAGES, PARTS
from capi_async.sources.tiktok_shop import OrderForwarder, TikTokShop, TokenSet, WebhookVerifier, aiohttp_handler
from capi_async.sources.tiktok_shop.web import PATH

ROOT = Path(__file__).parent.parent.parent
PLATFORMS = ("meta", "tiktok")
REGIONS = ("US", "JP")
#: Of these nobody can make a purchase while they last.
PASSING = ("no_payment", "total_is_no_number")
ORDERS_PER_S = 8.0
#: Seconds that the last orders may take once nothing is killed any more and everything works.
DRAIN_S = 360.0


class Report(Struct, frozen=True, kw_only=True):
    """What came of a run.

    Attributes:
        paid: Orders that were paid and not cancelled: each has to arrive at each platform.
        missing: Of these, those that did not, summed over the platforms.
        copies: Purchases that arrived again under their own id, as after a kill in the middle of a request.
        counted_twice: Those of them that the platform did not recognise.
        drain_s: Seconds from the end of all troubles until everything had arrived.
    """

    paid: int
    cancelled: int
    odd: int
    kills: int
    outages: int
    arrived: int
    missing: int
    copies: int
    counted_twice: int
    seconds: float
    drain_s: float

    @property
    def kept(self) -> bool:
        """Whether nothing was lost, and nothing counts twice."""
        return not self.missing and not self.counted_twice


async def run(seconds: float, seed: int, folder: Path, *, quick: bool = False) -> Report:
    """Sell for so long, then wait for the rest.

    Args:
        quick: Kills and outages follow one another faster, for a short run.
    """
    began, chance, pace = time.monotonic(), random.Random(seed), 0.25 if quick else 1.0
    readings = {"tiktok_shop": ["pages_by_position"]}
    async with Sandbox(seed=seed, readings=readings, max_arrivals=1_000_000, keep_bytes=1 << 31) as sandbox:
        for platform in ("tiktok_shop", *PLATFORMS):
            sandbox.set_rate(platform, None)
        receivers = [Receiver(folder, sandbox, port) for port in _free_ports(2)]
        shop = sandbox.tiktok_shop
        shop.webhooks.retry_s = (0.5, 1.0, 2.0, 4.0)
        await asyncio.gather(*(one.start() for one in receivers))
        for one in receivers:
            shop.webhooks.subscribe(f"http://127.0.0.1:{one.port}{PATH}")
        tally: Counter[str] = Counter()
        book: list[Order] = []
        until = time.monotonic() + seconds
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_sell(sandbox, until, chance, book, tally))
                group.create_task(_interrupt(sandbox, until, chance, tally, pace))
                for number, one in enumerate(receivers):
                    group.create_task(one.kill_until(until, random.Random(f"{seed}:{number}"), tally, pace))
            shop.clear_failures()
            ended = time.monotonic()
            paid = {order.id for order in book if order.raw.get("paid_time") and order.status != "CANCELLED"}
            while time.monotonic() - ended < DRAIN_S:
                if not any(paid - set(_counted(sandbox, platform)) for platform in PLATFORMS):
                    break
                await asyncio.sleep(0.1)
            drained = time.monotonic()
        finally:
            await asyncio.gather(*(one.end() for one in receivers))
        counts = {platform: _counted(sandbox, platform) for platform in PLATFORMS}
        return Report(
            paid=len(paid),
            cancelled=len(book) - len(paid),
            odd=tally["odd"],
            kills=tally["kills"],
            outages=tally["outages"],
            arrived=sum(len(counted) for counted in counts.values()),
            missing=sum(len(paid - set(counted)) for counted in counts.values()),
            copies=sum(n - 1 for counted in counts.values() for n in counted.values()),
            counted_twice=sum(sandbox.details()[platform]["counted_twice"] for platform in PLATFORMS),
            seconds=round(drained - began, 1),
            drain_s=round(drained - ended, 1),
        )


async def _sell(sandbox: Sandbox, until: float, chance: random.Random, book: list[Order], tally: Counter[str]) -> None:
    """Place orders; pay most of them at once, some later; ship, cancel, and make one in a hundred odd."""
    shop = sandbox.tiktok_shop
    unpaid: list[Order] = []
    while time.monotonic() < until:
        order = shop.place_order(chance.choice(REGIONS), on_hold=chance.random() < 0.1)
        book.append(order)
        # the first of a run is odd, so that a short one has one, too
        if len(book) == 1 or chance.random() < 0.01:
            kind = chance.choice(ODDITIES)
            order.make_odd(kind, readings=6 if kind in PASSING else None)  # type: ignore[arg-type]
            tally["odd"] += 1
        if chance.random() < 0.9:
            order.pay()
        else:
            unpaid.append(order)
        if unpaid and chance.random() < 0.1 and (late := unpaid.pop(0)).status != "CANCELLED":
            late.pay()
        if chance.random() < 0.03:
            chance.choice(book[-20:]).cancel()
        older = chance.choice(book)
        if older.status in ("AWAITING_SHIPMENT", "ON_HOLD"):
            older.ship()
        await asyncio.sleep(chance.expovariate(ORDERS_PER_S))
    for order in unpaid:
        if order.status != "CANCELLED":
            order.pay()


async def _interrupt(sandbox: Sandbox, until: float, chance: random.Random, tally: Counter[str], pace: float) -> None:
    """Let parts of the API go out and come back."""
    shop = sandbox.tiktok_shop
    while time.monotonic() < until:
        await asyncio.sleep(pace * chance.uniform(1.0, 10.0))
        for part in chance.sample(list(PARTS), chance.choice((1, 1, 2))):
            shop.outage(part, chance.choice(OUTAGES))  # type: ignore[arg-type]
            tally["outages"] += 1
        await asyncio.sleep(pace * chance.uniform(1.0, 10.0))
        shop.clear_failures()


def _counted(sandbox: Sandbox, platform: str) -> Counter[str]:
    """Order to purchases of it that a platform took."""
    return Counter(one.event["event_id"].rpartition(":")[2] for one in sandbox.arrivals(platform) if one.accepted)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in servers]


class Receiver:
    """One of the two processes, and its successors."""

    def __init__(self, folder: Path, sandbox: Sandbox, port: int) -> None:
        self.port = port
        self._command = (
            sys.executable,
            "-m",
            "tests.chaos.shop",
            "--receive",
            str(folder),
            sandbox.base_url,
            str(port),
        )
        self._log = folder / f"receiver-{port}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        if await asyncio.wait_for(process.stdout.readline(), 60) != b"ready\n":
            raise SystemExit(f"a receiver did not start: {self._log.read_text('utf-8', 'replace')[-2_000:]}")

    async def kill_until(self, until: float, chance: random.Random, tally: Counter[str], pace: float) -> None:
        """Kill it over and over."""
        while time.monotonic() < until:
            await asyncio.sleep(pace * chance.uniform(0.5, 12.0))
            assert self._process is not None
            self._process.kill()
            await self._process.wait()
            tally["kills"] += 1
            await self.start()

    async def end(self) -> None:
        """In order."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 60)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


async def receive(folder: Path, url: str, port: int) -> None:
    """Forward both shops until killed, or told to end; the folder is an absolute path."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    granted = TokenSet(access_token=TOKEN, refresh_token="", access_expires_at=4_000_000_000)
    destinations = [
        Meta(pixel_id="1234567890", access_token=TOKEN, base_url=f"{url}/meta"),
        TikTok(
            pixel_code="CEXAMPLE0000000000AA",
            access_token=TOKEN,
            offline_event_set_id="OFFLINE00000001",
            base_url=f"{url}/tiktok",
        ),
    ]
    spool = f"sqlite:///{folder / 'events.db'}?remember_days=7"
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(
            TikTokShop(APP_KEY, APP_SECRET, tokens=granted, base_url=f"{url}/tiktok_shop", requests_per_s=500)
        )
        shops = [app.for_shop(one) for one in await app.get_shops() if one.region in REGIONS]
        client = await stack.enter_async_context(Client(destinations, spool=spool, linger_s=0.05))
        forwarder = await stack.enter_async_context(
            OrderForwarder(
                shops,
                client,
                share=["buyer_id"],
                state=f"sqlite:///{folder / 'shop.db'}",
                webhooks=WebhookVerifier(APP_KEY, APP_SECRET),
                poll_every_s=2.0,
                overlap_s=60.0,
            )
        )
        server = web.Application()
        server.router.add_post(PATH, aiohttp_handler(forwarder))
        runner = web.AppRunner(server, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await told.wait()


def main() -> None:
    """Run it, print the figures, fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--receive", nargs=3, metavar=("FOLDER", "URL", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        folder, url, port = options.receive
        asyncio.run(receive(Path(folder).absolute(), url, int(port)))
        return
    with tempfile.TemporaryDirectory() as made:
        report = asyncio.run(run(options.minutes * 60, options.seed, Path(made)))
    figures = structs.asdict(report)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>14}  {value:,}")
    if not report.kept:
        raise SystemExit("a promise was broken")


if __name__ == "__main__":
    main()
