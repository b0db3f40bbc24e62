"""What arrived: a bounded record of events, the counters over them, and the de-duplication of each platform."""

from __future__ import annotations

import json
from collections import Counter, deque
from itertools import chain, islice
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from capi_async.bounded import make_room

_NOTHING = Raw(b"null")
# Names of counters may come from the wire; a sender of random keys must not fill the memory.
_MAX_NAMES = 1_000
_MAX_NAME_LENGTH = 100
# Python reads no integer of more than 4,300 digits, by its own setting; no field of a platform has that many.
_MAX_DIGITS = 640


def plain(raw: Raw) -> Any:
    """The JSON value of an event that a platform has read, refused or not."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        # numbers too large for a float are infinite here, not errors; so are integers of more digits than int() reads
        return json.loads(bytes(raw), parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


class Arrival(Struct, gc=False):
    """One event as a platform received it.

    Attributes:
        platform: Prefix of the platform, such as ``snap``.
        account: Pixel, ad account, dataset or source id that it was sent to.
        raw: The wire object, undecoded; JSON ``null`` once the record had to let the body go.
        accepted: Whether the platform took it. An absorbed copy counts as taken.
        reason: Why not, or "".
        request: Which request to that platform brought it; the first is 1.
        test: Sent in the platform's test mode.
        received_at: Unix seconds.
        turn: Grows whenever another platform's events come in, so that it orders arrivals over all platforms.
    """

    platform: str
    account: str
    raw: Raw = field(name="event")
    accepted: bool
    reason: str
    request: int
    test: bool
    received_at: float
    turn: int = 0

    @property
    def event(self) -> Any:
        """The wire object, decoded anew on every use; ``None`` when its body was let go."""
        return plain(self.raw)


class ArrivalLine(Struct, gc=False):
    """An arrival as the HTTP interface shows it."""

    platform: str
    account: str
    event: Raw
    accepted: bool
    reason: str
    request: int
    test: bool

    @classmethod
    def of(cls, it: Arrival) -> ArrivalLine:
        return cls(it.platform, it.account, it.raw, it.accepted, it.reason, it.request, it.test)


class _Ring:
    """The newest arrivals of one platform, in order."""

    __slots__ = ("added", "all", "with_body")

    def __init__(self, max_arrivals: int) -> None:
        self.all: deque[Arrival] = deque(maxlen=max_arrivals)
        self.with_body: deque[Arrival] = deque()
        self.added = 0


class Arrivals:
    """The newest arrivals of each platform; bodies are kept for fewer of them, so that memory stays bounded.

    Args:
        max_arrivals: Arrivals remembered per platform; its oldest go first.
        keep_events: Bodies remembered per platform: all of the remembered arrivals, none, or the newest so many.
        keep_bytes: Bytes of bodies remembered, over all platforms.
    """

    def __init__(self, *, max_arrivals: int, keep_events: bool | int, keep_bytes: int) -> None:
        self._rings: dict[str, _Ring] = {}
        self._max_arrivals = max_arrivals
        self._keep_events = max_arrivals if keep_events is True else min(int(keep_events), max_arrivals)
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._last: _Ring | None = None
        self._turn = 0

    def add(self, arrival: Arrival) -> None:
        """Remember one arrival, and let go of what is over a bound."""
        ring = self._rings.get(arrival.platform)
        if ring is None:
            ring = self._rings[arrival.platform] = _Ring(self._max_arrivals)
        if ring is not self._last:
            # arrivals in a row share the number, and its memory: within a ring they are in order anyway
            self._last = ring
            self._turn += 1
        arrival.turn = self._turn
        ring.all.append(arrival)
        ring.added += 1
        if not self._keep_events:
            arrival.raw = _NOTHING
            return
        ring.with_body.append(arrival)
        self._bytes += len(arrival.raw)
        # bodies are never more than arrivals, so a ring's own bound lets go of those that it drops
        if len(ring.with_body) > self._keep_events:
            self._let_go(ring)
        while self._bytes > self._keep_bytes:
            oldest = ring
            for one in self._rings.values():
                if one.with_body and one.with_body[0].turn < oldest.with_body[0].turn:
                    oldest = one
            if oldest.with_body[0] is arrival:
                break  # the newest stays, however large
            self._let_go(oldest)

    def of(self, platform: str | None = None) -> list[Arrival]:
        """Arrivals in the order received, of one platform or of all."""
        if platform is not None:
            ring = self._rings.get(platform)
            return list(ring.all) if ring else []
        return sorted(chain.from_iterable(ring.all for ring in self._rings.values()), key=_turn)

    def newest(self, limit: int, platform: str | None = None) -> list[Arrival]:
        """The last few, newest first, of one platform or of all."""
        rings = [ring for name, ring in self._rings.items() if platform in (None, name)]
        tails = [list(islice(reversed(ring.all), limit)) for ring in rings]
        return sorted(chain.from_iterable(tails), key=_turn, reverse=True)[:limit]

    def dropped(self, platform: str | None = None) -> int:
        """Arrivals that a bound made it forget, of one platform or of all, since it was last emptied."""
        rings = self._rings.values() if platform is None else filter(None, [self._rings.get(platform)])
        return sum(ring.added - len(ring.all) for ring in rings)

    def clear(self) -> None:
        """Forget them all, and that any were dropped."""
        self._rings.clear()
        self._last = None
        self._bytes = 0

    def _let_go(self, ring: _Ring) -> None:
        oldest = ring.with_body.popleft()
        self._bytes -= len(oldest.raw)
        oldest.raw = _NOTHING


_turn = attrgetter("turn")


class Seen:
    """First arrival of each key within a window; the oldest keys go when there are too many.

    Keys are kept as 64-bit hashes: at a million keys, two of them meet with a probability of 3 in 10 million.
    """

    __slots__ = ("_first", "_max_keys")

    def __init__(self, max_keys: int = 1_000_000) -> None:
        self._first: dict[int, float] = {}
        self._max_keys = max_keys

    def holds(self, key: object, now: float, window_s: float) -> bool:
        """Whether the key was first seen less than ``window_s`` ago."""
        at = self._first.get(hash(key))
        return at is not None and now - at < window_s

    def again(self, key: object, now: float, window_s: float) -> bool:
        """Whether the key was first seen less than ``window_s`` ago; if not, this is its first time."""
        first = self._first
        hashed = hash(key)
        at = first.get(hashed)
        if at is not None and now - at < window_s:
            return True
        if at is not None:
            del first[hashed]  # so that insertion order stays the order of time
        make_room(first, hashed, self._max_keys)
        first[hashed] = now
        return False


class Stats(Struct):
    """Counters of one platform.

    Attributes:
        requests: Requests of any kind, refused and faulty ones included.
        events: Events read out of requests, test events included.
        accepted: Accepted conversions, absorbed copies included: distinct ones are ``accepted - duplicates``.
            Test events are left out where the platform does not count them.
        duplicates: Accepted events whose de-duplication key had been accepted before, inside the window.
    """

    requests: int = 0
    events: int = 0
    accepted: int = 0
    duplicates: int = 0


class Tally:
    """Everything counted about one platform: ``stats``, and details beyond them."""

    def __init__(self) -> None:
        self.keys = Seen()
        self.bodies = Seen()
        # Requests of which the counters know no more: arrivals are numbered on.
        self.earlier_requests = 0
        self._zero()

    def zero(self) -> None:
        """Count from zero. What the platform knows a second copy by stays."""
        self.earlier_requests += self.stats.requests
        self._zero()

    def _zero(self) -> None:
        self.stats = Stats()
        self.rejected = 0
        self.test = 0
        # Copies that the platform would count again, because it has no key for such events (or they came without).
        self.counted_twice = 0
        self.refused_requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.unknown_keys: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    @staticmethod
    def count(counter: Counter[str], name: str) -> None:
        """Add one to a counter that is fed from the wire."""
        name = name[:_MAX_NAME_LENGTH]
        counter[name if name in counter or len(counter) < _MAX_NAMES else "(other)"] += 1

    def detail(self) -> dict[str, Any]:
        """The stats and all details."""
        return {
            **msgspec.structs.asdict(self.stats),
            "rejected": self.rejected,
            "test": self.test,
            "counted_twice": self.counted_twice,
            "refused_requests": dict(self.refused_requests),
            "faults": dict(self.faults),
            "unknown_keys": dict(self.unknown_keys),
            "warnings": dict(self.warnings),
            "reasons": dict(self.reasons),
        }
