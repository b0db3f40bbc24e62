"""How a request is read, and which cookies may be set."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeAlias

from capi_async.context.addresses import AddressHeader, Proxies
from capi_async.context.clicks import CLICK_COOKIE
from capi_async.context.request import Request
from capi_async.errors import ConfigError
from capi_async.event import Consent

ConsentReader: TypeAlias = Callable[[Request], Consent | None]

#: The cookies that a context may set: Meta's click and browser id, and the clicks of all platforms with their times.
COOKIES: Final = ("_fbc", "_fbp", CLICK_COOKIE)

_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}").fullmatch
_STREAM: Final = re.compile(r"(?:G-)?([A-Z0-9]{4,20})").fullmatch
#: Platforms forget a click after 90 days.
CLICK_DAYS: Final = 90


class ContextSettings:
    """How requests are read. Made once; all of it is checked here.

    Args:
        trusted_proxies: How many proxies of your own every request passes, or their networks
            (``["10.0.0.0/8", "unix"]``). 0, the default: whoever connects is the visitor, and forwarding headers, which
            anybody may send, are ignored.
        address_header: Where those proxies write the visitor's address: ``x-forwarded-for``, ``forwarded`` (RFC 7239),
            ``cf-connecting-ip`` or ``x-real-ip``.
        cookie_domain: The registered domain of your site (eTLD+1), such as ``shop.example`` or ``shop.co.uk``, so that
            cookies hold on all of its hosts. ``None``: only on the host that sets them.
        ga_stream: Measurement id of Google Analytics, such as ``G-ABC123``; needed where a site has several.
        consent: Called once per request with what was read of it; gives the visitor's choices, or ``None`` if nothing
            is known. See :mod:`capi_async.consent` for readers of what consent tools store.
        require_consent: No cookie is set unless ``ad_storage`` is granted. Without it, none is set if it is denied.
        set_cookies: Which of ``_fbc``, ``_fbp`` and ``_capi_clicks`` may be set.

    Raises:
        ConfigError: A setting is malformed, or contradicts another.
    """

    __slots__ = ("consent", "cookie_domain", "ga_stream", "proxies", "require_consent", "set_cookies")

    def __init__(
        self,
        *,
        trusted_proxies: int | Sequence[str] = 0,
        address_header: AddressHeader = "x-forwarded-for",
        cookie_domain: str | None = None,
        ga_stream: str | None = None,
        consent: ConsentReader | None = None,
        require_consent: bool = False,
        set_cookies: Collection[str] = COOKIES,
    ) -> None:
        self.proxies = Proxies(trusted_proxies, address_header)
        self.cookie_domain: str | None = None
        if cookie_domain is not None:
            self.cookie_domain = cookie_domain.strip().strip(".").lower()
            if not _DOMAIN(self.cookie_domain):
                raise ConfigError("cookie_domain: needs the registered domain of the site, such as shop.example")
        match = _STREAM(ga_stream) if ga_stream else None
        if ga_stream and match is None:
            raise ConfigError("ga_stream: needs a measurement id, such as G-ABC123")
        self.ga_stream = match[1] if match else None
        if consent is not None and not callable(consent):
            raise ConfigError("consent: needs a function that is given a request and returns Consent(...) or None")
        self.consent = consent
        self.require_consent = bool(require_consent)
        if isinstance(set_cookies, str) or set(set_cookies) - set(COOKIES):
            raise ConfigError(f"set_cookies: needs some of {', '.join(COOKIES)}")
        self.set_cookies = frozenset(set_cookies)

    def __repr__(self) -> str:
        return f"ContextSettings({self.proxies!r}, cookie_domain={self.cookie_domain!r})"
