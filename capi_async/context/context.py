"""The context of a request: everything a conversion event needs to know of the visitor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from capi_async.browser import BrowserSnippet, Target, browser_snippet
from capi_async.context import build, request
from capi_async.context import text as text_form
from capi_async.context.facts import Facts
from capi_async.context.request import Headers
from capi_async.context.response import Cookie
from capi_async.context.settings import ContextSettings
from capi_async.errors import EventError
from capi_async.event import ClickIds, Consent, Device, Event, Hashed, Page, User

T = TypeVar("T", bound=Struct)

#: Meta's three say one thing together: one that is given takes the place of all.
_META: Final = ("fbc", "fbclid", "fbclid_seen")


class RequestContext(Facts, frozen=True, kw_only=True, gc=False):
    """What one request says of its visitor; made by :meth:`from_asgi` and its relatives, or loaded from a text.

    Its repr names which parts are there and holds none of them.

    Attributes:
        user: The visitor's address and user agent.
        page: The address that the visitor sees, and where they came from.
        language: What the browser asks for first, as BCP 47 has it.
        click: Click and browser ids, from the address and from cookies.
        others: Ids that no platform takes from a server yet, by the name of their cookie or parameter.
        first_seen: Field of ``click`` to when that click was first seen.
        consent: What the visitor agreed to; ``None``: nothing is known.
        at: When the request came.
        notes: What was left out or ignored, and why; nothing of the request itself is in them.
        to_set: The cookies that :meth:`cookies` gives.
    """

    @classmethod
    def from_asgi(
        cls, scope: Mapping[str, Any], settings: ContextSettings | None = None, *, now: datetime | None = None
    ) -> Self:
        """The context of a request or a websocket, by its ASGI scope.

        Raises:
            ValueError: A scope of another type, such as ``lifespan``.
        """
        return build.context_of(cls, request.from_asgi(scope), settings, now)

    @classmethod
    def from_wsgi(
        cls, environ: Mapping[str, Any], settings: ContextSettings | None = None, *, now: datetime | None = None
    ) -> Self:
        """The context of a request, by its WSGI environ."""
        return build.context_of(cls, request.from_wsgi(environ), settings, now)

    @classmethod
    def from_parts(
        cls,
        url: str = "",
        *,
        headers: Headers | None = None,
        cookies: Mapping[str, str] | None = None,
        peer: str | None = None,
        settings: ContextSettings | None = None,
        now: datetime | None = None,
    ) -> Self:
        """The context of a request, by plain values.

        Args:
            url: The address as the server saw it.
            headers: Names in any case; a header that came several times is a list of its lines.
            cookies: If they are not among the headers.
            peer: The address of whoever connected to the server.
        """
        return build.context_of(
            cls, request.from_parts(url, headers=headers, cookies=cookies, peer=peer), settings, now
        )

    def event(
        self,
        name: str,
        *,
        email: str | Hashed | Sequence[str | Hashed] | None = None,
        phone: str | Hashed | Sequence[str | Hashed] | None = None,
        external_id: str | Hashed | Sequence[str | Hashed] | None = None,
        user: User | None = None,
        page: Page | None = None,
        click: ClickIds | None = None,
        device: Device | None = None,
        consent: Consent | None = None,
        **fields: Any,
    ) -> Event:
        """An event of this visitor. What is given wins, field by field; ``consent`` wins as a whole.

        Args:
            name: As in :class:`~capi_async.Event`; ``fields`` are its other fields.
            email, phone, external_id: Short for ``user=User(email=...)``.

        Raises:
            EventError: As :class:`~capi_async.Event`; also for an email that is given twice.
        """
        short = {
            field: value
            for field, value in (("email", email), ("phone", phone), ("external_id", external_id))
            if value is not None
        }
        if user is not None:
            for field in short:
                if getattr(user, field) is not None:
                    raise EventError(f"user.{field}", f"is given twice, as {field}=... and in user=User(...)")
            user = merged(user, self.user)
        else:
            user = self.user
        if short:
            user = replace(user, **short)
        if self.language is not None and (device is None or device.locale is None):
            device = replace(device, locale=self.language) if device else Device(locale=self.language)
        return Event(
            name,
            user=user,
            page=merged(page, self.page),
            click=_merged_clicks(click, self.click),
            device=device,
            consent=self.consent if consent is None else consent,
            **fields,
        )

    def cookies(self) -> tuple[Cookie, ...]:
        """The cookies to set with the response; none if consent was denied, or is required and was not given.

        A context that was loaded from a text has none: its response has long been sent.
        """
        return self.to_set

    def browser_snippet(self, event: Event, platforms: Sequence[Target], *, nonce: str | None = None) -> BrowserSnippet:
        """The script element that tells the page's browser tags about ``event``; see :mod:`capi_async.browser`.

        It calls nothing that this visitor denied, whether the event says so or this context.

        Raises:
            ConfigError: There is no tag of such a platform.
        """
        return browser_snippet(event, platforms, nonce=nonce, consent=event.consent or self.consent)

    def dump(self, *, keys: Sequence[str] = ()) -> str:
        """This context as a compact text, to keep with an order; encrypted if keys are given.

        Without keys it is readable, and whoever can write where it is kept can change it. With keys (the first seals;
        each is 32 random bytes as URL-safe base64) neither is possible. ``notes`` and ``cookies()`` are not kept.

        Raises:
            ConfigError: A key is malformed, or the extra ``encryption`` is missing.
        """
        return text_form.dump(self, keys=keys)

    @classmethod
    def load(cls, text: str, *, keys: Sequence[str] = ()) -> Self:
        """The context that :meth:`dump` wrote. With keys, only an encrypted text is taken.

        Raises:
            ContextError: The text was changed or cut, is of another version, or is sealed with none of the keys.
            ConfigError: As :meth:`dump`.
        """
        return text_form.load(cls, text, keys=keys)

    def __repr__(self) -> str:
        names = [field for field in ("user", "page", "language", "click", "others", "consent") if getattr(self, field)]
        shown = [repr(getattr(self, name)) if name in _SAFE else f"{name}=…" for name in names]
        return f"RequestContext({', '.join(shown)})"


#: Parts whose own repr holds no values.
_SAFE: Final = ("user", "page", "click", "consent")


def merged(given: T | None, own: T) -> T:
    """``given``, with what it leaves open from ``own``."""
    if given is None or given == type(given)():
        return own
    missing = {
        name: value
        for name in own.__struct_fields__
        if getattr(given, name) is None and (value := getattr(own, name)) is not None
    }
    return replace(given, **missing) if missing else given


def _merged_clicks(given: ClickIds | None, own: ClickIds) -> ClickIds:
    if given is not None and (given.fbc is not None or given.fbclid is not None):
        own = replace(own, **dict.fromkeys(_META))
    return merged(given, own)
