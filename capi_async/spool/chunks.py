"""What stands in a row: a run of records of one destination, column by column, and what happened to each. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from capi_async.spool.base import Record

T = TypeVar("T")

#: Records and body bytes that stand in one row at most (one larger record stands alone).
MAX_RECORDS: Final = 256
MAX_BYTES: Final = 512 * 1024

#: Seconds that a stored wait may last at most, whatever a stepped clock says.
MAX_WAIT_S: Final = 86_400.0


class DamagedChunk(Exception):
    """The bytes are not what was written."""


class _Columns(Struct, array_like=True, gc=False):
    """Records as columns; a column of equal values holds one."""

    ids: list[str]
    bodies: list[bytes]
    heads: list[bytes]
    head_of: list[int]
    expires_at: list[float]
    resend_for_s: list[float]
    accounts: list[str]
    wires: list[str]
    accepted_at: list[float]
    order_keys: list[str | None]


class Fate(Struct, array_like=True, gc=False):
    """What happened to ``count`` neighbouring records from index ``at`` on.

    Attributes:
        uncertain_since: Seconds since the epoch of the first attempt whose answer never came, or has not come yet.
        due_at: Seconds since the epoch before which they are not given out.
        wait_s: The wait that led to ``due_at``; whatever the clock says later, it does not get longer than this.
    """

    at: int
    count: int
    attempts: int
    failures: int
    uncertain_since: float
    due_at: float
    wait_s: float


class State(Struct, array_like=True, gc=False):
    """What happened to the records of a chunk.

    Attributes:
        settled: A bit per record, lowest first, as little-endian bytes.
        fates: Of the unsettled ones that something happened to, in order.
    """

    settled: bytes
    fates: list[Fate]


#: In front of what carries a checksum. MessagePack never uses this byte: without it stands what earlier releases wrote.
_CHECKED: Final = b"\xc1"

#: Start and stop of a run of indexes, and seconds since the epoch.
Run: TypeAlias = tuple[int, int, float]

_encoder = msgspec.msgpack.Encoder()
_columns = msgspec.msgpack.Decoder(_Columns)
_state = msgspec.msgpack.Decoder(State)
_runs = msgspec.msgpack.Decoder(list[Run])


def encode(records: Sequence[Record | None]) -> bytes:
    """The bytes of a run of records of one destination; ``None`` leaves its index empty."""
    if None in records:
        empty = Record("", "", b"", b"", 0.0, 0.0, "", "")
        records = [empty if record is None else record for record in records]
    kept: Sequence[Any] = records
    heads = [record.head for record in kept]
    distinct = list(dict.fromkeys(heads))
    places = {head: index for index, head in enumerate(distinct)}
    data = _encoder.encode(
        _Columns(
            [record.event_id for record in kept],
            [record.body for record in kept],
            distinct,
            [0] if len(distinct) == 1 else [places[head] for head in heads],
            _column([record.expires_at for record in kept]),
            _column([record.resend_for_s for record in kept]),
            _column([record.account for record in kept]),
            _column([record.wire for record in kept]),
            _column([record.accepted_at for record in kept]),
            _column([record.order_key for record in kept]),
        )
    )
    return zlib.crc32(data).to_bytes(4, "little") + data


def decode(destination: str, data: bytes) -> list[Record]:
    """The records that :func:`encode` was given; an empty index has no body and no event id.

    Raises:
        DamagedChunk: The bytes are not what was written.
    """
    if zlib.crc32(memoryview(data)[4:]) != int.from_bytes(data[:4], "little"):
        raise DamagedChunk("checksum")
    try:
        it = _columns.decode(memoryview(data)[4:])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise DamagedChunk("form") from error
    count = len(it.ids)
    heads = _spread([it.heads[index] for index in it.head_of], count)
    return [
        Record(destination, *fields)
        for fields in zip(
            it.ids,
            heads,
            it.bodies,
            _spread(it.expires_at, count),
            _spread(it.resend_for_s, count),
            _spread(it.accounts, count),
            _spread(it.wires, count),
            _spread(it.accepted_at, count),
            _spread(it.order_keys, count),
            strict=True,
        )
    ]


def encode_state(state: State) -> bytes:
    """The bytes of a state, with a checksum: a flipped bit would be an event that is never sent, or sent again."""
    return _checked(_encoder.encode(state))


def decode_state(data: bytes | None) -> State:
    """The state that :func:`encode_state` was given; nothing happened where nothing was stored.

    Raises:
        DamagedChunk: The bytes are not what was written.
    """
    if not data:
        return State(b"", [])
    try:
        return _state.decode(_unchecked(data))
    except msgspec.MsgspecError as error:
        raise DamagedChunk("state") from error


def has_checksum(data: bytes | None) -> bool:
    """Whether a state that can be decoded surely is what was written; those of earlier releases carry no checksum."""
    return not data or data[:1] == _CHECKED


def encode_runs(runs: Sequence[Run]) -> bytes:
    """The bytes of runs of indexes, with a checksum."""
    return _checked(_encoder.encode(runs))


def decode_runs(data: bytes | None) -> list[Run]:
    """The runs that :func:`encode_runs` was given; none where nothing was stored.

    Raises:
        DamagedChunk: The bytes are not what was written.
    """
    if not data:
        return []
    try:
        return _runs.decode(_unchecked(data))
    except msgspec.MsgspecError as error:
        raise DamagedChunk("runs") from error


def _checked(data: bytes) -> bytes:
    return _CHECKED + zlib.crc32(data).to_bytes(4, "little") + data


def _unchecked(data: bytes) -> bytes | memoryview:
    if data[:1] != _CHECKED:
        return data
    rest = memoryview(data)[5:]
    if zlib.crc32(rest) != int.from_bytes(data[1:5], "little"):
        raise DamagedChunk("checksum of what happened to its records")
    return rest


def bits(flags: Sequence[bool]) -> bytes:
    """A bit per flag, lowest first."""
    number = 0
    for index, flag in enumerate(flags):
        if flag:
            number |= 1 << index
    return number.to_bytes((len(flags) + 7) // 8, "little")


def is_set(mask: bytes, index: int) -> bool:
    """Whether the flag at ``index`` is set."""
    return index >> 3 < len(mask) and bool(mask[index >> 3] >> (index & 7) & 1)


def _column(values: list[T]) -> list[T]:
    return values[:1] if values.count(values[0]) == len(values) else values


def _spread(values: list[T], count: int) -> list[T]:
    return values * count if len(values) == 1 else values
