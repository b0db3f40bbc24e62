"""From events to records: consent, hash once, map for each destination, encode. Runs in the prepare thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from capi_async.engine.batcher import Batcher
from capi_async.engine.culprit import largest, too_deep, unencodable
from capi_async.engine.receipt import Receipt
from capi_async.event import Event
from capi_async.outcome import Outcome
from capi_async.pii.identifiers import Identifiers, Plan
from capi_async.spec import ENCODER, Destination, Refusal, Wire
from capi_async.spool.base import Record, Refused

logger = logging.getLogger(__name__)

ConsentPolicy: TypeAlias = Literal["vouch", "require"]

#: How long the prepare thread keeps the GIL: one that hashes without pausing delays the loop by 5 ms a switch.
_TURN_S: Final = 0.0015
#: Events that are taken through all destinations together: what they hold stays in the processor's cache.
_STRIDE: Final = 32

_NOT_ADDRESSED: Final = Outcome(kind="skipped", field="to", reason="not addressed to this destination")
_NO_CONSENT: Final = Outcome(
    kind="skipped",
    field="consent",
    reason="no consent given, and this client requires it",
    fix="set consent=Consent(...)",
)
_EXPIRED: Final = Outcome(kind="expired", field="time", reason="older than this platform takes")
_FAR_AHEAD: Final = Outcome(
    kind="rejected", field="time", reason="lies in the future", fix="check the clock, and seconds against milliseconds"
)


class _Turn:
    """Gives the GIL away about every millisecond and a half: a sleep costs 17 µs of CPU and up to 70 of time."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def offer(self) -> None:
        """Let the event loop run if this thread has had its turn."""
        if time.perf_counter() - self._since > _TURN_S:
            time.sleep(0)
            self._since = time.perf_counter()


class _Target:
    """A destination with everything that is asked of it per event at hand.

    Attributes:
        leader: An earlier destination that makes the same bodies, see :attr:`Destination.head_settings`.
    """

    __slots__ = ("account", "destination", "leader", "max_body", "max_future_s", "name", "to_wire", "wire")

    def __init__(self, destination: Destination, before: Sequence[_Target]) -> None:
        limits = destination.effective_limits()
        self.destination = destination
        self.name = destination.name
        self.to_wire = destination.to_wire
        self.account = destination.account()
        self.wire = destination.wire
        self.max_body = limits.max_batch_bytes - Batcher.ENVELOPE_BYTES
        self.max_future_s = limits.max_future_s
        leaders = [one for one in before if one.leader is None]
        self.leader: _Target | None = next((one for one in leaders if destination.shares_bodies(one.destination)), None)


#: An event with its identifiers, seconds since the epoch, receipt, and whether it needs no closer look at the door.
_Known: TypeAlias = tuple[Event, Identifiers, float, Receipt, bool]


class Preparer:
    """Turns events into one record or refusal per destination.

    Args:
        destinations: All that the client serves.
        consent: ``require`` skips events that carry no ``Consent``.
        phone_region: ISO 3166-1 alpha-2 country in which numbers without country code are read.
    """

    def __init__(
        self, destinations: Sequence[Destination], *, consent: ConsentPolicy = "vouch", phone_region: str | None = None
    ) -> None:
        self._targets: list[_Target] = []
        for destination in destinations:
            self._targets.append(_Target(destination, self._targets))
        wanted = dict.fromkeys(name for destination in destinations for name in destination.identifiers)
        self._plan = Plan(wanted, phone_region=phone_region)
        self._require_consent = consent == "require"

    def run(
        self, events: Sequence[Event], receipts: Sequence[Receipt], now: float
    ) -> tuple[list[Record], list[Refused]]:
        """Prepare one micro-batch. Records of one destination stand together, in the order of ``events``.

        Never raises on account of an event: what cannot be sent is refused, with a reason.

        Args:
            now: Seconds since the epoch.
        """
        made: list[list[Record]] = [[] for _ in self._targets]
        refused: list[Refused] = []
        turn = _Turn()
        for start in range(0, len(events), _STRIDE):
            turn.offer()
            known = self._identify(events[start : start + _STRIDE], receipts[start : start + _STRIDE], refused, now)
            shared: dict[str, list[Record | None]] = {}
            for target, records in zip(self._targets, made, strict=True):
                turn.offer()
                if target.leader is None:
                    row = shared[target.name] = self._lead(target, known, refused, now)
                else:
                    row = self._follow(target, known, shared[target.leader.name], refused, now)
                records += [record for record in row if record is not None]
        return [record for records in made for record in records] if len(made) > 1 else made[0], refused

    def _identify(
        self, events: Sequence[Event], receipts: Sequence[Receipt], refused: list[Refused], now: float
    ) -> list[_Known]:
        known: list[_Known] = []
        identify = self._plan.identify
        require_consent = self._require_consent
        for event, receipt in zip(events, receipts, strict=True):
            try:
                at = event.time.timestamp()
                plain = at <= now and event.to is None and not (require_consent and event.consent is None)
                known.append((event, identify(event.user, event.page), at, receipt, plain))
            except Exception as error:  # a fault of ours costs this event, not its neighbours
                logger.error("an event could not be prepared", extra={"error": type(error).__name__})
                outcome = Outcome(kind="rejected", reason=f"could not be prepared ({type(error).__name__})")
                refused += [Refused(target.name, event.event_id, outcome, receipt) for target in self._targets]
        return known

    def _lead(
        self, target: _Target, known: Sequence[_Known], refused: list[Refused], now: float
    ) -> list[Record | None]:
        """The records of these events for one destination; ``None`` where one was refused."""
        row: list[Record | None] = []
        # written out once for what is nearly always so: this runs for every event and destination
        to_wire, encode, name, max_body = target.to_wire, ENCODER.encode, target.name, target.max_body
        account, form = target.account, target.wire
        for one in known:
            event, ids, _, receipt, plain = one
            if plain:
                try:
                    wire = to_wire(event, ids)
                    if type(wire) is Wire and wire.expires_at > now:
                        body = encode(wire.body)
                        if len(body) <= max_body:
                            row.append(
                                Record(
                                    name, event.event_id, wire.head, body, wire.expires_at, wire.resend_for_s,
                                    account, form, now, wire.order_key, 0, 0, 0.0, receipt,
                                )
                            )  # fmt: skip
                            continue
                except Exception:
                    plain = False  # nor is it: looked into once more below, where what is to blame is named
            row.append(self._closely(target, one, refused, now))
        return row

    def _follow(
        self,
        target: _Target,
        known: Sequence[_Known],
        shared: Sequence[Record | None],
        refused: list[Refused],
        now: float,
    ) -> list[Record | None]:
        """The same for a destination whose bodies another one has made already: only the head is its own."""
        head_of, name, account, form = target.destination.head_of, target.name, target.account, target.wire
        max_body = target.max_body
        row: list[Record | None] = []
        for one, twin in zip(known, shared, strict=True):
            event, _, _, receipt, plain = one
            if twin is not None and plain and not event.extra and len(twin.body) <= max_body:
                head = head_of(event)
                if type(head) is bytes:
                    row.append(
                        Record(
                            name, event.event_id, head, twin.body, twin.expires_at, twin.resend_for_s,
                            account, form, now, twin.order_key, 0, 0, 0.0, receipt,
                        )
                    )  # fmt: skip
                    continue
            row.append(self._closely(target, one, refused, now))
        return row

    def _closely(self, target: _Target, known: _Known, refused: list[Refused], now: float) -> Record | None:
        """The record of an event that is not as usual; ``None`` if it was refused, and why is among ``refused``."""
        event, ids, at, receipt, _ = known
        made = self._one(target, event, ids, at, now)
        if isinstance(made, Record):
            made.receipt = receipt
            return made
        refused.append(Refused(target.name, event.event_id, made, receipt))
        return None

    def one(
        self, destination: Destination, event: Event, now: float
    ) -> tuple[Record | Outcome, Identifiers, Sequence[str]]:
        """One event for one destination, its identifiers, and what was adjusted on the way; for ``explain``."""
        ids = self._plan.identify(event.user, event.page)
        target = next(target for target in self._targets if target.name == destination.name)
        at = event.time.timestamp()
        made = self._one(target, event, ids, at, now)
        warnings: list[str] = []
        if type(made) is Record:
            if at > now:
                warnings.append("time: lies in the future, and is sent as now")
                event = _clamped(event, now)
            wire = target.to_wire(event, ids)
            warnings += wire.warnings if type(wire) is Wire else ()
        return made, ids, warnings

    def _one(self, target: _Target, event: Event, ids: Identifiers, at: float, now: float) -> Record | Outcome:
        if event.to is not None and target.name not in event.to:
            return _NOT_ADDRESSED
        if self._require_consent and event.consent is None:
            return _NO_CONSENT
        if at > now:
            if at - now > max(target.max_future_s, 0.0):
                return _FAR_AHEAD
            event = _clamped(event, now)
        try:
            made = target.to_wire(event, ids)
        except RecursionError as error:
            return too_deep(event, target.destination) or _failed(target, error)
        except Exception as error:  # a destination's fault costs its own event, not the batch
            return _failed(target, error)
        if type(made) is Refusal:
            return Outcome(kind=made.kind, reason=made.reason, field=made.field, fix=made.fix)
        if type(made) is not Wire:
            return Outcome(kind="rejected", reason="the destination gave neither Wire nor Refusal")
        try:
            if made.expires_at <= now:
                return _EXPIRED
            body = ENCODER.encode(made.body)
        except RecursionError as error:
            return too_deep(event, target.destination) or unencodable(event, error)
        except Exception as error:  # whatever an object of the caller's may raise when it is looked into
            return unencodable(event, error)
        if len(body) > target.max_body:
            return Outcome(
                kind="rejected",
                reason=f"{len(body)} bytes, and a whole request of this platform takes {target.max_body}",
                field=largest(event),
                fix="shorten it",
            )
        return Record(
            target.name,
            event.event_id,
            made.head,
            body,
            made.expires_at,
            made.resend_for_s,
            target.account,
            target.wire,
            now,
            made.order_key,
        )


def _clamped(event: Event, now: float) -> Event:
    return replace(event, time=datetime.fromtimestamp(now, UTC))


def _failed(target: _Target, error: Exception) -> Outcome:
    logger.error("a destination failed", extra={"destination": target.name, "error": type(error).__name__})
    return Outcome(kind="rejected", reason=f"the destination failed with {type(error).__name__}")
