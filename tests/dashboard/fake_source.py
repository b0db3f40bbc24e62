"""A source of figures that a test fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from capi_async import Client
from capi_async.dashboard.source import View
from capi_async.destinations import Meta
from capi_async.errors import SpoolError
from capi_async.spool.base import DeadLetter, Ledger, LetterFilter
from capi_async.telemetry.snapshot import DestinationSnapshot, Snapshot, Timing
from capi_async.watch.history import Rate, Sample
from capi_async.watch.seen import Attempt, Leg, Seen, Told


class Source:
    """See :class:`~capi_async.dashboard.source.Source`.

    Attributes:
        done: What was to be replayed or forgotten.
        failure: What every call fails with, if anything.
    """

    def __init__(
        self, kept: Sequence[DeadLetter] = (), ledger: Mapping[str, Ledger] | None = None, *, seen: Sequence[Seen] = (),
        place: DestinationSnapshot | None = None, process: str = "test (1)",
    ) -> None:  # fmt: skip
        self.kept = list(kept)
        self.ledger = dict(ledger or {})
        self.seen = list(seen)
        self.place = place or destination("acme")
        self.process = process
        self.done: list[tuple[str, LetterFilter]] = []
        self.failure = ""

    @classmethod
    def of_all(cls, text: str) -> Source:
        """One in which every text that there is is this."""
        leg = Leg(
            kind="rejected", reason=text, field=text, fix=text, used=[text], refused={text: text}, wire=text,
            status=400, trace_id=text, attempted=1,
            attempts=[Attempt(at=1.0, status=400, verdict=text, reason=text, code=text, trace_id=text)],
        )  # fmt: skip
        return cls(
            [DeadLetter(1, text, "dead", text, text, 1.0, 1), DeadLetter(2, text, "uncertain", text, text, 1e300, 1)],
            {text: Ledger(accepted=9, delivered=1, rejected=5, dead=3)},
            seen=[Seen(event_id=text, order_id=text, name=text, at=1.0, legs={text: leg})],
            place=destination(
                text,
                state="paused",
                reason=text,
                fix=text,
                limiter_wait_s=3.0,
                rate_factor=0.5,
                requests={text: 1},
                oldest_s=5.0,
                request=Timing(count=1, total_s=3.0, p50_s=3.0, p95_s=3.0),
            ),
            process=text,
        )

    async def view(self) -> View:
        self._fail()
        told = Told(
            process=self.process, snapshot=snapshot(dict.fromkeys(self.ledger, self.place)), events=self.seen, missed=1
        )
        return View(
            at=60.0, where=self.process, ledger=self.ledger, rates=dict.fromkeys(self.ledger, Rate(1.0, 2.0)),
            samples=[Sample(1.0, {}), Sample(59.0, self.ledger)], told=[told], trouble=self.process,
        )  # fmt: skip

    async def find(self, event_or_order_id: str) -> Sequence[Seen]:
        self._fail()
        return self.seen

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        self._fail()
        return self.kept

    async def replay(self, wanted: LetterFilter) -> int:
        self._fail()
        self.done.append(("replay", wanted))
        return len([one for one in self.kept if one.reason == wanted.reason])

    async def forget(self, wanted: LetterFilter) -> int:
        self._fail()
        self.done.append(("forget", wanted))
        return len([one for one in self.kept if one.reason == wanted.reason])

    def _fail(self) -> None:
        if self.failure:
            raise SpoolError(self.failure)


def destination(name: str, **changes: Any) -> DestinationSnapshot:
    """One at rest, but for what is given."""
    return replace(_AT_REST.destinations["meta"], name=name, type=name, **changes)


def snapshot(destinations: Mapping[str, DestinationSnapshot]) -> Snapshot:
    """One of a process that delivers."""
    return replace(_AT_REST, destinations=destinations)


#: As a client that has done nothing yet tells of itself.
_AT_REST = Client([Meta(pixel_id="1", access_token="t")]).snapshot()
