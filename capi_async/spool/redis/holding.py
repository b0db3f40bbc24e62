"""What one process holds of the streams: entries read or taken over, and those that it gives back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from capi_async.cipher import UnknownKey
from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Record, cut_short
from capi_async.spool.chunks import DamagedChunk
from capi_async.spool.redis import stops
from capi_async.spool.redis.entry import Entry, fields_of, read
from capi_async.spool.redis.line import Line, moment
from capi_async.spool.redis.link import Emptied, Link
from capi_async.spool.redis.reach import MAX_RETRY_S
from capi_async.spool.redis.saving import Saving
from capi_async.spool.redis.scripts import ADOPT, GIVE_BACK, LIST, RETAKE
from capi_async.spool.sealing import NOT_SEALED, REPEATED, SEALED_EARLIER, NotSealed, SealedEarlier

logger = logging.getLogger(__name__)

#: Entries that are read, or taken over, with one command.
_MAX_READ: Final = 64
#: Ids of entries that Redis lists at a time.
_A_LIST: Final = 1_000
#: Who holds what nobody holds.
NOBODY: Final = "nobody"


class Holding(Saving):
    """Reads entries, takes them over, gives them back, and knows which it has."""

    async def _fetch(self, line: Line, wanted: int) -> bool:
        """Read what nobody has, those first whose holder is gone; False if that has to wait."""
        link = self._link
        if link is None or self._clock.monotonic() < self._retry_at:
            return False
        adopted = False
        try:
            async with line.turn:
                if line.astray:
                    await self._compare(link, line)
                elif line.orphans:
                    line.orphans = False
                    number = await self._adopt(link, line)
                    line.orphans = line.orphans or number == _MAX_READ
                    adopted = number > 0
                else:
                    await self._read(link, line, wanted)
            if adopted:
                await self._heed(line)
        except Emptied:
            try:
                await self._begin_anew(link)
            except SpoolError as error:
                self._failed(error)
                return False
        except SpoolError as error:
            self._failed(error)
            return False
        except Exception as error:  # something in Redis that we never wrote: it must not end the requests under way
            self._fault(f"{line.name}: reading events fails and is tried again", error)
            self._retry_at = self._clock.monotonic() + MAX_RETRY_S
            return False
        self._seen()
        return True

    async def _read(self, link: Link, line: Line, wanted: int) -> int:
        """Read what nobody has; how many entries that are."""
        number = max(1, min(_MAX_READ, round(wanted / line.size_of)))
        stream = self._keys.of(line.name).stream
        # what is appended from here on is news again
        line.unread = False
        try:
            with line.change():
                found = await link.call("XREADGROUP", "GROUP", "w", self._me, "COUNT", number, "STREAMS", stream, ">")
        except BaseException:
            # Redis may have given them out, and its answer got lost
            line.unread = line.astray = True
            raise
        pairs = list(found.items()) if isinstance(found, dict) else found or []
        rows = pairs[0][1] if pairs else []
        if rows and isinstance(rows[0], list) and rows[0] and isinstance(rows[0][0], list | tuple):
            rows = rows[0]
        entered = 0
        for raw, flat in rows:
            entered += self._enter(line, raw.decode(), fields_of(flat), epoch=1)
        if rows:
            line.size_of = max(1.0, 0.5 * line.size_of + 0.5 * entered / len(rows))
            line.read_to = max(line.read_to, moment(rows[-1][0].decode()))
            line.others_took(line.read_to)
        line.unread = line.unread or len(rows) == number
        return len(rows)

    async def _adopt(self, link: Link, line: Line, *, but: str = "") -> int:
        """Take over what the dead held; how many entries that are."""
        keys = self._keys.of(line.name)
        try:
            with line.change():
                found = await link.run(
                    ADOPT, [keys.stream, self._keys.workers, keys.state], [self._me, self._lease_ms(), _MAX_READ, but]
                )
        except BaseException:
            line.orphans = line.astray = True
            raise
        self._enter_all(line, found)
        return len(found)

    def _enter_all(self, line: Line, found: Sequence[Sequence[Any]]) -> None:
        for raw, flat, epoch, state, version, tried in found:
            self._enter(
                line, raw.decode(), fields_of(flat), epoch=int(epoch), state=state, version=_whole(version),
                tried_at=_number(tried),
            )  # fmt: skip

    async def _compare(self, link: Link, line: Line) -> None:
        """Have what Redis says that this process has, and nothing else; called with the line's turn.

        An answer that got lost leaves entries here that nobody knows of; and what another process took over, or a
        Redis that lost its last second gave out again, is not this one's any more.
        """
        line.astray = False
        line.compared_at = self._clock.monotonic()
        line.stored = set(line.saving)
        try:
            mine = await self._listed(link, line)
            held = list(line.entries.values())
            gone = [entry for entry in held if entry.id not in mine and entry.id not in line.stored]
            stray = [
                number
                for number in mine
                if not (number in line.entries or number in line.stored or number in line.unreadable)
            ]
            line.unreadable &= mine
            if gone:
                line.lose(gone)
                self._say_lost(line, len(gone))
            keys = self._keys.of(line.name)
            while stray:
                some, stray = stray[:_MAX_READ], stray[_MAX_READ:]
                found = await link.run(RETAKE, [keys.stream, keys.state], [self._me, *some])
                self._enter_all(line, [one for one in found if one[0].decode() not in line.entries])
        except BaseException:
            line.astray = True
            raise
        finally:
            line.stored = None

    async def _listed(self, link: Link, line: Line) -> set[str]:
        """Ids of the entries that this process has, as Redis says."""
        found: set[str] = set()
        start = "-"
        while True:
            page = await link.run(LIST, [self._keys.of(line.name).stream], [self._me, start, _A_LIST])
            numbers = [number.decode() for number in page]
            found.update(numbers)
            if len(numbers) < _A_LIST:
                return found
            start = "(" + numbers[-1]

    def _enter(self, line: Line, number: str, fields: Mapping[bytes, bytes], **what: Any) -> int:
        """Hold an entry; how many records that are."""
        stale = line.entries.get(number)
        if stale is not None:  # this process was thought dead in between, or Redis forgot its last second
            line.lose([stale])
        token = fields.get(b"u", b"").decode("utf-8", "replace")
        known = line.recall(token, number)
        whole = known if known and isinstance(known[0], Record) else None
        try:
            entry = read(line.name, number, fields, self._sealing.open, mine=whole, **what)
        except UnknownKey as error:
            if isinstance(error, NotSealed | SealedEarlier):
                why = NOT_SEALED if isinstance(error, NotSealed) else SEALED_EARLIER
                logger.error("%s: stored events stay in Redis and are not sent: %s", line.name, why)
            else:
                logger.error("%s: stored events are encrypted with another key; add it to keys=", line.name)
            line.unreadable.add(number)  # it stays with this process until it ends; with the key, the next one reads it
            return 0
        except Exception as error:  # whatever stands there, nobody here wrote it so
            known_text = isinstance(error, DamagedChunk) or type(error) is ValueError
            self._bury(line, number, fields, what.get("epoch", 1), str(error) if known_text else type(error).__name__)
            return 0
        if self._sealing.is_repeated(token, number):
            self._bury(line, number, fields, entry.epoch, REPEATED, counted=False)
            return 0
        if token:
            self._sealing.note(token, number)
        if known and whole is None:
            for record in entry.records:
                if record is not None and record.at < len(known):
                    record.receipt = known[record.at]
        line.enter(entry, wall=self._clock.wall(), monotonic=self._clock.monotonic())
        if not entry.left:
            line.dirty[number] = entry
            line.work.set()
        return entry.left

    def _bury(
        self, line: Line, number: str, fields: Mapping[bytes, bytes], epoch: int, why: str, *, counted: bool = True
    ) -> None:
        """An entry that cannot be sent ends here, and its events count as dead, if the ledger counts them at all."""
        size, records = _whole(fields.get(b"b")), _whole(fields.get(b"n"))
        logger.error(
            "%s: %d stored events of entry %s cannot be sent: %s%s",
            line.name, records, number, why, "; they count as dead" if counted else "",
        )  # fmt: skip
        key = fields.get(b"k", b"").decode("ascii", "ignore") if counted else ""
        entry = Entry(line.name, number, [], epoch=epoch, key=key)
        if counted:
            entry.counts, entry.freed = {"dead": records} if records else {}, size
        line.entries[number] = entry
        line.dirty[number] = entry
        line.work.set()

    async def _give_back(self, link: Link, line: Line, entries: Sequence[Entry], to: str = NOBODY) -> None:
        """These are for whoever comes next. From here on nothing in this process deals with them."""
        held = [entry.id for entry in entries if not entry.lost]
        if entries:
            line.part(entries)
        await self._free(link, line, held, to)

    async def _free(self, link: Link, line: Line, numbers: Sequence[str], to: str) -> None:
        keys = self._keys.of(line.name)
        try:
            with line.change():
                for start in range(0, len(numbers), 500):
                    await link.run(GIVE_BACK, [keys.stream, keys.bell], [self._me, to, *numbers[start : start + 500]])
        except BaseException:
            line.astray = True
            raise

    async def _heed(self, line: Line) -> None:
        """End what others want stopped of what is held here; what is under way, unless its answer comes."""
        of = self._keys.of(line.name)
        wanted = await stops.asked(self._ask, of, line.entries)
        if not wanted:
            return
        # what lingers in a worker is not under way
        await self._recall()
        ends: dict[str, list[tuple[str, Outcome]]] = {}
        for number, (places, outcome) in wanted.items():
            entry = line.entries.get(number)
            if entry is None:
                continue
            meant = [record for record in entry.records if record is not None and record.at in places]
            ends[number] = self._settle_entry(line, entry, meant, outcome)
        line.drop_settled()
        await self._stored(line)
        for number, some in ends.items():
            if some:
                self._settled(line.name, [event_id for event_id, _ in some], [end for _, end in some])
            await stops.answer(self._call, of, number, len(some))

    def _settle_entry(
        self, line: Line, entry: Entry, hits: Sequence[Record], outcome: Outcome
    ) -> list[tuple[str, Outcome]]:
        if not hits:
            return []
        ends: list[tuple[str, Outcome]] = []
        now = self._clock.wall()
        entry.scrub = True
        line.dirty[entry.id] = entry
        for record in hits:
            if record.epoch > 0:
                line.doomed[id(record)] = (record, outcome)
            elif record.epoch == 0:
                end = cut_short(record, outcome, now)
                self._end(line, [record], end)
                ends.append((record.event_id, end))
        return ends


def _whole(value: Any) -> int:
    """A number that we wrote, or 0 if something else stands there."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0


def _number(value: Any) -> float:
    try:
        return float(value or 0.0)
    except ValueError:
        return 0.0
