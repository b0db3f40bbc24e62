"""The way of an event through a platform, once for all of them.

A new platform is one class. It states facts, and gives the few small pure methods in which it differs; the order of
the steps, the account, the credential, ``extra`` and what refuses an event are the same everywhere::

    class Acme(Platform, frozen=True, kw_only=True):
        type: ClassVar[str] = "acme"                        # in configurations, and the table of the registry
        wire: ClassVar[str] = "acme/1"                      # raised when the stored bytes change
        default_base_url: ClassVar[str] = "https://capi.acme.example"
        limits: ClassVar[Limits] = Limits(max_batch_events=500, max_batch_bytes=MiB, requests_per_s=50.0)
        identifiers: ClassVar[tuple[str, ...]] = ("email", "ip", "user_agent", "page_url")
        standard_names: ClassVar[Mapping[str, str | None]] = {"purchase": "PURCHASE", ..., "refund": None}
        env: ClassVar[Mapping[str, tuple[str, ...]]] = {"pixel_id": ("ACME_PIXEL_ID",), "access_token": ("ACME_TOKEN",)}
        docs: ClassVar[str] = "docs.acme.example/capi, read 2026-11"
        account_setting: ClassVar[str] = "pixel_id"

        pixel_id: str
        access_token: Credential

        def head(self, event: Event, test: bool) -> bytes | Refusal:
            return encode_head(AcmeHead(self.pixel_id, test))

        def body(
            self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]
        ) -> AcmeEvent | Refusal:
            return AcmeEvent(name, int(at), event.event_id, ids.page_url, AcmeUser(ids.email, ids.ip, ids.user_agent))

        def lacks(self, body: AcmeEvent, event: Event, warnings: list[str]) -> Refusal | None:
            if not body.page_url:
                return refusals.NO_PAGE
            return None if body.user.email else refusals.nobody("user.email")

        def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request: ...
        def classify(self, response: Response, count: int) -> list[Verdict]: ...

``AcmeEvent`` and the structs inside it are the platform's format. They are also what ``extra`` and free properties are
checked by: a documented key of the wrong type is refused by name, because the platform would refuse it, with the whole
request or in silence. Types are therefore as narrow as the platform's documentation, and a key that only ``extra`` can
fill has its field there too.

The steps, and with them which of several faults of one event is named first:

==  ==========================  ========  =======================================================================
1   ``named``                   skipped   ``name``: no such event here. A name that cannot be sent is rejected.
2   ``consents``                skipped   ``consent.*``
3   ``untestable``              skipped   ``test``
4   ``head``                    skipped   ``source``: this account has no place for it
5   ``body``                    rejected  a value that cannot be said in the platform's form
6   ``documented``              rejected  ``extra.*``, ``properties.*``: the de-duplication key, then what does not fit
7   ``lacks``                   rejected  ``page.url``, ``app.*``, ``device.*``, ``order_id``, ``value``, ``currency``
8   ``lacks``                   skipped   ``user``: nobody to identify
==  ==========================  ========  =======================================================================

What an event lacks is asked for after ``extra`` was merged in, because ``extra`` may bring it. Faults come before
"nobody to identify": an event of nobody is nothing to mend, a faulty one is. A destination that is made in another way
implements :class:`capi_async.spec.Destination` itself.

In the place of ``body`` a platform may declare its object, see :mod:`capi_async.destinations.declared`: then events of
which nothing is asked for are mapped and encoded many at a time, see :mod:`capi_async.destinations.many`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast, get_args

from msgspec import Struct
from msgspec.structs import replace

from capi_async.destinations import refusals
from capi_async.destinations.base import with_good_clicks, without_odd_clicks
from capi_async.destinations.declared import Form, One
from capi_async.destinations.many import WEB, Facts, together
from capi_async.destinations.raw import checked_by, laid_over, lost_key, misfit, not_of_the_event
from capi_async.errors import ConfigError
from capi_async.event import NO_CLICK, Consent, Event, Source
from capi_async.event_names import meant, said_of
from capi_async.pii.identifiers import IDENTIFIER_SOURCES, Identifiers
from capi_async.plain import shown
from capi_async.rows import Rows, Together
from capi_async.spec import (
    HOUR,
    Destination,
    Refusal,
    Secret,
    Wire,
    account_text,
    as_secret,
    require_text,
)


class PerAccount:
    """``identifiers`` of a class whose accounts' settings change them: the class's own, and an account's."""

    def __init__(self, usual: tuple[str, ...]) -> None:
        self._usual = usual

    def __get__(self, made: Platform | None, owner: type) -> tuple[str, ...]:
        return self._usual if made is None else made.identifiers_of()


class Platform(Destination, frozen=True, kw_only=True):
    """A destination that goes the common way; see the top of this module.

    Raises:
        ConfigError: The account or the credential is missing or malformed, or ``event_names`` holds a name that the
            platform cannot take.
    """

    brief: ClassVar[bool] = True
    #: The setting that names the account.
    account_setting: ClassVar[str]
    #: The most digits of the account; 0: letters are taken too.
    account_digits: ClassVar[int] = 0
    #: The setting that holds the credential.
    credential: ClassVar[str] = "access_token"
    #: The platform's own documented names, which an event may have as they are.
    own_names: ClassVar[frozenset[str]] = frozenset()
    #: Choices of :class:`Consent` whose denial keeps an event away from this platform.
    consents: ClassVar[tuple[str, ...]] = ("ad_storage", "ad_user_data")
    #: Where the platform looks for what it knows a second copy by: a dotted path in the event's own object.
    dedup_key: ClassVar[str] = "event_id"
    #: For how long it knows a second copy, in seconds from the first one on.
    resend_window_s: ClassVar[float] = 48 * HOUR
    #: The platform refuses keys that its documentation does not list.
    closed_schema: ClassVar[bool] = False
    #: The key of the event's own object in which ``Event.properties`` lie; empty: beside its other keys; ``None``: the
    #: platform has no place for them.
    properties_at: ClassVar[str | None] = None
    #: Those that it takes; ``None``: all.
    property_keys: ClassVar[frozenset[str] | None] = None
    #: The struct of an event with every documented key in it, by which what ``extra`` and properties bring is checked;
    #: a subclass of the struct that :meth:`body` makes. ``None``: that struct has them all.
    documented: ClassVar[type[Struct] | None] = None
    #: Identifier to the place in the event's own object, such as ``user_data.ct``, of the list in which the platform
    #: takes all of a person's cities, say. E-mail addresses, phone numbers and external ids are lists from the start.
    several_at: ClassVar[Mapping[str, str]] = {}
    #: Keys that belong to the request or the account, which ``extra`` therefore cannot set.
    of_the_account: ClassVar[frozenset[str]] = frozenset()
    #: An event of a website with a page of the web and an e-mail address, and if it is a purchase an amount and its
    #: currency, :meth:`lacks` nothing. Without app, device and denied consent there is nothing to :meth:`finish` of it,
    #: and it has the usual greatest age and resend window.
    visit_suffices: ClassVar[bool] = False
    #: Fields of ``event.click`` that are sent; those that have not their form are left out.
    clicks: ClassVar[tuple[str, ...]] = ()
    #: The parameter of the page's address that holds the first of them; empty: it is not looked for.
    click_parameter: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        usual = cls.__dict__.get("identifiers")
        if isinstance(usual, tuple) and cls.identifiers_of is not Platform.identifiers_of:
            cls.identifiers = cast("tuple[str, ...]", PerAccount(usual))

    def __post_init__(self) -> None:
        """Check what all platforms share; subclasses call it first."""
        super().__post_init__()
        if setting := self.account_setting:
            if getattr(self, setting) is None:
                require_text(self, **{setting: None})
            account_text(self, setting, digits=self.account_digits)
        as_secret(self, self.credential)
        for name, there in self.event_names.items():
            if there is None:
                continue
            problem = (
                self.odd_name(name, there)
                if isinstance(there, str) and there.strip()
                else "needs an event's name, or None to skip it"
            )
            if problem:
                raise ConfigError(f"{self.name}: event_names[{shown(name)!r}]: {problem}")

    # What a platform says of itself; the defaults are the usual case.

    def odd_name(self, name: str, there: str) -> str:
        """What is wrong with ``there`` as the platform's name of event ``name`` in ``event_names``; empty: nothing."""
        return ""

    def identifiers_of(self) -> tuple[str, ...]:
        """The identifiers that this account reads, where its settings change those of the class."""
        return type(self).identifiers

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        """The platform's name of an event that has none in :attr:`usual_names`."""
        return refusals.no_such_event()

    def is_own(self, event: Event) -> bool:
        return event.name in self.own_names

    def named_apart(self, event: Event, warnings: list[str]) -> str | Refusal:
        """The same, where the name may be the platform's own, or nearly a standard one."""
        name = event.name
        if self.knows(event):
            return self.named(event, warnings)
        if self.is_own(event):
            return name
        before = len(warnings)
        found = self.named(event, warnings)
        if (standard := meant(name)) is None:
            return found
        if isinstance(found, Refusal):
            return replace(found, fix=f"is {standard!r} meant? {found.fix}".rstrip())
        if len(warnings) == before:
            warnings.append(said_of(name, standard))
        return found

    def untestable(self) -> Refusal | None:
        """Why this account cannot send test events; ``None``: it can."""
        return None

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        """What stands at request level for this event, or why the account has no place for it."""
        raise NotImplementedError

    def form(self) -> Form | None:
        """How the event's own object is declared; ``None``: :meth:`body` makes it.

        What is declared is made of many events at once, at half the cost.
        """
        return None

    def finish(self, body: Any, event: Event, ids: Identifiers, warnings: list[str]) -> None:
        """Lay what few events have into an object that was made as declared, in place.

        It is called for events that have an app, a device or choices of consent, or happened in an app.
        """

    def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> Struct | Refusal:
        """The event's own object, or why it cannot be made; by default it is made as :meth:`form` declares.

        Args:
            name: The platform's.
            at: When it happened, in seconds since the epoch.
            warnings: What was adjusted is added here, in words free of personal data.
        """
        made: Struct | Refusal = self.declared_body(name, event, at, ids, warnings)
        return made

    @cached_property
    def declared_body(self) -> One:
        """What :meth:`body` does by default."""
        form = self.form()
        if form is None:
            raise NotImplementedError
        return form.one(_overridden(self, "finish"))

    def lay_several(self, body: Any, event: Event, ids: Identifiers, warnings: list[str]) -> None:
        """Lay all values of who has more than one into the event's own object, in place, or say what is left out.

        Args:
            body: As :meth:`body` made it, with the first of them. Where it holds another, or none, that stays.
        """
        left_out: dict[str, str] = {}
        for attribute, values in (ids.several or {}).items():
            if place := self.several_at.get(attribute):
                above, _, key = place.rpartition(".")
                there = attrgetter(above)(body) if above else body
                if getattr(there, key) == values[:1]:
                    setattr(there, key, values)
            elif attribute in self.identifiers:
                field = IDENTIFIER_SOURCES[attribute]
                left_out.setdefault(
                    field,
                    f"user.{field}: {self.name} takes one value of a person; only the first of {len(values)} counts",
                )
        warnings += left_out.values()

    def lay_properties(self, body: dict[str, Any], event: Event, warnings: list[str]) -> Refusal | None:
        """Lay free properties into the event's own object, in place; canonical fields, which are there, win."""
        keys = self.property_keys
        facts = {
            key: value for key, value in event.properties.items() if value is not None and (keys is None or key in keys)
        }
        if facts and (at := self.properties_at):
            body[at] = {**facts, **body.get(at, {})}
        elif facts:
            body.update({**facts, **body})
        return None

    def lacks(self, body: Any, event: Event, warnings: list[str]) -> Refusal | None:
        """What the platform requires and the event's own object lacks.

        Args:
            body: As :meth:`body` made it; where properties or ``extra`` were merged in, the result as a struct of
                :attr:`documented`.
        """
        return None

    def max_age_of(self, body: Any, event: Event) -> float:
        """Age in seconds beyond which the platform refuses this event, where its source alone does not tell."""
        return self.max_age_s or self.limits.max_age_s

    def resend_for(self, body: Any) -> float:
        """Seconds for which the platform recognises a second copy of this event; 0: it does not."""
        return self.resend_window_s

    def order_key(self, body: Any) -> str | None:
        """Events with the same one leave one after the other."""
        return None

    # The same for all.

    def secret(self) -> Secret:
        secret = getattr(self, self.credential)
        if not isinstance(secret, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: {self.credential} is missing")
        return secret

    def account(self) -> str:
        return str(getattr(self, self.account_setting))

    @cached_property
    def usual_names(self) -> Mapping[str, str]:
        """The names that events get without a further look."""
        return {name: there for name, there in self.names.items() if there is not None}

    @cached_property
    def usual_heads(self) -> Mapping[str, bytes]:
        """By an event's source, the heads that live events get without a further look."""
        return {}

    @cached_property
    def max_ages_s(self) -> Mapping[str, float]:
        """By an event's source, the greatest ages that differ from the usual one, in seconds."""
        return {}

    if TYPE_CHECKING:

        def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
            """See :attr:`way`."""

    else:
        # whoever takes the method has the steps themselves, without a call in between
        to_wire = property(attrgetter("way"))

    @cached_property
    def way(self) -> Callable[[Event, Identifiers], Wire | Refusal]:
        """What :meth:`to_wire` does, with all that is the same for every event of this destination at hand."""
        return _way(self)

    @cached_property
    def together(self) -> Callable[[Rows], Together | None] | None:
        """See :attr:`Destination.together`."""
        form, head = self.form(), self.usual_heads.get(WEB)
        if form is None or head is None or self.test or not _goes_the_common_way(self):
            return None
        return together(
            Facts(
                form, head, self.usual_names, self.standard_names.get("purchase"),
                self.max_ages_s.get(WEB, self.max_age_s or self.limits.max_age_s), self.resend_window_s,
                self.click_parameter, self.with_good_clicks,
            )
        )  # fmt: skip

    def head_of(self, event: Event) -> bytes | Refusal:
        # its name and consent were asked for when the body was made
        test = event.test or self.test
        return (self.untestable() if test else None) or self.head(event, test)

    def with_good_clicks(self, event: Event, warnings: list[str]) -> Event:
        if parameter := self.click_parameter:
            good, notes = with_good_clicks(event, self.clicks, parameter)
        else:
            good, notes = without_odd_clicks(event, self.clicks)
        warnings += notes
        return good

    def _in_the_callers_words(self, event: Event, refusal: Refusal) -> Refusal:
        """The refusal with the name of the typed field, where it is of one."""
        given = self.own_fields_of(event)
        at = refusal.field.removeprefix("extra").lstrip(".")
        for field, place in self.own_fields.items() if given is not None else ():
            if getattr(given, field) is None:
                continue
            above, _, key = place.rpartition(".")
            mine = f"{self.own}.{field}"
            if at == place or at.startswith(f"{place}[") or (at == above and repr(key) in refusal.reason):
                fix = f"leave {field} out" if "Event.extra" in refusal.fix else refusal.fix
                return replace(refusal, field=mine, fix=fix)
            if above and at.rpartition(".")[0] == above and "missing" in refusal.reason:
                # the object is there for this field's sake only
                return Refusal(refusal.kind, mine, f"the platform takes it only beside {at}", f"leave {field} out")
        return refusal

    def completed(self, made: Struct, event: Event, warnings: list[str]) -> tuple[Any, Any] | Refusal:
        """The event's own object with properties and ``extra`` in it, and the same as a struct."""
        extra = self.extra_of(event)
        free = event.properties if self.properties_at is not None else {}
        if not extra and not free:
            return made, made
        body = laid_over(made, {})
        if extra and (refusal := lost_key(extra, self.dedup_key) or not_of_the_event(extra, self.of_the_account)):
            return refusal
        if free and (refusal := self.lay_properties(body, event, warnings)):
            return refusal
        if extra:
            body = laid_over(body, extra)
        checked = checked_by(self.documented or type(made), body)
        if checked is None:
            return body, made
        if isinstance(checked, str):
            return self._in_the_callers_words(event, misfit(checked, extra or {}, free, self.properties_at or ""))
        return (checked, checked) if self.closed_schema else (body, checked)


def _denied(consent: Consent, choices: Sequence[str]) -> Refusal | None:
    """A refusal if one of these choices was denied; ``None`` where nothing was stated or all was granted."""
    for choice in choices:
        if getattr(consent, choice) is (choice == "sale_opt_out"):
            return Refusal("skipped", f"consent.{choice}", f"no consent: {choice}")
    return None


_SOURCES: Final = get_args(Source)


def _overridden(made: Platform, name: str) -> Callable[..., Any] | None:
    """The method of this name, or ``None`` where the platform's class leaves it as it is."""
    return None if getattr(type(made), name) is getattr(Platform, name) else getattr(made, name)


def _way(made: Platform) -> Callable[[Event, Identifiers], Wire | Refusal]:
    """The steps from an event to its form on the wire, as the table at the top of this module says.

    This runs for every event and destination, so what a destination says of all events alike is asked for once, the
    steps that it does not override are not called, and "type() is" asks whether a struct is a Refusal: for a struct
    isinstance() takes four times as long.
    """
    max_age_s, window_s = made.max_age_s or made.limits.max_age_s, made.resend_window_s
    names, heads, ages = made.usual_names.get, made.usual_heads, made.max_ages_s
    # an entry for every source: one subscript costs a third of two calls of get()
    usual = {source: (heads.get(source), ages.get(source, max_age_s)) for source in _SOURCES}
    untestable, head_of, lacks = made.untestable, made.head, made.lacks
    # whoever gives no body() of his own has declared it: the function is called without another call in between
    body_of = _overridden(made, "body") or made.declared_body
    own, testing, consents, parameter = made.own, made.test, made.consents, made.click_parameter
    max_age_of = _overridden(made, "max_age_of")
    resend_for, order_key = _overridden(made, "resend_for"), _overridden(made, "order_key")

    def to_wire(event: Event, ids: Identifiers) -> Wire | Refusal:
        warnings: list[str] = []
        name: Any = names(event.name)
        if name is None and type(name := made.named_apart(event, warnings)) is Refusal:
            return name
        if event.consent is not None and (refusal := _denied(event.consent, consents)):
            return refusal
        test = event.test or testing
        if test and (refusal := untestable()):
            return refusal
        head: Any
        head, age_s = usual[event.source]
        if (test or head is None) and type(head := head_of(event, test)) is Refusal:
            return head
        # of nearly all events no more need be asked about click ids
        if event.click is not NO_CLICK or (parameter and (
            ((url := (page := event.page).url) is not None and parameter in url)
            or ((url := page.referrer) is not None and parameter in url)
        )):  # fmt: skip
            event = made.with_good_clicks(event, warnings)
        at = event.time.timestamp()
        body: Any = body_of(name, event, at, ids, warnings)
        if type(body) is Refusal:
            return body
        if ids.several is not None:
            made.lay_several(body, event, ids, warnings)
        whole = body
        if event.extra or event.properties or (own and getattr(event, own) is not None):
            completed = made.completed(body, event, warnings)
            if isinstance(completed, Refusal):
                return completed
            body, whole = completed
        if refusal := lacks(whole, event, warnings):
            return refusal
        return Wire(
            body, head,
            at + (age_s if max_age_of is None else max_age_of(whole, event)),
            window_s if resend_for is None else resend_for(whole),
            None if order_key is None else order_key(whole),
            tuple(warnings) if warnings else (),
        )  # fmt: skip

    return to_wire


def _goes_the_common_way(made: Platform) -> bool:
    """Whether its class leaves all as it is that one event alone would be mapped by."""
    kind = type(made)
    if any(
        inspect.getattr_static(kind, name) is not inspect.getattr_static(Platform, name)
        for name in ("to_wire", "way", "body", "declared_body", "together", "order_key")
    ):
        return False
    # a class that is made of another one may require more than that one says
    for owner in kind.__mro__:
        if "visit_suffices" in vars(owner):
            return made.visit_suffices
        if not _ASKED.isdisjoint(vars(owner)):
            return False
    return False


#: What :attr:`Platform.visit_suffices` says something of.
_ASKED: Final = frozenset({"lacks", "finish", "max_age_of", "resend_for", "form"})
