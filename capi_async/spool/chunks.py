"""A chunk: records of one destination that are stored together, and what happened to each of them. Pure.

The records are stored column by column and never change; what happened to them is stored separately.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import Record, size_of
from capi_async.spool.waiting import SETTLED

T = TypeVar("T")

#: Most records, and most bytes of their bodies, in one chunk; one larger record is a chunk of its own.
MAX_RECORDS: Final = 256
MAX_BYTES: Final = 512 * 1024

#: Most seconds that a stored wait may last, whatever a stepped clock says.
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


class _TracedColumns(_Columns, array_like=True, gc=False):
    """The same with what only a client with tracing writes, and what releases before it skip."""

    traces: list[str] = []


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


#: The first byte of what carries a checksum. MessagePack never uses it: what earlier releases wrote begins otherwise.
_CHECKED: Final = b"\xc1"

#: Start and stop of a run of indexes, and seconds since the epoch.
Run: TypeAlias = tuple[int, int, float]

#: Stands for an index without a record.
_EMPTY: Final = Record("", "", b"", b"", 0.0, 0.0, "", "")

_trace = attrgetter("trace")
_encoder = msgspec.msgpack.Encoder()
_columns = msgspec.msgpack.Decoder(_TracedColumns)
_state = msgspec.msgpack.Decoder(State)
_runs = msgspec.msgpack.Decoder(list[Run])


def encode(records: Sequence[Record | None]) -> bytes:
    """The bytes of a run of records of one destination; ``None`` leaves its index empty."""
    if len(records) == 1:
        return _encoded_one(records[0])
    if None in records:
        records = [_EMPTY if record is None else record for record in records]
    kept: Sequence[Any] = records
    heads = [record.head for record in kept]
    distinct = list(dict.fromkeys(heads))
    places = {head: index for index, head in enumerate(distinct)}
    columns = (
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
    traced = any(map(_trace, kept))
    data = _encoder.encode(
        _TracedColumns(*columns, _column([record.trace for record in kept])) if traced else _Columns(*columns)
    )
    return zlib.crc32(data).to_bytes(4, "little") + data


def _encoded_one(record: Record | None) -> bytes:
    """The same of a single record, without a pass over each column."""
    it = record or _EMPTY
    columns = (
        [it.event_id], [it.body], [it.head], [0], [it.expires_at], [it.resend_for_s], [it.account], [it.wire],
        [it.accepted_at], [it.order_key],
    )  # fmt: skip
    data = _encoder.encode(_TracedColumns(*columns, [it.trace]) if it.trace else _Columns(*columns))
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
    records = [
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
    if it.traces:
        for record, trace in zip(records, _spread(it.traces, count), strict=True):
            record.trace = trace
    return records


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


class HeldChunk:
    """A chunk that this process holds: its records, and what has happened to them since it was last written.

    Attributes:
        records: By index; ``None`` where a record was settled before this process got the chunk.
        left: Records that are not settled, and ``size``: the bytes of their bodies.
        attempted_at: Index to the time, in seconds since the epoch, at which a record was noted as about to be sent.
        waits: Index to (due, wait), in seconds, of the records that wait for a time.
        counts: Outcomes since the last write, by kind, and ``freed``: the bytes of these records.
        dead_letters: Those of them that are kept for replay.
        erases: Whether the bodies of settled records must be removed from storage as well.
    """

    __slots__ = (
        "attempted_at", "counts", "dead_letters", "destination", "erases", "freed", "left", "records", "size", "waits",
    )  # fmt: skip

    def __init__(self, destination: str, records: list[Record | None], size: int) -> None:
        self.destination = destination
        self.records = records
        self.left = len(records) - records.count(None)
        self.size = size
        self.attempted_at: dict[int, float] = {}
        self.waits: dict[int, tuple[float, float]] = {}
        self.counts: dict[str, int] = {}
        self.freed = 0
        self.dead_letters: list[tuple[Record, Outcome]] = []
        self.erases = False

    def hold(self, records: list[Record | None], waits: dict[int, tuple[float, float]]) -> None:
        """Take in what :func:`restored` gave."""
        self.records, self.waits = records, waits
        held = [record for record in records if record is not None]
        self.left, self.size = len(held), size_of(held)

    def clear(self) -> None:
        """Drop the records. They refer to their chunk, and the garbage collector does not look for cycles there."""
        self.records = []

    def unsettled(self) -> list[Record]:
        """The records that are not settled."""
        return [record for record in self.records if record is not None and record.epoch != SETTLED]

    def state(self) -> State:
        """What happened to the records."""
        settled = [record is None or record.epoch == SETTLED for record in self.records]
        return State(bits(settled), fates_of(enumerate(self.records), self.attempted_at, self.waits))


def fates_of(
    records: Iterable[tuple[int, Record | None]],
    attempted_at: Mapping[int, float],
    waits: Mapping[int, tuple[float, float]],
) -> list[Fate]:
    """What happened to the unsettled ones of these records, with neighbouring records of the same fate together.

    Args:
        records: Each with the index under which it is stored.
        attempted_at, waits: As in :class:`HeldChunk`, by ``Record.at``.
    """
    fates: list[Fate] = []
    last: tuple[int, int, float, float, float] | None = None
    stop = -1
    for index, record in records:
        if record is None or record.epoch == SETTLED:
            continue
        since = record.uncertain_since or (attempted_at.get(record.at, 0.0) if attempted_at else 0.0)
        # a record that is about to be sent for the first time has no attempt yet; what is stored counts that one
        attempts = record.attempts or (1 if since else 0)
        due, wait = waits.get(record.at, (0.0, 0.0)) if waits else (0.0, 0.0)
        if not (attempts or due):
            continue
        fate = (attempts, record.failures, since, due, wait)
        if index == stop and fate == last:
            fates[-1].count += 1
        else:
            fates.append(Fate(index, 1, *fate))
            last = fate
        stop = index + 1
    return fates


def restored(
    records: Sequence[Record], state: State, since: Mapping[int, float], chunk: object
) -> tuple[list[Record | None], dict[int, tuple[float, float]]]:
    """The records of a chunk as an earlier owner left them, by index, and the waits of those that wait.

    A settled record is ``None``. One with an attempt in flight is marked uncertain.

    Args:
        since: Index to the seconds since the epoch of a first request that carried the record, as noted before it was
            sent; it counts if the record could be sent again, and nothing later is stored of it.
        chunk: What the records will have as their ``chunk``.
    """
    kept: list[Record | None] = [None if is_set(state.settled, at) else record for at, record in enumerate(records)]
    waits: dict[int, tuple[float, float]] = {}
    known = set()
    for fate in state.fates:
        for index in range(fate.at, min(fate.at + fate.count, len(kept))):
            record = kept[index]
            if record is None:
                continue
            known.add(index)
            record.attempts, record.failures = fate.attempts, fate.failures
            record.uncertain_since = fate.uncertain_since
            if fate.due_at:
                waits[index] = (fate.due_at, fate.wait_s)
    for index, record in enumerate(kept):
        if record is None:
            continue
        record.chunk, record.at, record.epoch = chunk, index, 0
        if index in since and index not in known and record.resend_for_s > 0:
            record.attempts, record.uncertain_since = 1, since[index]
    return kept, waits


def due_in_s(due_at: float, wait_s: float, now: float) -> float:
    """Seconds from ``now`` until ``due_at``, both on the wall clock: never more than ``wait_s``, however it was set."""
    return max(0.0, min(due_at - now, wait_s))


def order_digest(order_key: str) -> bytes:
    """Eight bytes that are stored in place of an order key, which may name a person."""
    return hashlib.blake2b(order_key.encode(), digest_size=8).digest()


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
