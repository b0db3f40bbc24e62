"""The sender of webhooks: signs, delivers, retries, and spoils on demand.

It delivers to this machine only (and to the sandbox's ``allowed_hosts``), so that a forgotten address never hears of
anything. Answers other than 200 are tried again after each of ``retry_s`` (2 minutes, 30 minutes, 3 hours, 12 hours),
then given up; ``retry_now()`` makes the waiting ones due.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from capi_async.sandbox.checks import HOUR, MINUTE
from capi_async.sandbox.platforms.tiktok_shop.model import SHOPS
from capi_async.sandbox.platforms.tiktok_shop.notifications import (
    MAX_ADDRESS,
    STYLES,
    Attempt,
    Delivery,
    Kind,
    Spoil,
    Style,
    Subscription,
    make_delivery,
    number_of,
)
from capi_async.sandbox.platforms.tiktok_shop.oauth import App

RETRY_S = (2 * MINUTE, 30 * MINUTE, 3 * HOUR, 12 * HOUR)
ANSWER_WITHIN_S = 3.0
_MAX_KEPT = 10_000
_AT_ONCE = 16


class Webhooks:
    """Subscriptions, what is to be sent, and what became of it.

    Args:
        apps: The apps, by key.
        ids: Seeded source of notification ids.
        local_hosts: Host names that may be delivered to.
        now: Wall time.

    Attributes:
        deliveries: The newest ones, oldest first.
        retry_s: Seconds before each further try.
        answer_within_s: Seconds that a receiver has.
    """

    def __init__(
        self,
        apps: Callable[[], Mapping[str, App]],
        ids: random.Random,
        local_hosts: Collection[str],
        now: Callable[[], float],
    ) -> None:
        self._apps = apps
        self._ids = ids
        self._local_hosts = local_hosts
        self._now = now
        self.retry_s: Sequence[float] = RETRY_S
        self.answer_within_s = ANSWER_WITHIN_S
        self.deliveries: deque[Delivery] = deque(maxlen=_MAX_KEPT)
        self._subscriptions: list[Subscription] = []
        self._spoils: list[tuple[Spoil, list[int]]] = []
        # (monotonic due time, tie-breaker, delivery); a first try or a retry that was asked for counts as pending.
        self._queue: list[tuple[float, int, Delivery]] = []
        self._pending: set[int] = set()
        self._number = 0
        self._flying: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # Who hears of what.

    def subscribe(
        self,
        address: str,
        types: Iterable[str | int] = (),
        *,
        shop_id: str = "",
        app_key: str = "",
        style: Style = "official",
    ) -> Subscription:
        """Send notifications to an address from now on.

        Args:
            types: Names or numbers; all, when empty.
            shop_id: One shop; all, when empty.
            app_key: Whose secret signs; the first app, when empty.
            style: ``official`` signs in ``Authorization``; ``timed`` and ``bare`` are the two legacy schemes, in
                ``X-TikTok-Shop-Signature`` beside ``X-TikTok-Shop-Timestamp``.

        Raises:
            ValueError: An unknown type, app or style, or an address that is not on this machine.
        """
        self.check_address(address)
        if style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}")
        key = app_key or next(iter(self._apps()))
        if key not in self._apps():
            raise ValueError("no such app_key")
        one = Subscription(address, key, tuple(map(number_of, types)), shop_id, style)
        self._subscriptions.append(one)
        return one

    def check_address(self, address: str) -> None:
        """Raise ``ValueError`` for an address that nothing may be delivered to."""
        parts = urlsplit(address)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        _ = parts.port  # raises for one that cannot be
        if len(address) > MAX_ADDRESS or parts.scheme not in ("http", "https") or host not in self._local_hosts:
            raise ValueError("address must be a URL on this machine, or on one of the sandbox's allowed_hosts")

    def set_address(self, name: str, address: str, *, shop_id: str, app_key: str) -> None:
        """As the API's setup call: one address per app, shop and type."""
        self.remove(name, shop_id=shop_id, app_key=app_key)
        self.subscribe(address, (name,), shop_id=shop_id, app_key=app_key)

    def remove(self, name: str, *, shop_id: str, app_key: str) -> None:
        """As the API's setup call; nothing set is as good."""
        number = number_of(name)
        self._subscriptions = [
            one
            for one in self._subscriptions
            if not (one.types == (number,) and one.shop_id == shop_id and one.app_key == app_key)
        ]

    def subscriptions(self) -> list[Subscription]:
        """All of them."""
        return list(self._subscriptions)

    def unsubscribe(self, address: str | None = None) -> None:
        """Forget one address, or all."""
        self._subscriptions = [one for one in self._subscriptions if address is not None and one.address != address]

    # What is sent.

    def spoil(
        self,
        kind: Kind,
        *,
        count: int | None = 1,
        types: Iterable[str | int] = (),
        age_s: float = HOUR,
        copies: int = 2,
        delay_s: float = 0.2,
    ) -> None:
        """Let something go wrong with the next notifications; see ``Spoil``."""
        numbers = tuple(map(number_of, types))
        self.add_spoil(Spoil(kind=kind, count=count, types=numbers, age_s=age_s, copies=copies, delay_s=delay_s))

    def add_spoil(self, spoil: Spoil) -> None:
        """As ``spoil()``, with it made already."""
        self._spoils.append((spoil, [0]))

    def clear_spoils(self) -> None:
        """Send everything right again."""
        self._spoils.clear()

    def send(
        self, type_: str | int, data: Mapping[str, Any], *, shop_id: str = "", creator_open_id: str = ""
    ) -> list[Delivery]:
        """Notify everybody who subscribed; returns what is on its way.

        Args:
            type_: Name or number; any number will do, known or not.
            shop_id: Default: the first shop of the sandbox.
            creator_open_id: Instead of a shop, for topics about creators.
        """
        owner = {"creator_open_id": creator_open_id} if creator_open_id else {"shop_id": shop_id or SHOPS[0].id}
        shop_id = owner.get("shop_id", "")
        number = type_ if isinstance(type_, int) else number_of(type_)
        hearing = [
            one
            for one in self._subscriptions
            if (not one.types or number in one.types) and (not one.shop_id or one.shop_id == shop_id)
        ]
        # What nobody hears must not use up a spoil.
        spoil = self._next_spoil(number) if hearing else None
        notification_id = str(7_380_000_000_000_000_000 + self._ids.randrange(10**15))
        made: list[Delivery] = []
        for one in hearing:
            secret = self._apps()[one.app_key].secret
            delivery = make_delivery(one, notification_id, number, owner, data, spoil, secret=secret, now=self._now())
            self.deliveries.append(delivery)
            made.append(delivery)
            if delivery.state == "waiting":
                self._put(delivery, spoil.delay_s if spoil and spoil.kind == "delay" else 0.0)
            copies = spoil.copies - 1 if spoil and spoil.kind == "duplicate" else 0
            made.extend(self.replay(delivery) for _ in range(copies))
        return made

    def replay(self, delivery: Delivery) -> Delivery:
        """Send the very same bytes and headers once more, as a delivery of its own."""
        again = msgspec.structs.replace(delivery, state="waiting", attempts=[])
        self.deliveries.append(again)
        self._put(again, 0.0)
        return again

    def retry_now(self) -> int:
        """Make all waiting deliveries due; says how many."""
        waiting = [delivery for _, _, delivery in self._queue]
        self._queue.clear()
        self._pending.clear()
        for delivery in waiting:
            self._put(delivery, 0.0)
        return len(waiting)

    async def idle(self, timeout_s: float = 30.0) -> None:
        """Wait until every first try, replay and demanded retry has its answer; later retries are not waited for.

        Raises:
            TimeoutError: They take longer.
        """
        async with asyncio.timeout(timeout_s):
            while self._pending or self._flying:
                self._changed.clear()
                await self._changed.wait()

    def clear(self) -> None:
        """Forget subscriptions, spoils, and all deliveries that have not left."""
        self._subscriptions.clear()
        self._spoils.clear()
        self._queue.clear()
        self._pending.clear()
        self.deliveries.clear()
        self._changed.set()

    # The task behind it, owned by the running sandbox.

    def start(self) -> None:
        """Begin to send; needs a running loop."""
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="sandbox-webhooks")

    async def aclose(self) -> None:
        """Stop sending; what is under way is dropped."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()  # it never ends by itself: whatever ended it should be seen

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
                while True:
                    self._changed.clear()
                    self._start_due(session)
                    wait_s = None
                    if self._queue and len(self._flying) < _AT_ONCE:
                        wait_s = max(0.0, self._queue[0][0] - asyncio.get_running_loop().time())
                    try:
                        async with asyncio.timeout(wait_s):
                            await self._changed.wait()
                    except TimeoutError:
                        continue
        finally:
            flying = list(self._flying)
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    def _start_due(self, session: aiohttp.ClientSession) -> None:
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now and len(self._flying) < _AT_ONCE:
            _, number, delivery = heapq.heappop(self._queue)
            self._pending.discard(number)
            task = asyncio.create_task(self._try(session, delivery))
            self._flying.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        self._changed.set()

    async def _try(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(self.answer_within_s):
                if delivery.broken_off:
                    await _break_off(delivery)
                    attempt = Attempt(0, "broken off on purpose")
                else:
                    async with session.post(
                        delivery.address, data=delivery.body, headers=delivery.headers, allow_redirects=False
                    ) as response:
                        attempt = Attempt(response.status)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one of the latter
            attempt = Attempt(0, type(error).__name__)
        delivery.attempts.append(attempt)
        if attempt.status == 200:
            delivery.state = "delivered"
        elif len(delivery.attempts) > len(self.retry_s):
            delivery.state = "given_up"
        else:
            self._put(delivery, self.retry_s[len(delivery.attempts) - 1], pending=False)

    def _put(self, delivery: Delivery, after_s: float, *, pending: bool = True) -> None:
        if len(self._queue) >= _MAX_KEPT:
            delivery.state = "dropped"
            return
        self._number += 1
        # Before the sandbox runs there is no loop to ask; then everything is due at once.
        due = asyncio.get_running_loop().time() + after_s if self._task is not None else 0.0
        heapq.heappush(self._queue, (due, self._number, delivery))
        if pending:
            self._pending.add(self._number)
        self._changed.set()

    def _next_spoil(self, number: int) -> Spoil | None:
        for spoil, befallen in self._spoils:
            if (not spoil.types or number in spoil.types) and befallen[0] != spoil.count:
                befallen[0] += 1
                return spoil
        return None


async def _break_off(delivery: Delivery) -> None:
    """Announce the whole body, send half of it, and go away."""
    parts = urlsplit(delivery.address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    _, writer = await asyncio.open_connection(parts.hostname, port, ssl=parts.scheme == "https" or None)
    lines = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(delivery.body)}"]
    lines += [f"{name}: {value}" for name, value in delivery.headers.items()]
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + delivery.body[: len(delivery.body) // 2])
        await writer.drain()
    finally:
        writer.close()
        await writer.wait_closed()
