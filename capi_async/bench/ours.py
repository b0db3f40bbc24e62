"""capi_async itself, in its shapes: spool, destinations, and how events are handed in."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from capi_async.bench.feed import Feed, Row
from capi_async.client import Client
from capi_async.destinations import Meta, Pinterest, Snap, SnapV2, TikTok, destination_types, row_of
from capi_async.event import NO_CLICK, ClickIds, Event, Item, Page, User
from capi_async.spec import Destination

#: What the sink takes for a credential.
TOKEN: Final = "sink"  # noqa: S105
#: Events per ``send_many``, and how many callers hand them in: making 250 holds the loop for about a millisecond.
BATCH: Final = 250
CALLERS: Final = 2
_TIMEOUT_S: Final = 120.0


#: What a type of destination knows nobody without, and the seeded events lack.
_NEEDED: Final[Mapping[str | int, Mapping[str, Any]]] = {
    "ga4": {"click": ClickIds(ga_client_id="1234567890.1700000000")},
    "cutmeshort": {"external_id": "customer-1"},
}


def needed(to: str | int) -> Mapping[str, Any]:
    """What :func:`event_of` is given besides, for this type of destination."""
    return _NEEDED.get(to, {})


def event_of(row: Row, click: ClickIds = NO_CLICK, external_id: str | None = None) -> Event:
    """The row as a canonical event; what a caller of this library would write."""
    return Event(
        row.name,
        order_id=row.order_id,
        time=datetime.fromtimestamp(row.time, UTC),
        value=row.value,
        currency=row.currency,
        user=User(
            email=row.email,
            phone=row.phone,
            external_id=row.external_id or external_id,
            first_name=row.first_name,
            last_name=row.last_name,
            city=row.city,
            state=row.state,
            zip=row.zip,
            country=row.country,
            ip=row.ip,
            user_agent=row.user_agent,
        ),
        page=Page(url=row.url),
        items=tuple([Item(id=product, price=price, quantity=quantity) for product, price, quantity in row.items]),
        click=click,
    )


def _snap(base: str, name: str = "snap", **options: Any) -> Destination:
    pixel = f"{sum(name.encode()) % 10}1111111-2222-3333-4444-555555555555"
    return Snap(name=name, pixel_id=pixel, access_token=TOKEN, base_url=f"{base}/snap", **options)


def _meta(base: str, name: str = "meta", **options: Any) -> Destination:
    # Meta's rate depends on the account, and the default is careful: 50 requests a second would be the limit measured
    options = {"requests_per_s": 1_000.0, **options}
    return Meta(name=name, pixel_id="1234567890", access_token=TOKEN, base_url=f"{base}/meta", **options)


def destinations(base: str, wanted: str | int, **options: Any) -> list[Destination]:
    """By type, or the first so many of Snap, Meta, Pinterest, TikTok, a second Snap account, and then round again."""
    if wanted == "meta":
        return [_meta(base, **options)]
    if wanted == "snap_v2":
        return [
            SnapV2(
                pixel_id="11111111-2222-3333-4444-555555555555",
                access_token=TOKEN,
                base_url=f"{base}/snap_v2",
                **options,
            )
        ]
    if isinstance(wanted, str) and wanted in destination_types():
        row = row_of(wanted)
        # of a webhook any 2xx is a yes: the sink does not say one for each event
        address = {row.address: f"{base}/{wanted}"}
        fast = {"requests_per_s": 1_000_000.0, "burst": 1_000.0}
        return [row.load()(**{**row.settings(), row.credential: TOKEN, **address, **fast, **options})]
    found: list[Destination] = []
    for index in range(int(wanted)):
        again = "" if index < 5 else f"_{index}"
        found.append(
            (
                lambda name: _snap(base, f"snap{name}", **options),
                lambda name: _meta(base, f"meta{name}", **options),
                lambda name: Pinterest(
                    name=f"pinterest{name}",
                    ad_account_id="549755885175",
                    access_token=TOKEN,
                    base_url=f"{base}/pinterest",
                    **{"requests_per_s": 1_000.0, **options},
                ),
                lambda name: TikTok(
                    name=f"tiktok{name}",
                    pixel_code="CEXAMPLE0000000000AA",
                    access_token=TOKEN,
                    base_url=f"{base}/tiktok",
                    **options,
                ),
                lambda name: _snap(base, f"snap_second{name}", **options),
            )[index % 5](again)
        )
    return found


class Ours:
    """One client; ``way`` is how events come in.

    Args:
        way: ``many``: ``send_many`` of 250 from two callers. ``tasks``: ``tasks`` tasks, each awaiting ``send``.
            ``single``: each event alone from ``send`` to its outcome, ``tasks`` at a time.
        to: See :func:`destinations`.
        spool: ``memory`` or ``sqlite``, in a temporary folder.
        batch: Events of one ``send_many``.
        max_batch: Lower limit of events per request than the platform's.
    """

    def __init__(
        self,
        base: str,
        *,
        way: str = "many",
        to: str | int = 1,
        spool: str = "memory",
        tasks: int = 1_000,
        batch: int = BATCH,
        max_batch: int | None = None,
    ) -> None:
        options: dict[str, Any] = {} if max_batch is None else {"max_batch_events": max_batch}
        if way == "single":
            options["max_batch_events"] = 1
        if options:
            options["requests_per_s"] = 1_000_000.0  # the sink has no rate, and a platform's would be measured
        self._way, self._tasks, self._batch = way, tasks, batch
        self._folder = tempfile.TemporaryDirectory(prefix="capi_async-bench-")
        url = "memory" if spool == "memory" else f"{spool}:///{self._folder.name}/events.db"
        made = destinations(base, to, **options)
        self.copies = len(made)
        self._more = needed(to)
        self._client = Client(made, spool=url, linger_s=0.0 if way == "single" else 0.05)

    async def open(self) -> None:
        """Open the spool."""
        await self._client.__aenter__()

    async def send(self, feed: Feed, count: int) -> None:
        """Hand in and wait until every outcome is there."""
        if self._way == "many":
            batches = feed.batches(count, self._batch)
            await self._together([self._many(batches) for _ in range(CALLERS)])
        else:
            one = self._single if self._way == "single" else self._one_by_one
            rows = feed.rows(count)
            await self._together([one(rows) for _ in range(min(self._tasks, count))])
        if not await self._client.flush(_TIMEOUT_S):
            raise SystemExit(f"void: not delivered in {_TIMEOUT_S:.0f} s: {self._client.ledger()}")

    async def _together(self, callers: list[Any]) -> None:
        if len(callers) == 1:
            await callers[0]
            return
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller)

    async def _many(self, batches: Iterator[list[Row]]) -> None:
        client, more = self._client, self._more
        for rows in batches:
            await client.send_many([event_of(row, **more) for row in rows], timeout_s=_TIMEOUT_S)

    async def _one_by_one(self, rows: Iterator[Row]) -> None:
        client = self._client
        for row in rows:
            await client.send(event_of(row), timeout_s=_TIMEOUT_S)

    async def _single(self, rows: Iterator[Row]) -> None:
        client = self._client
        for row in rows:
            receipt = await client.send(event_of(row), timeout_s=_TIMEOUT_S)
            await receipt.outcomes(timeout_s=_TIMEOUT_S)

    async def close(self) -> int:
        """Close; the delivered of the destination that has fewest."""
        return await _closed(self._client, self._folder)


class OursInAWebApp:
    """``await client.send(event)`` in a route, with the client's own settings.

    Args:
        to: See :func:`destinations`.
        spool: ``memory``, ``sqlite`` in a temporary folder, or the address of a Redis database.
        alone: Each event leaves in a request of its own, and the route awaits its outcome.
    """

    def __init__(self, base: str, *, to: str | int = 1, spool: str = "memory", alone: bool = False) -> None:
        # the sink has no rate, and a platform's would be measured
        options: dict[str, Any] = {"max_batch_events": 1, "requests_per_s": 1_000_000.0} if alone else {}
        self._folder = tempfile.TemporaryDirectory(prefix="capi_async-bench-")
        url = f"sqlite:///{self._folder.name}/events.db" if spool == "sqlite" else spool
        made = destinations(base, to, **options)
        self.copies = len(made)
        self._alone = alone
        self._client = Client(made, spool=url, linger_s=0.0) if alone else Client(made, spool=url)

    async def open(self) -> None:
        """Open the spool."""
        await self._client.__aenter__()

    async def call(self, row: Row) -> None:
        """On return the event is accepted, or delivered."""
        receipt = await self._client.send(event_of(row), timeout_s=_TIMEOUT_S)
        if self._alone:
            await receipt.outcomes(timeout_s=_TIMEOUT_S)

    async def finish(self) -> None:
        """Send what lingers."""
        if not await self._client.flush(_TIMEOUT_S):
            raise SystemExit(f"void: not delivered in {_TIMEOUT_S:.0f} s: {self._client.ledger()}")

    async def close(self) -> int:
        """Close; the delivered of the destination that has fewest."""
        return await _closed(self._client, self._folder)


async def _closed(client: Client, folder: tempfile.TemporaryDirectory[str]) -> int:
    report = await client.aclose(_TIMEOUT_S)
    folder.cleanup()
    counts = {name: report.ledger[name].delivered for name in (one.name for one in client.destinations)}
    if len(set(counts.values())) > 1:
        raise SystemExit(f"void: {counts}")
    return next(iter(counts.values()))
