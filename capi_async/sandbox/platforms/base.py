"""The one mechanism behind every platform: route, authorise, limit, read, check, record, answer.

A platform declares what differs: its routes, its credential, its event structs and rules, its de-duplication key,
and how its answers look. It never sees a socket.
"""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from capi_async.nearest import nearest
from capi_async.sandbox.arrivals import Arrival, Arrivals, Tally
from capi_async.sandbox.checks import HOUR, MB, MINUTE, Problem, Reader
from capi_async.sandbox.rates import Rate, Windows

TOKEN = "sandbox-token"  # noqa: S105 - the sandbox's one credential, public on purpose

E = TypeVar("E")

_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Call(Struct):
    """A request, behind the platform's prefix; ``now`` in Unix seconds, ``uptime`` on a clock that never steps."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: float
    uptime: float


class Reply(Struct):
    """An answer."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    content_type: str = "application/json"


def json_reply(status: int, body: object, headers: dict[str, str] | None = None) -> Reply:
    """An answer in JSON."""
    return Reply(status, msgspec.json.encode(body), headers or {})


class Refused(Exception):
    """The request as a whole is refused, before any event of it was looked at."""

    def __init__(self, reply: Reply, reason: str) -> None:
        super().__init__(reason)
        self.reply = reply
        self.reason = reason


class Route(Struct, frozen=True):
    """One path of a platform; ``reads`` marks those that give something back instead of taking events."""

    method: str
    pattern: re.Pattern[str]
    name: str
    reads: bool = False


def route(method: str, pattern: str, name: str, *, reads: bool = False) -> Route:
    """A route whose pattern covers the whole path."""
    return Route(method, re.compile(rf"{pattern}\Z"), name, reads)


class Batch(Struct):
    """The events of one request, still undecoded.

    Attributes:
        account: Where they were sent; one for all, unless the platform keeps it inside each event.
        now: When they came, in Unix seconds.
        head: What stands beside the events, for platforms whose rules need it.
    """

    route: str
    account: str
    events: list[Raw]
    now: float
    test: bool = False
    head: Any = None


class Service(ABC):
    """What the server needs of anything behind a prefix; one object per running sandbox.

    Attributes:
        name: Prefix of its URLs.
        readings: The other answers to questions that no source settles: name, and what it changes.
        chosen: Those that this sandbox gives.
    """

    name: ClassVar[str]
    rate: ClassVar[Rate | None] = None
    readings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, *, seed: int, readings: frozenset[str] = frozenset()) -> None:
        if unknown := sorted(readings - self.readings.keys()):
            others = f"it has {', '.join(self.readings)}" if self.readings else "it has none"
            raise ValueError(f"{self.name} has no reading {unknown[0]!r}; {others}{nearest(unknown[0], self.readings)}")
        self.chosen = readings
        self.windows: Windows | None = Windows(self.rate) if self.rate else None
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """Forget everything received, as on the first day."""
        self.tally = Tally()
        self._ids = random.Random(f"{self._seed}:{self.name}:ids")

    def set_rate(self, rate: Rate | None) -> None:
        """Replace the platform's request rate limit; ``None`` lifts it."""
        self.windows = Windows(rate) if rate else None

    def new_id(self, length: int) -> str:
        """The next identifier of this platform's seeded series."""
        return "".join(self._ids.choices(_ALPHANUMERIC, k=length))

    @abstractmethod
    def handle(self, call: Call, record: Arrivals) -> Reply:
        """Answer one request as the platform would, and record its events."""

    @abstractmethod
    def failure(self, status: int, reason: str) -> Reply:
        """An error of the platform itself (wrong path, too large, fault on demand) in its own shape."""

    def reply_to_fault(self, status: int) -> Reply:
        """The platform's own body for a status set by a fault."""
        return self.failure(status, "fault set in the sandbox")

    def wait_headers(self, retry_after_s: float) -> dict[str, str]:
        """Headers that tell the client how long to wait, beside ``Retry-After``."""
        return {}

    def warn(self, name: str) -> None:
        """Count something that the platform lets pass and a careful client would not send."""
        Tally.count(self.tally.warnings, name)


class Platform(Service, Generic[E]):
    """A platform that takes events: what it declares.

    Attributes:
        poison: Text that makes an otherwise good event be refused, wherever in its bytes it stands.
        counts_tests: Test events are real conversions (Meta).
        max_test_events: Events that a test request may hold; those after them fail one by one (Pinterest).
    """

    routes: ClassVar[tuple[Route, ...]]
    max_bytes: ClassVar[int] = 2 * MB
    max_future_s: ClassVar[float] = 5 * MINUTE
    window_s: ClassVar[float] = 48 * HOUR
    counts_tests: ClassVar[bool] = False
    max_test_events: ClassVar[int | None] = None

    def __init__(self, *, seed: int, readings: frozenset[str] = frozenset(), poison: str | None = None) -> None:
        super().__init__(seed=seed, readings=readings)
        self.poison = poison.encode() if poison else None

    def handle(self, call: Call, record: Arrivals) -> Reply:
        return handle(self, call, record)

    # What every platform says about itself.

    @abstractmethod
    def authorise(self, call: Call, match: re.Match[str]) -> str:
        """The key that the rate is counted by; raises ``Refused`` for a bad credential or account."""

    @abstractmethod
    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        """The events of the request; raises ``Refused`` when the body's frame is not what the platform takes."""

    @abstractmethod
    def reader(self, batch: Batch) -> Reader[E]:
        """How an event of that batch is decoded."""

    @abstractmethod
    def check(self, event: E, batch: Batch) -> Problem | None:
        """The first rule that a well-formed event breaks."""

    @abstractmethod
    def key(self, event: E, batch: Batch) -> object | None:
        """What the platform recognises a second copy by; ``None`` when it would count it again."""

    @abstractmethod
    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[E | None]) -> Reply:
        """The reply to a batch, given what is wrong with which events."""

    # What most platforms share.

    def refuses_all(self, batch: Batch, problems: Mapping[int, Problem]) -> bool:
        """Whether one bad event costs the batch its good ones."""
        return True

    def throttled(self, wait_s: float) -> Reply:
        """The answer to a request over the rate."""
        return self.failure(429, "too many requests")

    def headers(self, rate_key: str, uptime: float) -> dict[str, str]:
        """Headers on every answer to an authorised request."""
        return {}

    def account_of(self, event: E | None, batch: Batch) -> str:
        """The account of one event, for platforms that keep it in there."""
        return batch.account

    def accepted(self, event: E, batch: Batch, *, copy: bool) -> None:
        """Called for each accepted event, test events included, for platforms that remember more than keys."""

    def read_back(self, call: Call, at: Route, match: re.Match[str]) -> Reply:
        """Answer a route that gives something back."""
        raise NotImplementedError


def handle(platform: Platform[Any], call: Call, record: Arrivals) -> Reply:
    """Answer one request as the platform would, and record its events."""
    tally = platform.tally
    tally.stats.requests += 1
    try:
        at, match = _route(platform, call)
        rate_key = platform.authorise(call, match)
        if platform.windows and (wait_s := platform.windows.admit(rate_key, call.uptime)):
            reply = platform.throttled(wait_s)
            reply.headers = {**reply.headers, **platform.headers(rate_key, call.uptime)}
            raise Refused(reply, "over the request rate")
        if at.reads:
            return platform.read_back(call, at, match)
        if len(call.body) > platform.max_bytes:
            raise Refused(platform.failure(413, "request too large"), "request too large")
        if not _is_utf8(call.body):
            raise Refused(platform.failure(400, "the body is not UTF-8"), "malformed body")
        batch = platform.open(call, at, match)
        reply = _settle(platform, batch, call, record)
    except RecursionError:
        Tally.count(tally.refused_requests, "nested too deeply")
        return platform.failure(400, "nested too deeply")
    except Refused as refused:
        Tally.count(tally.refused_requests, refused.reason)
        return refused.reply
    if extra := platform.headers(rate_key, call.uptime):
        reply.headers = {**reply.headers, **extra}
    return reply


def _is_utf8(body: bytes) -> bool:
    # The decoders skip over what a struct does not name, and look at its bytes only roughly.
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _route(platform: Platform[Any], call: Call) -> tuple[Route, re.Match[str]]:
    other_method = False
    for at in platform.routes:
        if match := at.pattern.match(call.path):
            if at.method == call.method:
                return at, match
            other_method = True
    if other_method:
        raise Refused(platform.failure(405, "method not allowed"), "method not allowed")
    raise Refused(platform.failure(404, "no such path"), "no such path")


def _settle(platform: Platform[E], batch: Batch, call: Call, record: Arrivals) -> Reply:
    tally = platform.tally
    read, check = platform.reader(batch).read, platform.check
    problems: dict[int, Problem] = {}
    events: list[E | None] = []
    most = platform.max_test_events if batch.test else None
    for index, raw in enumerate(batch.events):
        event, problem, unknown = read(raw)
        if event is not None:
            problem = check(event, batch)
        if problem is None and platform.poison is not None and platform.poison in bytes(raw):
            problem = Problem("poisoned on purpose")
        if problem is None and most is not None and index >= most:
            problem = Problem(f"only the first {most} events of a test request are processed")
        for name in unknown:
            Tally.count(tally.unknown_keys, name)
        if problem is not None:
            problems[index] = problem
        events.append(event)
    reply = platform.answer(batch, problems, events)
    number = tally.earlier_requests + tally.stats.requests

    spoilt = min(problems) if problems and platform.refuses_all(batch, problems) else None
    for index, (raw, event) in enumerate(zip(batch.events, events, strict=True)):
        if problem := problems.get(index):
            reason = problem.reason
            Tally.count(tally.reasons, problem.path or problem.kind)
        else:
            reason = "" if spoilt is None else f"refused with event {spoilt} of its batch"
        if not reason and event is not None:
            _count(platform, batch, event, raw)
        else:
            tally.rejected += 1
        tally.stats.events += 1
        account = platform.account_of(event, batch)
        record.add(Arrival(platform.name, account, raw, not reason, reason, number, batch.test, call.now))
    return reply


def _count(platform: Platform[E], batch: Batch, event: E, raw: Raw) -> None:
    tally = platform.tally
    copy = False
    if batch.test:
        tally.test += 1
    if not batch.test or platform.counts_tests:
        tally.stats.accepted += 1
        key = platform.key(event, batch)
        # Only a repetition of the whole event proves a copy where the platform knows no key.
        if key is not None:
            copy = tally.keys.again(key, batch.now, platform.window_s)
            tally.stats.duplicates += copy
        else:
            tally.counted_twice += tally.bodies.again(bytes(raw), batch.now, platform.window_s)
    platform.accepted(event, batch, copy=copy)


def bearer(call: Call) -> str:
    """The token of an ``Authorization: Bearer`` header, or ""."""
    scheme, _, token = call.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_json(call: Call) -> bool:
    """Whether the request says that its body is JSON."""
    return call.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"
