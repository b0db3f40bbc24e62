"""A context as a text: compact, versioned, encrypted if keys are given.

``c1.<checksum>.<data>`` is readable by whoever has it; the checksum tells of accidents, not of malice.
``c1e.<name of the key>.<data>`` is sealed with AES-256-GCM. The data is MessagePack, compressed where that is shorter,
as URL-safe Base64 without padding. ``c2`` will be another version: what cannot be read says so.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from capi_async.cipher import Cipher, UnknownKey
from capi_async.context.facts import Facts
from capi_async.errors import CapiError, ContextError
from capi_async.event import ClickIds, Consent, Page, User

T = TypeVar("T", bound=Facts)

_PLAIN: Final = "c1"
_SEALED: Final = "c1e"
#: What a sealed text is bound to, so that nothing else that was sealed with the same key can take its place.
_BOUND_TO: Final = "capi_async request context 1"
#: No request makes a longer one.
MAX_CHARS: Final = 64 * 1_024
_MAX_BYTES: Final = 256 * 1_024
#: The first byte says how the rest is kept.
_RAW, _COMPRESSED = b"\x00", b"\x01"

CHANGED: Final = "this is no text of a request context, or it was changed or cut on its way"
VERSION: Final = "this text was written by another version of capi_async, which this one does not read; upgrade it"
UNSEALED: Final = (
    "this text is not encrypted, and keys were given: anybody can have made it; load it without keys if you trust it"
)
NO_KEYS: Final = "this text is encrypted; give the keys that it was made with"
OTHER_KEY: Final = (
    "this text is encrypted with a key that is not among those given; keep the old one behind the new one"
)
LONG: Final = f"this text is longer than {MAX_CHARS:,} characters; no request makes such a context"


class _Kept(Struct, array_like=True, gc=False):
    """What is kept of a context, by place; a later version may add behind the last one and nowhere else."""

    ip: str | None
    user_agent: str | None
    url: str | None
    referrer: str | None
    language: str | None
    at: float
    click: dict[str, str]
    seen: dict[str, float]
    others: dict[str, str]
    consent: dict[str, str | bool]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Kept)


def dump(context: Facts, *, keys: Sequence[str] = ()) -> str:
    """The context as a text; see :meth:`~capi_async.context.RequestContext.dump`."""
    raw = _encoder.encode(_kept(context))
    packed = zlib.compress(raw, 9)
    data = _COMPRESSED + packed if len(packed) < len(raw) else _RAW + raw
    if keys:
        cipher = Cipher(keys, owner="request context")
        return f"{_SEALED}.{cipher.name}.{_base64(cipher.seal(data, _BOUND_TO))}"
    return f"{_PLAIN}.{zlib.crc32(data):08x}.{_base64(data)}"


def load(kind: type[T], text: str, *, keys: Sequence[str] = ()) -> T:
    """The context of a text; see :meth:`~capi_async.context.RequestContext.load`."""
    cipher = Cipher(keys, owner="request context") if keys else None
    if not isinstance(text, str):
        raise ContextError(CHANGED)
    if len(text) > MAX_CHARS:
        raise ContextError(LONG)
    version, _, rest = text.strip().partition(".")
    mark, _, body = rest.partition(".")
    if version == _SEALED:
        data = _opened(cipher, mark, _bytes(body))
    elif version == _PLAIN:
        if cipher is not None:
            raise ContextError(UNSEALED)
        data = _bytes(body)
        if mark != f"{zlib.crc32(data):08x}":
            raise ContextError(CHANGED)
    else:
        raise ContextError(VERSION if version[:1] == "c" and version[1:2].isdigit() else CHANGED)
    try:
        return _context(kind, _decoder.decode(_unpacked(data)))
    except (msgspec.MsgspecError, CapiError, ValueError, OverflowError, OSError, zlib.error, RecursionError):
        raise ContextError(CHANGED) from None


def _opened(cipher: Cipher | None, name: str, data: bytes) -> bytes:
    if cipher is None:
        raise ContextError(NO_KEYS)
    try:
        return cipher.open(data, name, _BOUND_TO)
    except UnknownKey:
        raise ContextError(OTHER_KEY) from None
    except ValueError:
        raise ContextError(CHANGED) from None


def _unpacked(data: bytes) -> bytes:
    if data[:1] == _RAW:
        return data[1:]
    if data[:1] != _COMPRESSED:
        raise ValueError("neither raw nor compressed")
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(data[1:], _MAX_BYTES)
    if not unpacker.eof:
        raise ValueError("cut, or too large")
    return raw


def _kept(context: Facts) -> _Kept:
    click = {
        name: value
        for name in context.click.__struct_fields__
        if isinstance(value := getattr(context.click, name), str)
    }
    seen = {name: at.timestamp() for name, at in context.first_seen.items()}
    if context.click.fbclid_seen is not None:
        seen["fbclid"] = context.click.fbclid_seen.timestamp()
    consent = context.consent
    return _Kept(
        ip=context.user.ip,
        user_agent=context.user.user_agent,
        url=context.page.url,
        referrer=context.page.referrer,
        language=context.language,
        at=context.at.timestamp(),
        click=click,
        seen=seen,
        others=dict(context.others),
        consent={
            name: value
            for name in (consent.__struct_fields__ if consent else ())
            if (value := getattr(consent, name)) is not None
        }
        | ({"": True} if consent else {}),
    )


def _context(kind: type[T], kept: _Kept) -> T:
    stated = kept.consent.pop("", None)
    seen = {name: _time(at) for name, at in kept.seen.items()}
    # unknown names come from a later release of this version: they are passed over, not refused
    click = {name: value for name, value in kept.click.items() if name in ClickIds.__struct_fields__}
    return kind(
        user=User(ip=kept.ip, user_agent=kept.user_agent),
        page=Page(url=kept.url, referrer=kept.referrer),
        language=kept.language,
        click=ClickIds(**click, fbclid_seen=seen.get("fbclid") if "fbclid" in click else None),
        others=kept.others,
        first_seen=seen,
        consent=_consent(kept.consent) if stated else None,
        at=_time(kept.at),
    )


def _consent(stated: dict[str, str | bool]) -> Consent:
    return msgspec.convert({name: stated[name] for name in Consent.__struct_fields__ if name in stated}, Consent)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ContextError(CHANGED) from None
