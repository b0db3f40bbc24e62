"""What a destination declares. The engine reads these declarations and knows no platform.

A destination is one frozen struct: its fields are the account, its class attributes the platform's
facts, and three pure methods its mapping (``to_wire``, ``request``, ``classify``).
"""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.followup import SILENT, FollowUp, SentRequest, Told
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.platform_fields import PlatformFields, on_wire
from capi_async.rows import Rows, Together
from capi_async.slices import SLICE_BYTES as SLICE_BYTES
from capi_async.slices import Slices
from capi_async.slices import json_slices as json_slices
from capi_async.thread import aside

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
DAY: Final = 86_400.0
KiB: Final = 1024
MiB: Final = 1024 * KiB


def _problem_of(source: object) -> str:
    """Why this is no credential; empty if it may be one."""
    if not isinstance(source, str):
        return "" if callable(source) else f"a credential is text or a callable, not {type(source).__name__}"
    if not source:
        return "a credential is empty"
    if source[0] in _QUOTES or source[-1] in _QUOTES:
        return "a credential stands in quotes; give it without them"
    if source[:7].lower() == "bearer ":
        return "give the token alone, without 'Bearer'"
    if not source.isprintable() or not source.isascii():
        return "a credential holds characters that cannot stand in a header; was it pasted whole?"
    return ""


class Secret:
    """A credential that shows itself to nobody who merely prints it.

    Holds text, or a callable (plain or async) that is asked before each request, so that rotated
    credentials take effect without a restart. A plain one is called in a thread of its own: it may block, as the
    clients of most secret stores do. One that has a method ``refused(token)`` is told of a token that the platform does
    not take; that method must not block.
    """

    __slots__ = ("_source",)

    def __init__(self, source: str | Callable[[], str | Awaitable[str]]) -> None:
        source = source.strip() if isinstance(source, str) else source
        if problem := _problem_of(source):
            # error trackers send the locals of the frames of an error
            del source
            raise ConfigError(problem)
        self._source = source

    @property
    def fixed(self) -> bool:
        """True if only a restart can change it."""
        return isinstance(self._source, str)

    def text(self) -> str:
        """The credential itself, if it is fixed: nothing need be waited for.

        Raises:
            ConfigError: It comes from a callable.
        """
        if not isinstance(self._source, str):
            raise ConfigError("this credential must be text")
        return self._source

    async def reveal(self) -> str:
        """The credential itself.

        Raises:
            ConfigError: The callable gave something else than text.
        """
        if isinstance(self._source, str):
            return self._source
        value: object = await self._ask(self._source)
        if inspect.isawaitable(value):
            value = await value
        if not isinstance(value, str) or not value.strip():
            raise ConfigError("the credential's callable gave no text")
        return value

    def refused(self, token: str) -> None:
        """Tell the callable, if it wants to know, that the platform does not take this token of it."""
        if callable(tell := getattr(self._source, "refused", None)):
            tell(token)

    async def _ask(self, source: Callable[[], str | Awaitable[str]]) -> object:
        if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(getattr(source, "__call__", None)):  # noqa: B004
            return source()
        try:
            return await aside(source)
        except RuntimeError as error:
            if "no running event loop" not in str(error) and "no current event loop" not in str(error):
                raise
        # it makes a task, or asks for the loop by itself: it does not block
        return source()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # a pickle is written to files, caches and queues, where nobody expects a credential
        raise TypeError("a credential is not pickled: make the destination in the process that uses it")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self._source)


if TYPE_CHECKING:
    #: What a constructor takes for a credential; the made destination always holds a :class:`Secret`.
    Credential: TypeAlias = str | Secret | Callable[[], str | Awaitable[str]]
else:
    Credential = Secret


class Limits(Struct, frozen=True, kw_only=True):
    """What a platform takes, in its own figures.

    Attributes:
        max_batch_events: Events per request.
        max_batch_bytes: Bytes of a request's body.
        requests_per_s: Requests per second and account.
        burst: Requests that may leave at once after a pause.
        max_in_flight: Requests that may be under way at once.
        max_age_s: Age in seconds beyond which an event is refused; the event's own limit is ``Wire.expires_at``.
        max_future_s: How far ahead of now an event's time may lie; it is clamped to now, beyond that rejected.
        max_attempts: Requests that may carry one event; ``None`` leaves it to the client.
        request_timeout_s: Seconds until an answer is given up.
    """

    max_batch_events: int
    max_batch_bytes: int
    requests_per_s: float
    burst: float = 1.0
    max_in_flight: int = 8
    max_age_s: float = 7 * DAY
    max_future_s: float = 5 * MINUTE
    max_attempts: int | None = None
    request_timeout_s: float = 30.0


class Wire(Struct, gc=False):
    """One event in a platform's form.

    Attributes:
        body: The event's own JSON: a struct, or a dict where ``extra`` was merged in.
        head: Everything that stands at request level, encoded with :func:`encode_head`; only records with
            equal heads share a request.
        expires_at: Seconds since the epoch after which the platform refuses this event.
        resend_for_s: Seconds after the first attempt within which the platform recognises a second copy of
            this event; 0: it does not.
        order_key: Holds this record back until an older one with the same key is settled.
        warnings: What was adjusted on the way, in words free of personal data.
    """

    body: Any
    head: bytes
    expires_at: float
    resend_for_s: float = 0.0
    order_key: str | None = None
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Wire({type(self.body).__name__}, expires_at={self.expires_at})"


class Refusal(Struct, frozen=True, gc=False):
    """Why an event is not for this destination.

    Attributes:
        kind: ``skipped``: no consent, no such event, no test mode, nobody to identify. ``rejected``: a
            field is missing or bad.
        field: The event's field, such as ``page.url``.
    """

    kind: Literal["skipped", "rejected"]
    field: str
    reason: str
    fix: str = ""


class Request(Struct, frozen=True):
    """One HTTP request. Its repr shows no URL, headers or body: they hold credentials and personal data.

    Attributes:
        url: May hold a credential (Snap): never logged.
        body: Slices, see :func:`json_slices`; sent with their summed length.
        once: Must not arrive twice; the engine fills it in. So it is not sent over a connection that has been idle
            for long: one that the server closes at that moment leaves in doubt whether the request was read.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: Sequence[bytes] = ()
    once: bool = False

    @property
    def size(self) -> int:
        """Bytes of the body."""
        body = self.body
        return body.size if isinstance(body, Slices) else sum(map(len, body))

    def __repr__(self) -> str:
        return f"Request({self.method} {urlsplit(self.url).hostname}, {self.size} bytes)"


class Transport(Protocol):
    """Sends one request and reads its answer."""

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """The platform's answer, whatever its status.

        Raises:
            TransportError: No answer came; ``sent`` tells whether the request may have arrived.
        """
        ...


Resend: TypeAlias = Literal["safe", "always", "never"]


class Destination(Struct, frozen=True, kw_only=True, dict=True):
    """Base of every destination.

    Attributes:
        name: How ``Event.to``, outcomes and the ledger call it; default: the type. Two accounts of one
            platform need two names.
        base_url: Where the platform's API starts; default: the platform's own.
        test: Send everything in the platform's test mode.
        event_names: Canonical or custom name to the platform's name; ``None`` skips that event.
        resend: What to do with an attempt whose answer never came: ``safe`` sends again only while the
            platform recognises a repeat of that event, ``always``, ``never``.
        gzip: Compress bodies. Off by default; no platform here documents that it accepts it.
        max_batch_events, max_batch_bytes, requests_per_s, burst, max_in_flight, max_age_s, max_attempts,
        request_timeout_s: Override the platform's figure for this account.
        linger_s: Override the client's.
        value: What this account is told as an event's value instead of ``Event.value``, in the event's currency: the
            name of one of its ``properties`` (``"margin"``), or a function of the event. ``None`` from either means
            that the event has no value here.
    """

    #: The platform's name in configurations, such as ``snap``.
    type: ClassVar[str]
    #: Form of the stored bytes; raised when it changes, so that old records are never misread.
    wire: ClassVar[str]
    #: Where the API starts when the user says nothing.
    default_base_url: ClassVar[str]
    limits: ClassVar[Limits]
    #: Attributes of :class:`Identifiers` that ``to_wire`` reads.
    identifiers: ClassVar[tuple[str, ...]]
    #: The field of the event that holds what this platform alone takes, see :mod:`capi_async.platform_fields`.
    own: ClassVar[str] = ""
    #: Each of those fields to its place in the event's own object, as a dotted path.
    own_fields: ClassVar[Mapping[str, str]] = {}
    #: Standard event names; ``None``: there is no such event. A name that is missing is a custom one.
    standard_names: ClassVar[Mapping[str, str | None]]
    #: Setting to environment variable names, the first that is set wins.
    env: ClassVar[Mapping[str, tuple[str, ...]]]
    #: Settings that show in the head or the credential only, never in a body. Two destinations of one type whose
    #: other settings are equal make equal bodies, so that each event is mapped and encoded once for both; they
    #: must have :meth:`head_of`. ``None``: nothing is shared.
    head_settings: ClassVar[frozenset[str] | None] = None
    #: Source of the facts and the date they were read.
    docs: ClassVar[str]
    #: Where the platform's pages show test events; empty: nowhere that is documented.
    test_events_at: ClassVar[str] = ""
    #: Whether ``to_wire()`` of a small event takes some microseconds, waits for nothing and calls no code of the
    #: user's: then an event that comes alone is mapped on the event loop, see ``Client(prepare=...)``. A subclass with
    #: a ``to_wire()`` of its own has to say it anew.
    brief: ClassVar[bool] = False
    #: Whether the platform counts test events like others, so that none may be sent just to try.
    tests_count: ClassVar[bool] = False
    #: What the platform tells of events after it took them.
    followup: ClassVar[FollowUp] = SILENT

    name: str = ""
    base_url: str = ""
    test: bool = False
    event_names: Mapping[str, str | None] = {}
    resend: Resend = "safe"
    gzip: bool = False
    linger_s: float | None = None
    max_batch_events: int | None = None
    max_batch_bytes: int | None = None
    requests_per_s: float | None = None
    burst: float | None = None
    max_in_flight: int | None = None
    max_age_s: float | None = None
    max_attempts: int | None = None
    request_timeout_s: float | None = None
    value: Any = None

    def __post_init__(self) -> None:
        """Fill defaults and check what all destinations share; subclasses call it first."""
        force_setattr(self, "name", _name_of(self))
        if self.base_url and not isinstance(self.base_url, str):
            raise ConfigError(f"{self.name}: base_url needs an http(s) address")
        url = (self.base_url.strip() or self.default_base_url).rstrip("/")
        parts = web_address(url)
        if parts is None or not url.isprintable() or " " in url:
            raise ConfigError(f"{self.name}: base_url needs an http(s) address")
        # the path of a request is appended to it, and a user's name would take the place of the credential
        if any(sign in url for sign in "?#@\\") or ".." in parts.path.split("/"):
            raise ConfigError(
                f"{self.name}: base_url is scheme, host and path alone: no query, fragment, user name or '..'"
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ConfigError(f"{self.name}: base_url must be https, because requests carry a credential")
        force_setattr(self, "base_url", url)
        if self.resend not in ("safe", "always", "never"):
            raise ConfigError(f"{self.name}: resend is 'safe', 'always' or 'never'")
        for field in _POSITIVE:
            value = getattr(self, field)
            if value is not None and not value > 0:
                raise ConfigError(f"{self.name}: {field} must be greater than 0")
        if self.value is not None and not _chooses(self.value):
            raise ConfigError(f"{self.name}: value is the name of a property, or a plain function of an event")
        ceiling = self.limits.max_batch_events
        if self.max_batch_events is not None and self.max_batch_events > ceiling:
            raise ConfigError(f"{self.name}: max_batch_events cannot exceed the platform's {ceiling}")

    def account_check(self, token: str) -> Request | None:
        """A request that changes nothing and tells whether account and credential fit; ``None``: there is none.

        A GET reads something of the account. A POST holds no event: the platform refuses it, and for another reason
        than the credential only if that was right.
        """
        return None

    def followup_requests(self, token: str, sent: Sequence[SentRequest], since: float) -> Sequence[tuple[str, Request]]:
        """The requests that ask for what :attr:`followup` says, each with a name that its reader gets. Pure.

        Where ``followup.by_request`` the name is the ``trace_id`` of the request that is asked about.

        Args:
            sent: Where ``followup.by_request``: the requests that are asked about, newest first; else none.
            since: Seconds since the epoch from which on events are asked about, for platforms that take such a time.
        """
        return ()

    def followup_told(self, name: str, response: Response) -> Sequence[Told]:
        """What the answer to the request of that name tells. Pure.

        Raises:
            FollowUpError: It tells nothing, and why.
        """
        return ()

    def is_followed(self, head: bytes) -> bool:
        """Whether the platform tells anything later of a request of this head; a test request may be none."""
        return True

    def secret(self) -> Secret:
        """The credential that ``request`` is given."""
        raise NotImplementedError

    def account(self) -> str:
        """Which account this is: not a secret, stored with every record."""
        raise NotImplementedError

    def owns(self, account: str) -> bool:
        """Whether a stored record of this account is this destination's, by :meth:`account` or an earlier key of it."""
        return account == self.account()

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        """One event in the platform's form, or why not. Pure."""
        raise NotImplementedError

    @property
    def together(self) -> Callable[[Rows], Together | None] | None:
        """Makes and encodes the bodies of many events at less cost than :meth:`to_wire` takes; pure.

        Of events that are addressed to nobody in particular, not of the future, and for which somebody vouches. It
        gives ``None`` where it is not worth while. So is this property where it never is, or where a subclass maps in
        a way of its own.
        """
        return None

    def head_of(self, event: Event) -> bytes | Refusal:
        """The head alone of what :meth:`to_wire` makes, for an event of which it makes a body. Pure."""
        raise NotImplementedError

    def shares_bodies(self, other: Destination) -> bool:
        """Whether ``other`` makes the same body of every event that has no ``extra``; see :attr:`head_settings`."""
        if self.head_settings is None or type(self) is not type(other):
            return False
        apart = self.head_settings | _NEVER_IN_BODIES
        return all(
            getattr(self, field) == getattr(other, field) for field in self.__struct_fields__ if field not in apart
        )

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        """The request that carries ``bodies``, which share ``head``. Pure."""
        raise NotImplementedError

    def classify(self, response: Response, count: int) -> list[Verdict]:
        """One verdict per event of the request, in its order. Pure."""
        raise NotImplementedError

    def batch_limit(self, head: bytes) -> int:
        """Events that one request of this head may carry; for platforms where the test mode takes fewer."""
        return self.max_batch_events or self.limits.max_batch_events

    def effective_limits(self) -> Limits:
        """The platform's limits with this account's overrides."""
        changes = {
            field: value for field in Limits.__struct_fields__ if (value := getattr(self, field, None)) is not None
        }
        return msgspec.structs.replace(self.limits, **changes)

    @cached_property
    def names(self) -> Mapping[str, str | None]:
        """Canonical or custom name to the platform's: the standard ones under the caller's."""
        return {**self.standard_names, **self.event_names}

    def name_of(self, event: Event) -> str | None:
        """The platform's name of this event: override, else standard, else ``None`` for the caller to decide."""
        return self.names.get(event.name)

    def knows(self, event: Event) -> bool:
        """Whether :meth:`name_of` speaks of this name at all, be it to say that there is no such event."""
        return event.name in self.names

    def is_own(self, event: Event) -> bool:
        """Whether the event's name is one that the platform itself documents, and is sent as it is."""
        return False

    def extra_of(self, event: Event) -> Mapping[str, Any] | None:
        """What the caller gave for this platform alone, in its own words: typed fields, and ``extra`` laid over them.

        ``extra`` is that of the destination's name, else of its type.
        """
        extra = (event.extra.get(self.name) or event.extra.get(self.type)) if event.extra else None
        given = self.own_fields_of(event)
        if given is None:
            return extra
        return on_wire(given, self.own_fields, extra or {}) or None

    def own_fields_of(self, event: Event) -> PlatformFields | None:
        """The typed fields of this platform, if the event has them."""
        given: PlatformFields | None = getattr(event, self.own, None) if self.own else None
        return given

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


#: Settings of every destination that concern delivery, not what is said of an event.
def _chooses(value: object) -> bool:
    """Whether this can be a destination's ``value``: it is called in a thread, where nothing can be awaited."""
    if isinstance(value, str):
        return bool(value)
    return callable(value) and not inspect.iscoroutinefunction(value)


_NEVER_IN_BODIES: Final = frozenset(
    {
        "name", "base_url", "resend", "gzip", "linger_s", "max_batch_events", "max_batch_bytes", "requests_per_s",
        "burst", "max_in_flight", "max_attempts", "request_timeout_s",
    }
)  # fmt: skip
_POSITIVE: Final = (
    "max_batch_events", "max_batch_bytes", "requests_per_s", "burst", "max_in_flight", "max_age_s", "max_attempts",
    "request_timeout_s",
)  # fmt: skip


def web_address(text: str) -> SplitResult | None:
    """The parts of an http(s) address that names a host, or None. What cannot be split is no address, and no error."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for one that cannot be
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def _name_of(destination: Destination) -> str:
    name: object = destination.name
    if not isinstance(name, str):
        raise ConfigError(f"{destination.type}: name needs text")
    name = str.__str__(name).strip() or destination.type
    if len(name) > _MAX_SETTING or not name.isprintable():
        raise ConfigError(f"{destination.type}: name needs at most {_MAX_SETTING} printable characters")
    return name


def require_apart(destinations: Sequence[Destination]) -> None:
    """Refuse two destinations that share an account's key, and with it its records and its rate, but no credential.

    Raises:
        ConfigError: Names both.
    """
    for index, one in enumerate(destinations):
        for other in destinations[index + 1 :]:
            if type(one) is not type(other) or one.account() != other.account():
                continue
            mine, others = one.secret(), other.secret()
            # which credential a callable will give is not known; only where nothing else tells accounts apart it counts
            if mine != others and ((mine.fixed and others.fixed) or one.account() == one.type):
                raise ConfigError(
                    f"{one.name} and {other.name} have two credentials and one account: check the account's setting"
                )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, and 127.example.com is anybody's
        return False


def require_text(destination: Destination, **settings: object) -> None:
    """Refuse a destination whose account settings are missing or not text.

    Raises:
        ConfigError: Names the setting, and the variable that would set it.
    """
    for setting, value in settings.items():
        if not isinstance(value, str) or not value.strip():
            names = " or ".join(destination.env.get(setting, ()))
            where = f" (or {names} in the environment)" if names else ""
            raise ConfigError(f"{destination.name}: {setting} is missing; give it as text{where}")


_MAX_SETTING: Final = 200
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]*")
#: What templates, spreadsheets and programs write where a value is missing.
_PLACEHOLDERS: Final = frozenset({"null", "none", "nil", "undefined", "nan", "changeme", "change_me", "todo", "xxx"})
_QUOTES: Final = "\"'`\u201c\u201d\u2018\u2019"


def setting_text(destination: Destination, setting: str) -> str | None:
    """Trim a setting that is text, in place, and give it back; ``None`` where it was left out.

    Raises:
        ConfigError: It is no text, blank, in quotes, too long or not printable. The value is not repeated.
    """
    value: object = getattr(destination, setting)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigError(f"{destination.name}: {setting} needs text, put it in quotes")
    require_text(destination, **{setting: value})
    text = str.__str__(value).strip()
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        raise ConfigError(f"{destination.name}: {setting} stands in quotes; give it without them")
    if len(text) > _MAX_SETTING or not text.isprintable():
        raise ConfigError(
            f"{destination.name}: {setting} needs at most {_MAX_SETTING} printable characters, in one line"
        )
    force_setattr(destination, setting, text)
    return text


def account_text(destination: Destination, setting: str, *, digits: int = 0) -> None:
    """Trim and check the id of an account, in place; it becomes part of an address or a body. A number is its text.

    Args:
        digits: The most digits that it has; 0: letters are taken too.

    Raises:
        ConfigError: As :func:`setting_text`, or the id has not the form.
    """
    value: object = getattr(destination, setting)
    if isinstance(value, int) and not isinstance(value, bool):
        force_setattr(destination, setting, str(int(value)))
    text = setting_text(destination, setting)
    if text is None:
        return
    if digits and not (text.isascii() and text.isdigit() and len(text) <= digits):
        raise ConfigError(f"{destination.name}: {setting} needs 1 to {digits} digits, as text")
    if text.lower() in _PLACEHOLDERS or text.lower().startswith(("your_", "your-")):
        raise ConfigError(f"{destination.name}: {setting} holds a word that stands for an id that nobody filled in")
    if not _ACCOUNT.fullmatch(text):
        raise ConfigError(f"{destination.name}: {setting} has letters, digits and hyphens only; copy it once more")


def as_secret(destination: Destination, setting: str) -> None:
    """Wrap a credential given as text or callable, in place; called from ``__post_init__``.

    Raises:
        ConfigError: It is missing or cannot be one.
    """
    value = getattr(destination, setting)
    if value is None or (isinstance(value, str) and not value.strip()):
        require_text(destination, **{setting: ""})
    if not isinstance(value, Secret):
        try:
            force_setattr(destination, setting, Secret(value))
        except ConfigError as error:
            problem = str(error)
        else:
            return
        # apart from the error and the value that it came of
        del value
        raise ConfigError(f"{destination.name}: {setting}: {problem}")


#: One encoder for every wire body: a Decimal is printed digit by digit as a JSON number, never through a float.
ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


@lru_cache(maxsize=4096)
def encode_head(head: Struct) -> bytes:
    """The bytes of a frozen head struct; equal heads give equal bytes."""
    return ENCODER.encode(head)


T = TypeVar("T")


def decode_head(head: bytes, kind: type[T]) -> T:
    """The struct that :func:`encode_head` was given."""
    return msgspec.json.decode(head, type=kind)


def epoch_seconds(time: datetime) -> int:
    """Whole seconds since the Unix epoch."""
    return int(time.timestamp())


def epoch_millis(time: datetime) -> int:
    """Whole milliseconds since the Unix epoch."""
    return round(time.timestamp() * 1000)
