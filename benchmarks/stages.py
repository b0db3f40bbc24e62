"""The stages of an event, each by itself: what it is given is made before, and it is run as often as one likes.

Stages whose name ends in ``x5`` serve five destinations (Snap, Meta, Pinterest, TikTok, a second Snap account) and are
counted per event, not per record.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from capi_async import Client, Event
from capi_async.bench.feed import Row, seeded
from capi_async.bench.ours import destinations, event_of
from capi_async.clock import SYSTEM_CLOCK
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Delivery, Receipt
from capi_async.outcome import Outcome, Response
from capi_async.pii.hashing import sha256_hex
from capi_async.pii.identifiers import Plan
from capi_async.rows import Rows
from capi_async.spec import ENCODER, Destination, Request, Wire
from capi_async.spool import open_spool
from capi_async.spool.base import Record, Spool
from capi_async.transport import HttpTransport

#: As many as the prepare thread takes in one job.
MICRO_BATCH = 256
#: As many as it takes through all destinations together.
STRIDE = 128
_ACCEPTED = b'{"status":"VALID","reason":"Events have been processed successfully."}'
_DELIVERED = Outcome(kind="delivered")


class Instant:
    """A transport that answers at once, as Snap does when all is well."""

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """See :class:`~capi_async.spec.Transport`."""
        return Response(status=200, body=_ACCEPTED, headers={})


class Stage(NamedTuple):
    """One stage: ``run`` does the work of ``events`` events, ``before`` makes ready for it, unmeasured.

    Attributes:
        steady: Whether its instructions are the same from run to run: no threads, no clock.
    """

    name: str
    events: int
    run: Callable[[], object]
    steady: bool = True
    before: Callable[[], object] = lambda: None


class Stages:
    """All stages over the same ``count`` events.

    Args:
        base: Address of a sink, for the stages that post.
        runner: Of the event loop for those that need one.
    """

    def __init__(self, count: int, *, base: str, folder: Path, runner: asyncio.Runner) -> None:
        self._run = runner.run
        self._folder = folder
        self.count = count
        # a fixed clock: the same events, and so the same instructions, on every day
        self.rows = list(islice(seeded(count, seed=1, now=time.time() - 60), count))
        self.events = [event_of(row) for row in self.rows]
        self.one, self.five = destinations(base, 1), destinations(base, 5)
        self._ends: list[Callable[[], Coroutine[Any, Any, object]]] = []

    def close(self) -> None:
        """Close what the stages opened."""
        while self._ends:
            self._run(self._ends.pop()())

    def all(self) -> list[Stage]:
        """In the order in which an event meets them."""
        return [*self._door(), *self._prepare(), *self._spools(), *self._delivery(), *self._whole()]

    def _door(self) -> list[Stage]:
        packed = msgspec.msgpack.encode(self.rows)
        return [
            Stage("read a row (the harness)", self.count, lambda: msgspec.msgpack.decode(packed, type=list[Row])),
            Stage("construct", self.count, lambda: [event_of(row) for row in self.rows]),
        ]

    def _prepare(self) -> list[Stage]:
        found = []
        for label, chosen in (("", self.one), (" x5", self.five)):
            plan = Plan(dict.fromkeys(name for one in chosen for name in one.identifiers))
            found.append(Stage(f"identify{label}", self.count, _identified(plan, self.events)))
            found.append(
                Stage(f"identify{label}, {STRIDE} together", self.count, _identified_together(plan, self.events))
            )
        texts = [
            text
            for row in self.rows
            for text in (row.email, row.phone, row.first_name, row.last_name, row.city, row.state, row.zip)
            if text is not None
        ]
        found.append(Stage("hash seven texts", self.count, lambda: [sha256_hex(text) for text in texts]))
        found.append(
            Stage(
                "hash seven texts, hashlib alone",
                self.count,
                lambda: [hashlib.sha256(text.encode()).hexdigest() for text in texts],
            )
        )
        plan = Plan(dict.fromkeys(name for one in self.five for name in one.identifiers))
        known = [plan.identify(event.user, event.page) for event in self.events]
        for one in self.five[:4]:
            pairs = list(zip(self.events, known, strict=True))
            bodies = [wire.body for event, ids in pairs if isinstance(wire := one.to_wire(event, ids), Wire)]
            if len(bodies) != self.count:
                raise SystemExit(f"void: {one.name} refused an event")
            found.append(Stage(f"to_wire {one.name}", self.count, _pairs(one.to_wire, pairs)))
            found.append(Stage(f"encode {one.name}", self.count, _map(ENCODER.encode, bodies)))
            together = _together(one, plan, self.events)
            found.append(Stage(f"map and encode {one.name}, {STRIDE} together", self.count, together))
        for label, chosen in (("", self.one), (" x5", self.five)):
            preparer = Preparer(chosen)
            found.append(Stage(f"prepare{label}", self.count, partial(self._prepared, preparer)))
            found.append(Stage(f"prepare{label}, alone", self.count, partial(self._alone, preparer)))
        return found

    def _prepared(self, preparer: Preparer) -> list[Record]:
        """Micro-batch by micro-batch, as the prepare thread does."""
        delivery = Delivery(over=False)
        names = ("snap",)
        made: list[Record] = []
        now = time.time()
        for start in range(0, self.count, MICRO_BATCH):
            events = self.events[start : start + MICRO_BATCH]
            receipts = [Receipt(event.event_id, names, delivery) for event in events]
            made += preparer.run(events, receipts, now)[0]
        return made

    def _alone(self, preparer: Preparer) -> None:
        """Event by event, as for those that come alone."""
        receipt = Receipt("", ("snap",), Delivery(over=False))
        now = time.time()
        for event in self.events:
            if preparer.alone(event, receipt, now) is None:
                raise SystemExit("void: an event is not small and usual")

    def _spools(self) -> list[Stage]:
        records = self._prepared(Preparer(self.one))
        for record in records:
            record.receipt = None
        found = []
        for kind, url in (("memory", "memory"), ("sqlite", f"sqlite:///{self._folder}/stages.db")):
            spool = open_spool(url, clock=SYSTEM_CLOCK)
            self._run(spool.open(["snap"], lambda _name: None))
            self._ends.append(spool.close)
            passage = _Passage(spool, records)
            found += [
                Stage(
                    f"spool {kind}: append", self.count, self._loop(passage.append), kind == "memory", passage.refresh
                ),
                Stage(f"spool {kind}: lease", self.count, self._loop(passage.lease), kind == "memory"),
                Stage(f"spool {kind}: settle", self.count, self._loop(passage.settle), kind == "memory"),
            ]
        return found

    def _delivery(self) -> list[Stage]:
        one = self.one[0]
        records = self._prepared(Preparer(self.one))
        size = one.effective_limits().max_batch_events
        batches = [records[start : start + size] for start in range(0, len(records), size)]
        bodies = [[record.body for record in batch] for batch in batches]
        token = self._run(one.secret().reveal())
        head = records[0].head
        requests = [one.request(head, batch, token) for batch in bodies]
        response = Response(status=200, body=_ACCEPTED, headers={})
        transport = HttpTransport()
        self._ends.append(transport.aclose)

        async def warm() -> None:
            # its connection is closed once it has been idle for some seconds, as it is when stages go before it
            await transport.send(requests[-1], timeout_s=30)

        async def post() -> None:
            for request in requests:
                answer = await transport.send(request, timeout_s=30)
                if answer.status != 200:
                    raise SystemExit("void: the sink refused")

        return [
            Stage("join", self.count, lambda: [one.request(head, batch, token) for batch in bodies]),
            Stage("post", self.count, self._loop(post), before=self._loop(warm)),
            Stage("classify", self.count, lambda: [one.classify(response, len(batch)) for batch in batches]),
        ]

    def _whole(self) -> list[Stage]:
        async def whole(**options: Any) -> None:
            async with Client(self.one, linger_s=0.0, **options) as client:
                for start in range(0, self.count, MICRO_BATCH):
                    await client.send_many(self.events[start : start + MICRO_BATCH], timeout_s=60)
                if not await client.flush(60):
                    raise SystemExit("void: not everything was delivered")

        lone = self._client(self.one, linger_s=3_600.0)
        single = self._client(
            destinations("http://127.0.0.1:9", 1, max_batch_events=1, requests_per_s=1e6), linger_s=0.0
        )

        async def send() -> None:
            for event in self.events:
                await lone.send(event)
                await asyncio.sleep(0)

        async def one_by_one() -> None:
            for event in self.events:
                await (await single.send(event)).outcomes()

        return [
            Stage("send() alone, and its share of a batch", self.count, self._loop(send)),
            Stage("send() alone, to the outcome", self.count, self._loop(one_by_one)),
            Stage("client, instant answers", self.count, self._loop(lambda: whole(transport=Instant())), steady=False),
            Stage("client, to the sink", self.count, self._loop(whole), steady=False),
        ]

    def _client(self, chosen: Sequence[Destination], *, linger_s: float) -> Client:
        client = Client(chosen, linger_s=linger_s, transport=Instant())
        self._run(client.__aenter__())
        self._ends.append(client.aclose)
        return client

    def _loop(self, make: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        return lambda: self._run(make())


class _Passage:
    """The same records through a spool, again and again."""

    def __init__(self, spool: Spool, records: Sequence[Record]) -> None:
        self._spool, self._records = spool, records
        self._leased: list[Record] = []
        self._fresh: list[Record] = []

    def refresh(self) -> None:
        self._fresh = [msgspec.structs.replace(record) for record in self._records]

    async def append(self) -> None:
        for start in range(0, len(self._fresh), MICRO_BATCH):
            await self._spool.append(self._fresh[start : start + MICRO_BATCH], ())

    async def lease(self) -> None:
        while taken := await self._spool.lease("snap", limit=2_000, max_bytes=2_000_000):
            self._leased += taken

    async def settle(self) -> None:
        leased, self._leased = self._leased, []
        for start in range(0, len(leased), 2_000):
            batch = leased[start : start + 2_000]
            await self._spool.settle(batch, [_DELIVERED] * len(batch))


def _identified(plan: Plan, events: Sequence[Event]) -> Callable[[], object]:
    return lambda: [plan.identify(event.user, event.page) for event in events]


def _identified_together(plan: Plan, events: Sequence[Event]) -> Callable[[], object]:
    parts = [events[start : start + STRIDE] for start in range(0, len(events), STRIDE)]
    return lambda: [plan.identify_all([one.user for one in part], [one.page for one in part]) for part in parts]


def _together(one: Destination, plan: Plan, events: Sequence[Event]) -> Callable[[], object]:
    """What of the events and their people is shared by destinations is made anew each time."""
    mapped = one.together
    if mapped is None:
        raise SystemExit(f"void: {one.name} maps each event by itself")
    parts = [
        (
            part,
            [event.time.timestamp() for event in part],
            plan.known([one.user for one in part], [one.page for one in part]),
        )
        for part in (events[start : start + STRIDE] for start in range(0, len(events), STRIDE))
    ]
    return lambda: [mapped(Rows(*part)) for part in parts]


def _map(function: Callable[[Any], object], values: Sequence[Any]) -> Callable[[], object]:
    return lambda: [function(value) for value in values]


def _pairs(function: Callable[[Any, Any], object], pairs: Sequence[tuple[Any, Any]]) -> Callable[[], object]:
    return lambda: [function(left, right) for left, right in pairs]
