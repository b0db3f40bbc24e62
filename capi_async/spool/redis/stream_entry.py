"""An entry of a stream: records of one destination, and what happened to them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import Record, size_of
from capi_async.spool.chunks import (
    MAX_BYTES,
    MAX_RECORDS,
    HeldChunk,
    State,
    decode,
    decode_state,
    encode,
    encode_state,
    fates_of,
    order_digest,
    restored,
)
from capi_async.spool.sealing import OpenSealed, Place, Seal
from capi_async.spool.waiting import SETTLED

pack = msgspec.msgpack.encode

#: The state of an entry to whose records nothing happened, for where it replaces another state.
_NOTHING_HAPPENED: Final = encode_state(State(b"", []))


def raw(data: bytes) -> msgspec.Raw:
    """Bytes as the MessagePack of Redis reads them: it lacks the binary type, and takes any bytes as text."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


def pack_fields(fields: Sequence[str | bytes]) -> bytes:
    """An entry's fields for a script: a list of up to 15 texts."""
    parts = [bytes([0x90 | len(fields)])]
    for field in fields:
        data = field.encode() if isinstance(field, str) else field
        parts += (b"\xdb", len(data).to_bytes(4, "big"), data)
    return b"".join(parts)


def unpack_fields(data: bytes) -> dict[bytes, bytes]:
    """The fields that :func:`pack_fields` was given, as a mapping."""
    found: list[bytes] = []
    at = 1
    while at < len(data):
        stop = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
        found.append(data[at + 5 : stop])
        at = stop
    return dict(zip(found[::2], found[1::2], strict=True))


class NewEntry(Struct, gc=False):
    """Records about to become an entry.

    Attributes:
        size: Bytes of the records' bodies.
        key: The digest of their order key, empty if there is none; with a key there is one record.
        token: Identifies the entry before Redis has given it an id; empty if this process need not recognise it.
    """

    records: list[Record]
    size: int
    key: str = ""
    token: str = ""

    def fields(self, seal: Seal, state: bytes = b"") -> list[str | bytes]:
        """The entry's fields, names and values alternating."""
        number, size = str(len(self.records)), str(self.size)
        place = _entry_place(self.records[0].destination, self.token, self.key, number, size)
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


class Entry(HeldChunk):
    """An entry that this process holds.

    Attributes:
        id: Of the entry in its stream.
        epoch: How often the entry was given out; an earlier holder has a lower epoch.
        version: Number of the state that was stored last.
        key: The digest of the order key of its record, empty if it has none.
        lost: Whether another process holds the entry now.
    """

    __slots__ = ("epoch", "id", "key", "lost", "version")

    def __init__(self, destination: str, number: str, records: list[Record | None], *, epoch: int, key: str) -> None:
        super().__init__(destination, records, size_of(record for record in records if record is not None))
        self.id = number
        self.epoch = epoch
        self.key = key
        self.version = 0
        self.lost = False

    def encoded_state(self) -> bytes:
        """What happened to the records, as it is stored; empty if nothing did."""
        state = self.state()
        return encode_state(state) if state.fates or any(state.settled) else b""

    def without_settled(self, token: str) -> tuple[NewEntry, bytes]:
        """A new entry of the unsettled records only, and its state."""
        records = self.unsettled()
        fates = fates_of(enumerate(records), self.attempted_at, self.waits)
        new = NewEntry(records, size_of(records), token=token)
        return new, encode_state(State(b"", fates)) if fates else b""


def group(records: Iterable[Record], new_token: Callable[[], str], *, all_tokens: bool) -> dict[str, list[NewEntry]]:
    """Group records of any destinations into new entries, in order; a record with an order key has its own entry.

    Args:
        all_tokens: Whether every entry gets a token; else only those that may have to wait for an older record.
    """
    made: dict[str, list[NewEntry]] = {}
    open_: dict[str, NewEntry] = {}
    for record in records:
        name, size = record.destination, len(record.body)
        if record.order_key is not None:
            made.setdefault(name, []).append(NewEntry([record], size, key_digest(record.order_key), new_token()))
            open_.pop(name, None)
            continue
        new = open_.get(name)
        if new is None or len(new.records) >= MAX_RECORDS or new.size + size > MAX_BYTES:
            new = open_[name] = NewEntry([], 0, token=new_token() if all_tokens else "")
            made.setdefault(name, []).append(new)
        new.records.append(record)
        new.size += size
    return made


def key_digest(order_key: str) -> str:
    """The form in which an order key is stored: the key itself may name a person."""
    return order_digest(order_key).hex()


def fields_of(answer: Any) -> dict[bytes, bytes]:
    """The fields of an entry, in either form that the driver gives."""
    if isinstance(answer, dict):
        return answer
    return dict(zip(answer[::2], answer[1::2], strict=True))


def restore(
    destination: str,
    number: str,
    fields: Mapping[bytes, bytes],
    open_sealed: OpenSealed,
    *,
    epoch: int = 1,
    state: bytes | None = None,
    version: int = 0,
    tried_at: float = 0.0,
    own: list[Record] | None = None,
) -> Entry:
    """Restore an entry as its last holder left it. Records with an attempt in flight are marked uncertain.

    Args:
        number: Its id.
        tried_at: Seconds since the epoch of the first request that carried some of its records. A process of an earlier
            release noted no more than this, so all its records may have been sent.
        own: The records themselves, if this process made them; they are used instead of copies.

    Raises:
        DamagedChunk, ValueError: The bytes are not what was written.
        UnknownKey: The bytes cannot be decrypted with the keys given, or may not be accepted.
    """
    past = decode_state(state or fields.get(b"f"))
    records: Sequence[Record]
    if own is not None:
        records = own
    else:
        place = _entry_place(destination, *(fields.get(name, b"").decode() for name in (b"u", b"k", b"n", b"b")))
        records = decode(destination, open_sealed(fields[b"d"], fields.get(b"s", b"").decode(), place))
    entry = Entry(destination, number, [], epoch=epoch, key=fields.get(b"k", b"").decode())
    entry.version = version
    since = dict.fromkeys(range(len(records)), tried_at) if tried_at else {}
    entry.hold(*restored(records, past, since, entry))
    return entry


def _entry_place(destination: str, token: str, key: str, number: str, size: str) -> Place:
    """What the seal of an entry binds it to: its token, because Redis gives the id only later, and its other fields."""
    return "entry", destination, token, key, number, size


def dead_letter_place(destination: str, kind: str, event_id: str, at: float, size: int) -> Place:
    """What the seal of a dead letter binds it to: what is listed of it, because Redis gives its number only later."""
    return "letter", destination, kind, event_id, at, size


def pack_change(entry: Entry, seal: Seal, now: float, new_token: Callable[[], str]) -> tuple[bytes, NewEntry | None]:
    """What happened to an entry, packed for :data:`~capi_async.spool.redis.lua.STORE_CHANGES`.

    Also returns the new entry that the other records move to if bodies have to be erased. From here on the change
    counts as stored. If this raises, the entry is as it was.
    """
    unsettled = entry.unsettled()
    left = len(unsettled)
    replacement: list[str | bytes] = []
    new: NewEntry | None = None
    if entry.erases and unsettled and not entry.key and all(record.epoch == 0 for record in unsettled):
        new, state = entry.without_settled(new_token())
        replacement, left = new.fields(seal, state), 0
    now = float(now)
    dead_letters = [_pack_dead_letter(record, outcome, seal, now) for record, outcome in entry.dead_letters]
    moved = sum(entry.counts.values())
    counts = {**entry.counts, "pending": -moved, "bytes": -entry.freed} if moved else {}
    state_left = raw(entry.encoded_state() or _NOTHING_HAPPENED) if left else ""
    packed = pack(
        [
            entry.id, entry.epoch, entry.version + 1, left, state_left,
            counts, entry.key, dead_letters,
            [raw(field.encode() if isinstance(field, str) else field) for field in replacement],
        ]
    )  # fmt: skip
    entry.version += 1
    entry.counts, entry.freed, entry.dead_letters = {}, 0, []
    for record in new.records if new is not None else ():
        record.epoch = SETTLED
    entry.left = left
    return packed, new


def _pack_dead_letter(record: Record, outcome: Outcome, seal: Seal, now: float) -> tuple[msgspec.Raw, msgspec.Raw]:
    """What can be listed of a dead letter, and its record."""
    size = len(record.body)
    # a reason may quote anything that a platform sent, unpaired surrogates included
    reason = outcome.reason.encode("utf-8", "replace").decode()
    listed = pack([record.destination, outcome.kind, record.event_id, reason, now, size])
    place = dead_letter_place(record.destination, outcome.kind, record.event_id, now, size)
    return raw(listed), raw(pack([*seal(encode([record]), place)]))
