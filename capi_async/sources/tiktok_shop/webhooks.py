"""Whether a webhook is TikTok Shop's, is not a replay, and is news. No I/O.

The official signature covers the app's key and the body, and no clock: what was captured once verifies for ever.
Hence an age limit on the time inside the body, longer than the platform goes on repeating a webhook, and a memory of
what was taken in. The older style signs a time of its own, with a limit of minutes. An endpoint accepts one of the
two, never either: an attacker would pick the weaker.

Source: Partner Center, webhook verification (650512b42f024f02be19755f), copy of 2025-12. The older style stands in no
document of the platform and is kept for senders that were built to it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.errors import CapiError, ConfigError
from capi_async.sources.tiktok_shop.events import Notification, read_notification
from capi_async.spec import Secret

Style: TypeAlias = Literal["official", "legacy"]

#: The platform repeats after 2 minutes, 30 minutes, 3 hours and 12 hours; one account speaks of 72 hours in all.
OFFICIAL_TOLERANCE_S: Final = 73 * 3600.0
LEGACY_TOLERANCE_S: Final = 300.0
#: How far the sender's clock may be ahead of ours.
AHEAD_S: Final = 300.0

SIGNATURE_HEADER: Final = "Authorization"
LEGACY_SIGNATURE_HEADER: Final = "X-TikTok-Shop-Signature"
LEGACY_TIMESTAMP_HEADER: Final = "X-TikTok-Shop-Timestamp"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")


class WebhookError(CapiError):
    """A webhook that is not taken in.

    Attributes:
        status: HTTP status to answer with.
    """

    status: int = 400


class SignatureError(WebhookError):
    """It does not come from TikTok Shop, or something on the way changed its body."""

    status = 401


class StaleWebhookError(WebhookError):
    """Older (or further ahead) than the tolerance: a replay, or a clock that is wrong."""

    status = 401


class MalformedWebhookError(WebhookError):
    """The signature is right, and the body is no webhook."""


def sign_webhook(body: bytes, *, app_key: str, app_secret: str) -> str:
    """The header ``Authorization`` of a webhook: HMAC-SHA256 of the app's key and the body, in lower-case hex."""
    return hmac.new(app_secret.encode(), app_key.encode() + body, hashlib.sha256).hexdigest()


def sign_legacy_webhook(body: bytes, timestamp: str, *, app_secret: str) -> str:
    """The header ``X-TikTok-Shop-Signature`` of the older style: secret, timestamp and body."""
    secret = app_secret.encode()
    return hmac.new(secret, secret + timestamp.encode() + body, hashlib.sha256).hexdigest()


def verify_webhook(body: bytes, authorization: str, *, app_key: str, app_secret: str) -> bool:
    """Whether the header ``Authorization`` is right for these bytes, as received; compared in constant time."""
    return _equal(authorization, sign_webhook(body, app_key=app_key, app_secret=app_secret))


def verify_legacy_webhook(body: bytes, signature: str, timestamp: str, *, app_secret: str) -> bool:
    """Whether the two headers of the older style are right for these bytes; the time itself is not judged here."""
    if not _SECONDS.fullmatch(timestamp):
        return False
    return _equal(signature, sign_legacy_webhook(body, timestamp, app_secret=app_secret))


def _equal(given: str, right: str) -> bool:
    # the form first: compare_digest refuses text that is not ASCII with an exception
    return _DIGEST.fullmatch(given) is not None and hmac.compare_digest(given, right)


class WebhookVerifier:
    """Reads webhooks of one app, and refuses all others.

    Args:
        app_key, app_secret: Of the app, as in Partner Center.
        style: ``official``: header ``Authorization``. ``legacy``: ``X-TikTok-Shop-Signature`` and
            ``X-TikTok-Shop-Timestamp``.
        tolerance_s: Greatest age in seconds, by the time inside the body (``official``; default 73 hours, longer than
            the platform repeats a webhook that was not answered) or in the header (``legacy``; default 5 minutes).

    Raises:
        ConfigError: A setting is missing or makes no sense.
    """

    def __init__(
        self,
        app_key: str,
        app_secret: str,
        *,
        style: Style = "official",
        tolerance_s: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not app_secret or not isinstance(app_secret, str):
            raise ConfigError("webhooks: app_secret is missing")
        if style not in ("official", "legacy"):
            raise ConfigError("webhooks: style is official or legacy")
        if style == "official" and (not app_key or not isinstance(app_key, str)):
            raise ConfigError("webhooks: app_key is missing")
        if tolerance_s is None:
            tolerance_s = OFFICIAL_TOLERANCE_S if style == "official" else LEGACY_TOLERANCE_S
        if not tolerance_s > 0:
            raise ConfigError("webhooks: tolerance_s must be more than 0 seconds")
        self._app_key = app_key
        self._app_secret = Secret(app_secret)
        self.style: Final[Style] = style
        self.tolerance_s: Final = float(tolerance_s)
        self._clock = clock

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, style: Style = "official", tolerance_s: float | None = None
    ) -> WebhookVerifier:
        """By ``TIKTOK_SHOP_APP_KEY`` and ``TIKTOK_SHOP_APP_SECRET``.

        Raises:
            ConfigError: One is missing, or a setting makes no sense.
        """
        environment = os.environ if environ is None else environ
        names = ("TIKTOK_SHOP_APP_KEY", "TIKTOK_SHOP_APP_SECRET")
        if missing := [name for name in names if not environment.get(name)]:
            raise ConfigError(f"webhooks: set {' and '.join(missing)}")
        return cls(environment[names[0]], environment[names[1]], style=style, tolerance_s=tolerance_s)

    def read(self, body: bytes, headers: Mapping[str, str]) -> Notification:
        """The notification in a request.

        Args:
            body: The bytes as received; what was decoded and encoded again does not verify.
            headers: Of the request, in any capitalisation.

        Raises:
            SignatureError: No signature, or not the right one.
            StaleWebhookError: Too old, or too far ahead.
            MalformedWebhookError: It is signed, and cannot be read.
        """
        if self.style == "official":
            if not verify_webhook(
                body, _header(headers, SIGNATURE_HEADER), app_key=self._app_key, app_secret=self._app_secret.text()
            ):
                raise SignatureError("the webhook's signature is missing or wrong")
            notification = _read(body)
            if not notification.timestamp:
                raise MalformedWebhookError("the webhook does not say when it was made")
            self._check_age(notification.timestamp)
            return notification
        timestamp = _header(headers, LEGACY_TIMESTAMP_HEADER)
        if not verify_legacy_webhook(
            body, _header(headers, LEGACY_SIGNATURE_HEADER), timestamp, app_secret=self._app_secret.text()
        ):
            raise SignatureError("the webhook's signature or timestamp is missing or wrong")
        self._check_age(int(timestamp))
        return _read(body)

    def _check_age(self, made_at: int) -> None:
        age_s = self._clock.wall() - made_at
        if age_s > self.tolerance_s:
            raise StaleWebhookError(f"the webhook is older than {self.tolerance_s:g} seconds")
        if age_s < -AHEAD_S:
            raise StaleWebhookError("the webhook lies in the future; check this machine's clock")

    def __repr__(self) -> str:
        return f"WebhookVerifier(style={self.style!r}, tolerance_s={self.tolerance_s:g})"


def _read(body: bytes) -> Notification:
    try:
        return read_notification(body)
    except ValueError as error:
        raise MalformedWebhookError(f"the webhook cannot be read: {error}") from None


def _header(headers: Mapping[str, str], name: str) -> str:
    """A header's value, also from a mapping that minds capitalisation; empty if it is missing or given twice."""
    lower = name.lower()
    found = [value for given, value in headers.items() if given.lower() == lower]
    return found[0] if len(found) == 1 else ""


def keys_of(notification: Notification) -> tuple[str, ...]:
    """What tells whether this is news: its id, and where there is one its subject and status."""
    return (notification.id, notification.subject) if notification.subject else (notification.id,)


class RecentKeys:
    """The newest keys, so many and no more; the oldest are forgotten first."""

    def __init__(self, max_keys: int = 10_000) -> None:
        if max_keys < 1:
            raise ConfigError("webhooks: max_keys must be at least 1")
        self._max_keys = max_keys
        self._keys: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: tuple[str, ...]) -> None:
        """Remember these."""
        for key in keys:
            self._keys[key] = None
            self._keys.move_to_end(key)
        while len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)
