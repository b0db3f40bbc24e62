"""Dead letters: records whose outcome was dead or uncertain, kept for replay within limits."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from capi_async.cipher import UnknownKey
from capi_async.spool.address import DAY
from capi_async.spool.base import DeadLetter, LetterFilter, Record
from capi_async.spool.chunks import DamagedChunk, decode
from capi_async.spool.redis.connection import with_scores
from capi_async.spool.redis.lua import MOVE_DEAD_LETTERS, PRUNE_DEAD_LETTERS
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.stream_entry import NewEntry, dead_letter_place, key_digest, pack, pack_fields
from capi_async.spool.sealing import why_refused

logger = logging.getLogger(__name__)

#: Seconds between two prunings.
_PRUNE_EVERY_S: Final = 60.0
#: Dead letters that are read, or removed, at a time.
_PAGE: Final = 500
#: Most unreadable dead letters that are remembered, so that each is logged once.
_MAX_UNREADABLE: Final = 1_000
#: Bytes in front of what can be listed of a dead letter: its number.
_SORT_BYTES: Final = 16

_listed = msgspec.msgpack.Decoder(tuple[str, str, str, str, float, int])
_sealed = msgspec.msgpack.Decoder(tuple[str, bytes])

#: A dead letter to remove, how the ledger changes by that, and the entry that it becomes.
_Move: TypeAlias = tuple[DeadLetter, dict[str, int], NewEntry | None]


class DeadLetters:
    """All dead letters of a spool: a sorted set by number of what can be listed, and a hash of what can be sent.

    One that cannot be read, because another release or somebody else wrote it, stays where it is; it is logged once.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unreadable: set[str] = set()

    async def pages(self, *, newest: bool = False) -> AsyncIterator[list[DeadLetter]]:
        """All there are, oldest first (or newest first), page by page; they may be removed meanwhile."""
        key = self._session.keys.dead_letters
        command, start, end = ("ZREVRANGEBYSCORE", "+inf", "-inf") if newest else ("ZRANGEBYSCORE", "-inf", "+inf")
        last = ""
        while True:
            behind = f"({last}" if last else start
            found = with_scores(await self._session.command(command, key, behind, end, "WITHSCORES", "LIMIT", 0, _PAGE))
            if not found:
                return
            page = []
            for member, score in found:
                last = repr(score)
                try:
                    destination, kind, event_id, reason, at, size = _listed.decode(member[_SORT_BYTES:])
                except msgspec.MsgspecError:
                    self._log_unreadable(last, "it is damaged")
                    continue
                page.append(DeadLetter(int(score), destination, kind, event_id, reason, at, size))
            yield page

    async def select(self, wanted: LetterFilter) -> list[DeadLetter]:
        """Those that the filter selects, in its order."""
        found: list[DeadLetter] = []
        async for page in self.pages(newest=wanted.newest):
            found += [letter for letter in page if _is_wanted(letter, wanted)]
            if wanted.limit is not None and len(found) >= wanted.limit:
                return found[: wanted.limit]
        return found

    async def replay(self, wanted: LetterFilter, permitted: Callable[[str], bool] | None, now: float) -> dict[str, int]:
        """Make dead letters pending again; return how many, per destination.

        An uncertain one counts as never attempted, because the caller asks for it to be sent once more.

        Args:
            permitted: As in :meth:`~capi_async.spool.base.Spool.replay`.
            now: Seconds since the epoch.
        """
        replayed: Counter[str] = Counter()
        selected = await self.select(wanted)
        for start in range(0, len(selected), _PAGE):
            moves: list[_Move] = []
            for letter, record in await self._read(selected[start : start + _PAGE]):
                counts, new = {letter.kind: -1}, None
                if record.expires_at <= now:
                    counts["expired"] = 1
                elif permitted is not None and not permitted(letter.event_id):
                    counts["skipped"] = 1
                else:
                    size = len(record.body)
                    counts |= {"pending": 1, "bytes": size}
                    key = "" if record.order_key is None else key_digest(record.order_key)
                    new = NewEntry([record], size, key, self._session.new_token())
                moves.append((letter, counts, new))
            pending = {letter.id for letter, _, new in moves if new is not None}
            replayed.update(letter.destination for letter in await self._move(moves) if letter.id in pending)
        return dict(replayed)

    async def end_matching(self, matches: Callable[[Record], bool], kind: str) -> Mapping[str, int]:
        """Remove those that match, and count them as this outcome; return how many, per destination."""
        ended: Counter[str] = Counter()
        async for page in self.pages():
            moves: list[_Move] = [
                (letter, {letter.kind: -1, kind: 1}, None)
                for letter, record in await self._read(page)
                if matches(record)
            ]
            ended.update(letter.destination for letter in await self._move(moves))
        return ended

    async def prune(self) -> None:
        """Remove those that are too old, or too many; the ledger goes on counting them."""
        session, options = self._session, self._session.options
        keys = [session.keys.dead_letters, session.keys.dead_letter_data]
        while await session.call(PRUNE_DEAD_LETTERS, keys, [options.dead_max, _PAGE]):
            pass
        oldest = session.clock.wall() - options.dead_days * DAY
        async for page in self.pages():
            old = [letter for letter in page if letter.at < oldest]
            await self._move([(letter, {}, None) for letter in old])
            if len(old) < len(page):
                return

    async def run(self) -> None:
        """Prune regularly until the spool closes."""
        while not self._session.closing:
            await self.prune()
            await asyncio.sleep(_PRUNE_EVERY_S)

    async def _read(self, page: Sequence[DeadLetter]) -> list[tuple[DeadLetter, Record]]:
        """Dead letters with their records; those that cannot be read are left out."""
        if not page:
            return []
        session = self._session
        rows = await session.command("HMGET", session.keys.dead_letter_data, *[letter.id for letter in page])
        found = []
        for letter, row in zip(page, rows, strict=True):
            if row is None:
                continue
            place = dead_letter_place(letter.destination, letter.kind, letter.event_id, letter.at, letter.bytes)
            try:
                name, data = _sealed.decode(row)
                found.append((letter, decode(letter.destination, session.sealing.open(data, name, place))[0]))
            except UnknownKey as error:
                self._log_unreadable(str(letter.id), why_refused(error))
            except (DamagedChunk, ValueError, msgspec.MsgspecError):
                self._log_unreadable(str(letter.id), "it is damaged, or was encrypted for another place")
        return found

    async def _move(self, moves: Sequence[_Move]) -> list[DeadLetter]:
        """Remove dead letters, and append the entries that they become; return those that were still there."""
        session, moved = self._session, list[DeadLetter]()
        by_destination: dict[str, list[_Move]] = {}
        for move in moves:
            by_destination.setdefault(move[0].destination, []).append(move)
        for destination, some in by_destination.items():
            of = session.keys.of(destination)
            arguments: list[Any] = []
            for letter, counts, new in some:
                fields = b"" if new is None else pack_fields(new.fields(session.sealing.seal))
                arguments += [letter.id, pack(counts), "" if new is None else new.key, fields]
            keys = [session.keys.dead_letters, session.keys.dead_letter_data]
            keys += [of.ledger, of.stream, of.notices, of.blocked, of.order_keys, session.new_result_key()]
            removed, _ = await session.call(MOVE_DEAD_LETTERS, keys, arguments)
            moved += [letter for (letter, _, _), was_there in zip(some, removed, strict=True) if was_there]
        return moved

    def _log_unreadable(self, number: str, why: str) -> None:
        if number not in self._unreadable and len(self._unreadable) < _MAX_UNREADABLE:
            self._unreadable.add(number)
            logger.error(
                "dead letter %s in %s cannot be read and is left alone: %s",
                number,
                self._session.keys.dead_letters,
                why,
            )


def _is_wanted(letter: DeadLetter, wanted: LetterFilter) -> bool:
    return (
        wanted.destination in (None, letter.destination)
        and wanted.kind in (None, letter.kind)
        and (wanted.reason is None or _has_reason(letter, wanted.reason, whole=wanted.whole_reason))
        and wanted.event_id in (None, letter.event_id)
        and (wanted.event_or_order_id is None or _is_of(letter, wanted.event_or_order_id))
        and (wanted.since is None or letter.at >= wanted.since)
        and (wanted.until is None or letter.at < wanted.until)
    )


def _has_reason(letter: DeadLetter, reason: str, *, whole: bool) -> bool:
    return letter.reason == reason if whole else reason in letter.reason


def _is_of(letter: DeadLetter, event_or_order_id: str) -> bool:
    # an id that the caller did not choose is the event's name, a colon and the order id
    return letter.event_id == event_or_order_id or letter.event_id.endswith(f":{event_or_order_id}")
