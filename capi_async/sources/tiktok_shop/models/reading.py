"""Reads an answer as a struct, and what of it can be read if not all can."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct

from capi_async.outcome import UNREADABLE
from capi_async.sources.tiktok_shop.lenient import amount_of, mended_json
from capi_async.sources.tiktok_shop.models.base import Model

T = TypeVar("T")

_ABSENT: Final = object()


def read(data: bytes | Mapping[str, Any], kind: type[T]) -> T:
    """JSON, or what was decoded from it, as a struct; within a :class:`Model`, what cannot be read counts as absent.

    Raises:
        msgspec.MsgspecError: It is no JSON, or not even roughly of this kind.
    """
    if isinstance(data, Mapping):
        return _read(data, kind)
    with suppress(*UNREADABLE):
        return _read(data, kind)
    # one text cut in the middle of an emoji must not cost the hundred orders around it
    if (mended := mended_json(data)) is None:
        raise msgspec.DecodeError("not JSON")
    return _read(mended, kind)


def _read(data: bytes | Mapping[str, Any], kind: type[T]) -> T:
    try:
        if not isinstance(data, Mapping):
            decoded: T = _decoder(cast("Any", kind)).decode(data)
            return decoded
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        # amounts must stay exact on this way too
        value = data if isinstance(data, Mapping) else _EXACT.decode(data)
        mended = _mended(value, kind)
        return msgspec.convert(value if mended is _ABSENT else mended, kind, strict=False)


_EXACT: Final = msgspec.json.Decoder(float_hook=Decimal)


@lru_cache(maxsize=64)
def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind, strict=False)


def _mended(value: Any, kind: Any) -> Any:
    """What of a decoded value can be read as ``kind``, or ``_ABSENT``."""
    arguments = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Struct):
        if not isinstance(value, Mapping):
            return _ABSENT
        found = {}
        for field in msgspec.structs.fields(kind):
            raw = value.get(field.encode_name, _ABSENT)
            part = _mended(raw, field.type)
            if part is _ABSENT and raw not in (_ABSENT, None) and not issubclass(kind, Model):
                # an answer whose very list is none must not pass for an empty one
                part = raw if get_origin(field.type) is tuple else part
            if part is not _ABSENT:
                found[field.encode_name] = part
        return found
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return [part for item in value if (part := _mended(item, arguments[0])) is not _ABSENT]
    if type(None) in arguments:
        return None if value is None else _mended(value, next(one for one in arguments if one is not type(None)))
    if kind is str and type(value) is int:
        return str(value)
    if kind is Decimal and isinstance(value, str):
        found_amount = amount_of(value)
        return _ABSENT if found_amount is None else found_amount
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return _ABSENT
