"""Dead letters: records whose outcome was dead or uncertain, kept for replay within limits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from capi_async.cipher import UnknownKey
from capi_async.spool.base import DeadLetter, LetterFilter, Record
from capi_async.spool.chunks import DamagedChunk, decode
from capi_async.spool.redis.entry import New, key_text, letter_place, pack, pack_fields
from capi_async.spool.redis.keys import Keys
from capi_async.spool.redis.options import Options
from capi_async.spool.redis.scripts import MOVE_LETTERS, PRUNE_LETTERS
from capi_async.spool.sealing import NOT_SEALED, SEALED_EARLIER, NotSealed, OpenSealed, Place, Seal, SealedEarlier

logger = logging.getLogger(__name__)

Call: TypeAlias = Callable[..., Awaitable[Any]]

DAY: Final = 86_400.0

#: Letters that are looked at, and moved, at a time.
_A_PAGE: Final = 500
#: Letters that cannot be read, each of which is told of once.
_MAX_ASIDE: Final = 1_000

_meta = msgspec.msgpack.Decoder(tuple[str, str, str, str, float, int])
_sealed = msgspec.msgpack.Decoder(tuple[str, bytes])


class DeadLetters:
    """All dead letters of a spool: a sorted set by number of what can be listed, and a hash of what can be sent."""

    def __init__(self, keys: Keys, seal: Seal, open_sealed: OpenSealed) -> None:
        self._keys = keys
        self._seal = seal
        self._open_sealed = open_sealed
        self._aside: set[str] = set()

    async def pages(self, ask: Call) -> AsyncIterator[list[DeadLetter]]:
        """All there are, oldest first, page by page; those that leave meanwhile do not disturb.

        One that cannot be read, as another release may have written it, stays where it is, and costs itself only.
        """
        last = "-inf"
        while True:
            found = _scored(
                await ask(
                    "ZRANGEBYSCORE", self._keys.letters, f"({last}" if last != "-inf" else last, "+inf",
                    "WITHSCORES", "LIMIT", 0, _A_PAGE,
                )
            )  # fmt: skip
            if not found:
                return
            page = []
            for member, score in found:
                last = repr(score)
                try:
                    destination, kind, event_id, reason, at, size = _meta.decode(member[16:])
                except msgspec.MsgspecError:
                    self._set_aside(last)
                    continue
                page.append(DeadLetter(int(score), destination, kind, event_id, reason, at, size))
            yield page

    def _set_aside(self, number: str, why: str = "it is damaged") -> None:
        if number not in self._aside and len(self._aside) < _MAX_ASIDE:
            self._aside.add(number)
            logger.error("dead letter %s in %s cannot be read and is left alone: %s", number, self._keys.letters, why)

    async def select(self, ask: Call, wanted: LetterFilter) -> list[DeadLetter]:
        """What is kept and wanted, oldest first."""
        found: list[DeadLetter] = []
        async for page in self.pages(ask):
            found += [letter for letter in page if _is_wanted(letter, wanted)]
            if wanted.limit is not None and len(found) >= wanted.limit:
                return found[: wanted.limit]
        return found

    async def read(self, ask: Call, page: Sequence[DeadLetter]) -> list[tuple[DeadLetter, Record]]:
        """Letters with their records; those that cannot be read are left out."""
        if not page:
            return []
        rows = await ask("HMGET", self._keys.letter_data, *[letter.id for letter in page])
        found = []
        for letter, row in zip(page, rows, strict=True):
            if row is not None:
                try:
                    name, data = _sealed.decode(row)
                    data = self._open_sealed(data, name, _place_of(letter))
                    found.append((letter, decode(letter.destination, data)[0]))
                except NotSealed:
                    self._set_aside(str(letter.id), NOT_SEALED)
                except SealedEarlier:
                    self._set_aside(str(letter.id), SEALED_EARLIER)
                except UnknownKey:
                    self._set_aside(str(letter.id), "it was encrypted with another key; add that to keys=")
                except (DamagedChunk, ValueError, msgspec.MsgspecError):
                    self._set_aside(str(letter.id), "it is damaged, or was encrypted for another place")
        return found

    async def move(
        self, call: Call, moves: Sequence[tuple[DeadLetter, dict[str, int], New | None]]
    ) -> list[DeadLetter]:
        """Take letters out, each with what that does to the ledger and the entry that it becomes; which were there."""
        by_destination: dict[str, list[tuple[DeadLetter, dict[str, int], New | None]]] = {}
        for move in moves:
            by_destination.setdefault(move[0].destination, []).append(move)
        moved: list[DeadLetter] = []
        for destination, mine in by_destination.items():
            of = self._keys.of(destination)
            arguments: list[Any] = []
            for letter, counts, new in mine:
                fields = b"" if new is None else pack_fields(new.fields(self._seal))
                arguments += [letter.id, pack(counts), "" if new is None else new.key, fields]
            keys = [self._keys.letters, self._keys.letter_data, of.ledger, of.stream, of.bell, of.wait, of.holders]
            gone, _ = await call(MOVE_LETTERS, keys, arguments)
            moved += [letter for (letter, _, _), one in zip(mine, gone, strict=True) if one]
        return moved

    async def replay(
        self,
        call: Call,
        ask: Call,
        wanted: LetterFilter,
        permitted: Callable[[str], bool] | None,
        now: float,
        *,
        token: Callable[[], str],
    ) -> dict[str, int]:
        """Make letters pending again; how many, per destination.

        An uncertain one is sent once more because somebody asks for it: it counts as never attempted.
        """
        replayed: Counter[str] = Counter()
        every = await self.select(ask, wanted)
        for start in range(0, len(every), _A_PAGE):
            moves: list[tuple[DeadLetter, dict[str, int], New | None]] = []
            for letter, record in await self.read(ask, every[start : start + _A_PAGE]):
                counts, new = {letter.kind: -1}, None
                if record.expires_at <= now:
                    counts["expired"] = 1
                elif permitted is not None and not permitted(letter.event_id):
                    counts["skipped"] = 1
                else:
                    size = len(record.body)
                    counts |= {"pending": 1, "bytes": size}
                    key = "" if record.order_key is None else key_text(record.order_key)
                    new = New([record], size, key, token())
                moves.append((letter, counts, new))
            again = {letter.id for letter, _, new in moves if new is not None}
            replayed.update(letter.destination for letter in await self.move(call, moves) if letter.id in again)
        return dict(replayed)

    async def end_matching(
        self, call: Call, ask: Call, matches: Callable[[Record], bool], kind: str
    ) -> Mapping[str, int]:
        """Remove those that match, and count them as what they are now; how many, per destination."""
        ended: Counter[str] = Counter()
        async for page in self.pages(ask):
            moves: list[tuple[DeadLetter, dict[str, int], New | None]] = [
                (letter, {letter.kind: -1, kind: 1}, None)
                for letter, record in await self.read(ask, page)
                if matches(record)
            ]
            ended.update(letter.destination for letter in await self.move(call, moves))
        return ended

    async def prune(self, call: Call, ask: Call, options: Options, now: float) -> None:
        """Let go of those that are too old, or too many; the ledger goes on counting them."""
        while await call(PRUNE_LETTERS, [self._keys.letters, self._keys.letter_data], [options.dead_max, _A_PAGE]):
            pass
        async for page in self.pages(ask):
            old = [letter for letter in page if letter.at < now - options.dead_days * DAY]
            await self.move(call, [(letter, {}, None) for letter in old])
            if len(old) < len(page):
                return


def _place_of(letter: DeadLetter) -> Place:
    return letter_place(letter.destination, letter.kind, letter.event_id, letter.at, letter.bytes)


def _scored(found: Any) -> list[tuple[bytes, float]]:
    """Members and scores, however the driver gives them."""
    if found and isinstance(found[0], list | tuple):
        return [(member, float(score)) for member, score in found]
    return [(member, float(score)) for member, score in zip(found[::2], found[1::2], strict=True)]


def _is_wanted(letter: DeadLetter, wanted: LetterFilter) -> bool:
    return (
        wanted.destination in (None, letter.destination)
        and wanted.kind in (None, letter.kind)
        and (wanted.reason is None or wanted.reason in letter.reason)
        and wanted.event_id in (None, letter.event_id)
        and (wanted.since is None or letter.at >= wanted.since)
        and (wanted.until is None or letter.at < wanted.until)
    )
