"""What a client of TikTok Shop can be told about hosts, rates, waits and the shop's time zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Final, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct
from msgspec.structs import force_setattr

from capi_async.errors import ConfigError
from capi_async.sources.tiktok_shop.oauth import AUTH_BASE_URL, AUTHORIZE_BASE_URL, CREATOR_BASE_URL
from capi_async.spec import is_loopback, web_address

BASE_URL: Final = "https://open-api.tiktokglobalshop.com"


class ShopOptions(TypedDict, total=False):
    """The settings as keyword arguments of a client; :class:`ShopSettings` says what each means."""

    service_id: str
    base_url: str
    auth_base_url: str
    authorize_base_url: str
    legacy_base_url: str | None
    requests_per_s: float
    burst: float | None
    rates: Mapping[str, float] | None
    timeout_s: float
    max_wait_s: float
    backoff_s: float
    time_zone: str


class ShopSettings(Struct, frozen=True, kw_only=True):
    """What a client was told. Empty addresses become those of the platform, or of ``base_url`` if that is not its own.

    Attributes:
        service_id: Of the app; gives the current form of the authorize link.
        base_url: Where the API is. One that is not the platform's own stands for its other hosts, too.
        auth_base_url, authorize_base_url: Hosts of the tokens and of the authorize link. US sellers have an authorize
            host of their own.
        legacy_base_url: Something that speaks the older, unversioned contract, for what the platform has no endpoint
            for. Its requests carry the access token in the query.
        requests_per_s: Per app and shop.
        burst: Requests that may leave at once after a pause; default: ``requests_per_s``.
        rates: Other rates, in requests per second, by category, the first step of a path:
            ``{"analytics": 1, "product": 5}``.
        timeout_s: Seconds until an answer is given up, per attempt.
        max_wait_s: A longer ``Retry-After``, in seconds, is raised and not waited for.
        backoff_s: Seconds of the first wait before a repeat; it doubles.
        time_zone: The shop's registered time zone, in which figures count days; the API does not tell it.

    Raises:
        ConfigError: A setting is wrong.
    """

    service_id: str = ""
    base_url: str = ""
    auth_base_url: str = ""
    authorize_base_url: str = ""
    legacy_base_url: str | None = None
    requests_per_s: float = 10.0
    burst: float | None = None
    rates: Mapping[str, float] | None = None
    timeout_s: float = 30.0
    max_wait_s: float = 60.0
    backoff_s: float = 1.0
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        own = _checked_url("base_url", self.base_url or BASE_URL)
        self._set("base_url", own)
        self._set("auth_base_url", _checked_url("auth_base_url", self.auth_base_url or self._or_own(AUTH_BASE_URL)))
        self._set(
            "authorize_base_url",
            _checked_url("authorize_base_url", self.authorize_base_url or self._or_own(AUTHORIZE_BASE_URL)),
        )
        if self.legacy_base_url is not None:
            self._set("legacy_base_url", _checked_url("legacy_base_url", self.legacy_base_url))
        for name in ("requests_per_s", "timeout_s", "max_wait_s", "backoff_s"):
            self._set(name, _positive(name, getattr(self, name)))
        if self.burst is not None:
            self._set("burst", _positive("burst", self.burst))
        self._set("rates", {name: _positive(f"rates[{name}]", rate) for name, rate in (self.rates or {}).items()})
        zone_of(self.time_zone)

    @property
    def creator_base_url(self) -> str:
        """Host of the authorize link of creators."""
        return self._or_own(CREATOR_BASE_URL)

    def rate_of(self, category: str) -> tuple[float, float]:
        """Requests per second of a category of endpoints, and how many may leave at once; "" is all others."""
        rate = (self.rates or {}).get(category, self.requests_per_s)
        return rate, rate if category or self.burst is None else self.burst

    def _or_own(self, official: str) -> str:
        return official if self.base_url == BASE_URL else self.base_url

    def _set(self, name: str, value: object) -> None:
        force_setattr(self, name, value)


def _checked_url(name: str, value: str) -> str:
    url = value.rstrip("/")
    parts = web_address(url)
    if parts is None or parts.query or parts.fragment:
        raise ConfigError(f"tiktok_shop: {name} needs an http(s) address without a query")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(f"tiktok_shop: {name} must be https, because requests carry a credential")
    return url


def zone_of(name: str) -> tzinfo:
    """A time zone by its name in the IANA database, such as ``Asia/Tokyo``.

    Raises:
        ConfigError: This machine knows none of this name.
    """
    if name == "UTC":
        # there even where the machine has no database of time zones
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"tiktok_shop: no time zone {name!r} on this machine; perhaps: pip install tzdata") from None


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"tiktok_shop: {name} must be greater than 0")
    return float(value)
