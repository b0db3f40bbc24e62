"""The sandbox's own reading of the signing rules, written from the documentation and shared with nobody."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

_UNSIGNED = ("sign", "access_token")


def request_sign(
    secret: str, path: str, query: Iterable[tuple[str, str]], body: bytes = b"", content_type: str = ""
) -> str:
    """What ``sign`` has to be.

    Args:
        path: Without host and query.
        query: Decoded names and values, in any order.
        body: The bytes of the wire; left out for multipart.
    """
    pairs = sorted((name.encode(), value.encode()) for name, value in query if name not in _UNSIGNED)
    message = bytearray(path.encode())
    for name, value in pairs:
        message += name + value
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        message += body
    key = secret.encode()
    return _hex(key, key + bytes(message) + key)


def retired_sign(secret: str, path: str, query: Iterable[tuple[str, str]]) -> str:
    """What ``sign`` was in the retired style of the unversioned paths: no body, and the secret only at the end."""
    pairs = dict(query)
    head = f"app_key{pairs.get('app_key', '')}path{path}timestamp{pairs.get('timestamp', '')}"
    rest = "".join(
        f"{name}{value}"
        for name, value in sorted(pairs.items())
        if name not in ("app_key", "timestamp", "sign", "path")
    )
    return _hex(secret.encode(), (head + rest + secret).encode())


def webhook_sign(app_key: str, secret: str, body: bytes) -> str:
    """The ``Authorization`` of a notification."""
    return _hex(secret.encode(), app_key.encode() + body)


def timed_webhook_sign(secret: str, timestamp: str, body: bytes) -> str:
    """The legacy ``X-TikTok-Shop-Signature`` that covers its timestamp."""
    return _hex(secret.encode(), secret.encode() + timestamp.encode() + body)


def bare_webhook_sign(secret: str, body: bytes) -> str:
    """The legacy signature over the body alone."""
    return _hex(secret.encode(), body)


def same(one: str, other: str) -> bool:
    """Equal, without telling by the time taken how far."""
    return hmac.compare_digest(one.encode(), other.encode())


def _hex(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()
