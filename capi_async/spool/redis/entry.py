"""An entry of a stream: records of one destination, and what happened to them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import Record, size_of
from capi_async.spool.chunks import (
    MAX_BYTES,
    MAX_RECORDS,
    Fate,
    State,
    bits,
    decode,
    decode_state,
    encode,
    encode_state,
    is_set,
)
from capi_async.spool.sealing import OpenSealed, Place, Seal
from capi_async.spool.waiting import SETTLED

pack = msgspec.msgpack.encode

#: The state of an entry to whose records nothing happened, where it must stand in place of another.
_NOTHING: Final = encode_state(State(b"", []))


def raw(data: bytes) -> msgspec.Raw:
    """Bytes as Redis's MessagePack knows them: it is older than the type for them, and takes any bytes as text."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


def pack_fields(fields: Sequence[str | bytes]) -> bytes:
    """An entry's fields for a script: a list of up to 15 texts."""
    parts = [bytes([0x90 | len(fields)])]
    for one in fields:
        data = one.encode() if isinstance(one, str) else one
        parts += (b"\xdb", len(data).to_bytes(4, "big"), data)
    return b"".join(parts)


def unpack_fields(data: bytes) -> dict[bytes, bytes]:
    """What :func:`pack_fields` was given, as a mapping."""
    found: list[bytes] = []
    at = 1
    while at < len(data):
        stop = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
        found.append(data[at + 5 : stop])
        at = stop
    return dict(zip(found[::2], found[1::2], strict=True))


class New(Struct, gc=False):
    """Records about to become an entry.

    Attributes:
        key: What stands for their order key, empty if there is none; with one there is one record.
        token: Tells the entry from all others, also before Redis has given it an id; empty if nobody here asks.
    """

    records: list[Record]
    size: int
    key: str = ""
    token: str = ""

    def fields(self, seal: Seal, state: bytes = b"") -> list[str | bytes]:
        """The entry's fields, one after the other."""
        number, size = str(len(self.records)), str(self.size)
        place = _place(self.records[0].destination, self.token, self.key, number, size)
        name, data = seal(encode(self.records), place)
        fields: list[str | bytes] = ["d", data, "n", number, "b", size]
        if name:
            fields += ["s", name]
        if self.key:
            fields += ["k", self.key]
        if self.token:
            fields += ["u", self.token]
        if state:
            fields += ["f", state]
        return fields


class Entry:
    """An entry that this process holds.

    Attributes:
        epoch: How often it was given out; who held it before has a lower one.
        version: Of what was stored about it last.
        records: By index; ``None`` where a record had been settled before this process got the entry.
        left, size: Records that are not settled, and the bytes of their bodies.
        marks: Index to the time, in seconds since the epoch, at which a record was noted as about to be sent.
        waits: Index to (due, wait), in seconds, of the records that wait for their time.
        counts: Outcomes since it was stored last, ``freed`` their bytes, ``letters`` those to be kept.
        scrub: Bodies of settled records must leave Redis, too.
        lost: Another process holds it now.
    """

    __slots__ = (
        "counts", "destination", "epoch", "freed", "id", "key", "left", "letters", "lost", "marks", "records", "scrub",
        "size", "version", "waits",
    )  # fmt: skip

    def __init__(self, destination: str, number: str, records: list[Record | None], *, epoch: int, key: str) -> None:
        self.id = number
        self.destination = destination
        self.records = records
        self.epoch = epoch
        self.key = key
        self.version = 0
        kept = [record for record in records if record is not None]
        self.left = len(kept)
        self.size = size_of(kept)
        self.marks: dict[int, float] = {}
        self.waits: dict[int, tuple[float, float]] = {}
        self.counts: dict[str, int] = {}
        self.freed = 0
        self.letters: list[tuple[Record, Outcome]] = []
        self.scrub = False
        self.lost = False

    def drop(self) -> None:
        """Let go of the records. They name their entry, and no collector looks for cycles through them."""
        self.records = []

    def held(self) -> list[Record]:
        """Those that are not settled."""
        return [record for record in self.records if record is not None and record.epoch != SETTLED]

    def state(self) -> bytes:
        """What happened to its records, as it is stored; empty if nothing did."""
        fates = self._fates([(index, record) for index, record in enumerate(self.records)])
        settled = [record is None or record.epoch == SETTLED for record in self.records]
        return encode_state(State(bits(settled), fates)) if fates or any(settled) else b""

    def anew(self, token: str) -> tuple[New, bytes]:
        """An entry without those that are settled, and its state."""
        held = self.held()
        renumbered: list[tuple[int, Record | None]] = [(record.at, record) for record in held]
        fates = self._fates(renumbered, anew=True)
        return New(held, size_of(held), token=token), encode_state(State(b"", fates)) if fates else b""

    def _fates(self, places: Sequence[tuple[int, Record | None]], *, anew: bool = False) -> list[Fate]:
        fates: list[Fate] = []
        marks, waits = self.marks, self.waits
        same: tuple[int, int, float, float, float] | None = None
        stop = -1
        for number, (index, record) in enumerate(places):
            if record is None or record.epoch == SETTLED:
                continue
            since = record.uncertain_since or (marks.get(index, 0.0) if marks else 0.0)
            # one that is about to be sent for the first time has no attempt yet; whoever reads this later counts it
            attempts = record.attempts or (1 if since else 0)
            due, wait = waits.get(index, (0.0, 0.0)) if waits else (0.0, 0.0)
            if not (attempts or due):
                continue
            at = number if anew else index
            fate = (attempts, record.failures, since, due, wait)
            if at == stop and fate == same:
                fates[-1].count += 1
            else:
                fates.append(Fate(at, 1, *fate))
                same = fate
            stop = at + 1
        return fates


def split(records: Iterable[Record], token: Callable[[], str], *, named: bool) -> dict[str, list[New]]:
    """New entries of records of any destinations, in order; a record with an order key stands alone.

    Args:
        named: Whether all get a token, and not only those that may have to wait for an older one.
    """
    made: dict[str, list[New]] = {}
    open_: dict[str, New] = {}
    for record in records:
        name, size = record.destination, len(record.body)
        if record.order_key is not None:
            made.setdefault(name, []).append(New([record], size, key_text(record.order_key), token()))
            open_.pop(name, None)
            continue
        new = open_.get(name)
        if new is None or len(new.records) >= MAX_RECORDS or new.size + size > MAX_BYTES:
            new = open_[name] = New([], 0, token=token() if named else "")
            made.setdefault(name, []).append(new)
        new.records.append(record)
        new.size += size
    return made


def key_text(order_key: str) -> str:
    """What stands for an order key in Redis: the key may name a person."""
    return hashlib.blake2b(order_key.encode(), digest_size=8).hexdigest()


def fields_of(flat: Any) -> dict[bytes, bytes]:
    """The fields of an entry as the driver gives them."""
    if isinstance(flat, dict):
        return flat
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read(
    destination: str,
    number: str,
    fields: Mapping[bytes, bytes],
    open_sealed: OpenSealed,
    *,
    epoch: int = 1,
    state: bytes | None = None,
    version: int = 0,
    tried_at: float = 0.0,
    mine: list[Record] | None = None,
) -> Entry:
    """An entry as another process, or this one, left it; what may have arrived is known to.

    Args:
        tried_at: Seconds since the epoch of the first request that carried some of its records, nobody knows which:
            a process of an earlier release noted no more.
        mine: The records themselves, if this process made them.

    Raises:
        DamagedChunk, ValueError: The bytes are not what was written.
    """
    was = decode_state(state or fields.get(b"f"))
    records: Sequence[Record]
    if mine is not None:
        records = mine
    else:
        place = _place(destination, *(fields.get(name, b"").decode() for name in (b"u", b"k", b"n", b"b")))
        records = decode(destination, open_sealed(fields[b"d"], fields.get(b"s", b"").decode(), place))
    kept: list[Record | None] = [None if is_set(was.settled, at) else record for at, record in enumerate(records)]
    entry = Entry(destination, number, kept, epoch=epoch, key=fields.get(b"k", b"").decode())
    entry.version = version
    known = set()
    for fate in was.fates:
        for index in range(fate.at, min(fate.at + fate.count, len(kept))):
            record = kept[index]
            if record is None:
                continue
            known.add(index)
            record.attempts, record.failures, record.uncertain_since = (
                fate.attempts,
                fate.failures,
                fate.uncertain_since,
            )
            if fate.due_at:
                entry.waits[index] = (fate.due_at, fate.wait_s)
    for index, record in enumerate(kept):
        if record is None:
            continue
        record.chunk, record.at, record.epoch = entry, index, 0
        if tried_at and index not in known and record.resend_for_s > 0:
            record.attempts, record.uncertain_since = 1, tried_at
    return entry


def _place(destination: str, token: str, key: str, number: str, size: str) -> Place:
    """Where records stand: in the one entry that its maker gave this name. Redis gives its id only later."""
    return "entry", destination, token, key, number, size


def letter_place(destination: str, kind: str, event_id: str, at: float, size: int) -> Place:
    """Where a dead letter stands: its number is given in Redis, so it is what is listed of it."""
    return "letter", destination, kind, event_id, at, size


def _sound(reason: str) -> str:
    """A reason may quote a platform, and that anything, halves of characters included."""
    return reason.encode("utf-8", "replace").decode()


def take(entry: Entry, seal: Seal, now: float, token: Callable[[], str]) -> tuple[bytes, New | None]:
    """What happened to an entry, packed, and the new one that the rest of its records moves to.

    From here on it counts as stored. If this raises, the entry is as it was.
    """
    held = entry.held()
    left = len(held)
    again: list[str | bytes] = []
    new: New | None = None
    if entry.scrub and held and not entry.key and all(record.epoch == 0 for record in held):
        new, state = entry.anew(token())
        again, left = new.fields(seal, state), 0
    now = float(now)
    letters = [
        (
            raw(
                pack([record.destination, outcome.kind, record.event_id, _sound(outcome.reason), now, len(record.body)])
            ),
            raw(pack([*seal(encode([record]), place)])),
        )
        for record, outcome in entry.letters
        for place in [letter_place(record.destination, outcome.kind, record.event_id, now, len(record.body))]
    ]
    moved = sum(entry.counts.values())
    counts = {**entry.counts, "pending": -moved, "bytes": -entry.freed} if moved else {}
    packed = pack(
        [
            entry.id, entry.epoch, entry.version + 1, left, raw(entry.state() or _NOTHING) if left else "", counts,
            entry.key, letters, [raw(one.encode() if isinstance(one, str) else one) for one in again],
        ]
    )  # fmt: skip
    entry.version += 1
    entry.counts, entry.freed, entry.letters = {}, 0, []
    for record in new.records if new is not None else ():
        record.epoch = SETTLED
    entry.left = left
    return packed, new
