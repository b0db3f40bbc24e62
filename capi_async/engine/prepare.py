"""From events to records: consent, hash once, map for each destination, encode. Runs in the prepare thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from msgspec.structs import replace

from capi_async.engine.batcher import Batcher
from capi_async.engine.receipt import Receipt
from capi_async.event import Event
from capi_async.outcome import Outcome, OutcomeKind
from capi_async.pii.identifiers import Identifiers, Plan
from capi_async.spec import ENCODER, Destination, Refusal, Wire
from capi_async.spool.base import Record, Refused

logger = logging.getLogger(__name__)

ConsentPolicy: TypeAlias = Literal["vouch", "require"]

#: How long the prepare thread keeps the GIL: one that hashes without pausing delays the loop by 5 ms a switch.
_TURN_S: Final = 0.0015
#: Events between two looks at the time.
_EVENTS_PER_LOOK: Final = 16

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

#: Levels from which nesting, and not a fault of ours, is taken for what has exhausted the stack.
_DEEP: Final = 50
#: Levels at which :func:`_depth` stops counting.
_TOO_DEEP: Final = 10_000


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
    """A destination with everything that is asked of it per event at hand."""

    __slots__ = ("account", "destination", "max_body", "max_future_s", "name", "to_wire", "wire")

    def __init__(self, destination: Destination) -> None:
        limits = destination.effective_limits()
        self.destination = destination
        self.name = destination.name
        self.to_wire = destination.to_wire
        self.account = destination.account()
        self.wire = destination.wire
        self.max_body = limits.max_batch_bytes - Batcher.ENVELOPE_BYTES
        self.max_future_s = limits.max_future_s


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
        self._targets = [_Target(destination) for destination in destinations]
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
        records: list[Record] = []
        refused: list[Refused] = []
        turn = _Turn()
        # all identities first, then destination by destination: what concerns one of them is looked up once
        known = self._identify(events, receipts, refused, turn)
        for target in self._targets:
            for index, (event, ids, at, receipt) in enumerate(known):
                if index % _EVENTS_PER_LOOK == 0:
                    turn.offer()
                made = self._one(target, event, ids, at, now)
                if type(made) is Record:
                    made.receipt = receipt
                    records.append(made)
                elif type(made) is Outcome:
                    refused.append(Refused(target.name, event.event_id, made, receipt))
        return records, refused

    def _identify(
        self, events: Sequence[Event], receipts: Sequence[Receipt], refused: list[Refused], turn: _Turn
    ) -> list[tuple[Event, Identifiers, float, Receipt]]:
        known: list[tuple[Event, Identifiers, float, Receipt]] = []
        identify = self._plan.identify
        for index, event in enumerate(events):
            if index % _EVENTS_PER_LOOK == 0:
                turn.offer()
            receipt = receipts[index]
            try:
                known.append((event, identify(event.user, event.page), event.time.timestamp(), receipt))
            except Exception as error:  # a fault of ours costs this event, not its neighbours
                logger.error("an event could not be prepared", extra={"error": type(error).__name__})
                outcome = Outcome(kind="rejected", reason=f"could not be prepared ({type(error).__name__})")
                refused += [Refused(target.name, event.event_id, outcome, receipt) for target in self._targets]
        return known

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
            return _too_deep(event, target.destination) or _failed(target, error)
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
            return _too_deep(event, target.destination) or _unencodable(event, error)
        except Exception as error:  # whatever an object of the caller's may raise when it is looked into
            return _unencodable(event, error)
        if len(body) > target.max_body:
            return Outcome(
                kind="rejected",
                reason=f"{len(body)} bytes, and a whole request of this platform takes {target.max_body}",
                field=_largest(event),
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


def _too_deep(event: Event, destination: Destination) -> Outcome | None:
    """A refusal that names what is nested so deeply; ``None`` if nothing of the event's is, so the fault is not its."""
    try:
        properties, extra = _depth(event.properties), _depth(destination.extra_of(event))
    except Exception:  # whatever an object of the caller's may raise when it is looked into
        return None
    if max(properties, extra) < _DEEP:
        return None
    return Outcome(
        kind="rejected",
        field="extra" if extra > properties else "properties",
        reason="is nested too deeply, or holds itself",
        fix="flatten it",
    )


def _depth(value: object) -> int:
    """Levels of objects and lists below ``value``; looks no further than where it is too deep."""
    levels = [iter((value,))]
    deepest = 0
    while levels and deepest < _TOO_DEEP:
        for one in levels[-1]:
            if isinstance(one, (Mapping, list, tuple)):
                levels.append(iter(one.values() if isinstance(one, Mapping) else one))
                deepest = max(deepest, len(levels) - 1)
                break
        else:
            levels.pop()
    return deepest


def _unencodable(event: Event, error: Exception) -> Outcome:
    kind: OutcomeKind = "rejected"
    if isinstance(error, UnicodeEncodeError):
        return Outcome(
            kind=kind,
            reason="holds half of a surrogate pair, which is no text",
            field=_first(event, _broken_text),
            fix="decode the text with errors='replace' where it comes from",
        )
    return Outcome(
        kind=kind,
        reason=f"holds a value that JSON cannot carry ({type(error).__name__})",
        field=_first(event, _no_json) or "properties",
        fix="use plain text, numbers, booleans, lists and objects",
    )


def _broken_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _no_json(value: object) -> bool:
    try:
        ENCODER.encode(value)
    except Exception:  # as above
        return True
    return False


def _first(event: Event, guilty: Any) -> str:
    """Path of the first leaf that is ``guilty``; called only when encoding has failed."""
    for path, value in _leaves("", event, 0):
        if guilty(value):
            return path
    return ""


def _largest(event: Event) -> str:
    return max(_leaves("", event, 0), key=lambda leaf: len(leaf[1]) if isinstance(leaf[1], (str, bytes)) else 0)[0]


def _leaves(path: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    below: Iterable[tuple[Any, Any]]
    if depth > 16:
        below = ()
    elif hasattr(value, "__struct_fields__"):
        below = [(name, getattr(value, name)) for name in value.__struct_fields__]
    elif isinstance(value, dict):
        below = value.items()
    elif isinstance(value, (list, tuple)):
        below = ((f"[{index}]", one) for index, one in enumerate(value))
    else:
        below = ()
    empty = True
    for name, one in below:
        empty = False
        if _broken_text(name):
            yield path, name
            continue
        text = str(name)
        yield from _leaves(f"{path}{text}" if text.startswith("[") else f"{path}.{text}".lstrip("."), one, depth + 1)
    if empty:
        yield path, value
