"""What runs in the background: signs of life, a look at what is there, and news as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from capi_async.errors import SpoolError
from capi_async.spool.redis.line import Line, moment
from capi_async.spool.redis.link import Emptied, Link
from capi_async.spool.redis.reach import MAX_RETRY_S
from capi_async.spool.redis.scripts import LOOK
from capi_async.spool.redis.sweeping import Sweeping

logger = logging.getLogger(__name__)

#: Seconds between two looks at Redis, at most: whatever was not heard of is found that soon.
_LOOK_S: Final = 0.8
#: Seconds between two attempts to listen to a Redis that is away.
_RETRY_S: Final = 0.2
#: Seconds that a listener waits for news before it asks again.
_LISTEN_S: Final = 1.0
_TIDY_S: Final = 60.0


class Minding(Sweeping):
    """Looks after what this process holds, and hears what others say."""

    async def _refresh(self) -> None:
        if self._link is not None:
            await self._look(self._link)

    async def _look(self, link: Link, me: str | None = None) -> None:
        """Say that this process lives, and see the counts, what nobody has read, and what the dead left."""
        keys = [self._keys.workers]
        for name in self._lines:
            of = self._keys.of(name)
            keys += [of.stream, of.ledger]
        before = {name: line.changes for name, line in self._lines.items()}
        living, found = await link.run(LOOK, keys, [self._me if me is None else me, self._lease_ms()])
        self._seen()
        self.workers = max(1, int(living))
        now = self._clock.monotonic()
        for line, (orphans, unread, mine, ledger) in zip(self._lines.values(), found, strict=True):
            line.learn(ledger)
            known = len(line.entries) + len(line.unreadable)
            steady = line.changes == before[line.name] and not line.changing
            if steady and mine == known == 0:
                line.compared_at = now
            elif (steady and mine != known) or now - line.compared_at > self._options.lease_s:
                line.astray = True
            line.orphans = line.orphans or orphans > 0
            line.unread = line.unread or unread > 0
            if self._deliver and (line.orphans or line.unread or line.astray):
                self._wake(line.name)

    async def _tend(self) -> None:
        """Look after everything, until cancelled."""
        every_s = min(_LOOK_S, self._options.lease_s / 5)
        while not self._closing:
            link = self._reach()
            try:
                # a connection on which nothing comes back any more must not cost the lease of all that is held
                async with asyncio.timeout(max(MAX_RETRY_S, self._options.lease_s / 3)):
                    await self._look(link)
                if not self._deliver:
                    async with asyncio.timeout(self._options.patience_s):
                        await self._keep_nothing()
            except Emptied:
                try:
                    await self._begin_anew(link)
                except SpoolError as error:
                    self._failed(error)
            except SpoolError as error:
                self._failed(error)
            except TimeoutError:
                self._failed(SpoolError(f"Redis at {self._options.place} does not answer"))
            await asyncio.sleep(every_s)

    async def _keep_nothing(self) -> None:
        """Whoever delivers nothing gives back what a failure left here."""
        for line in self._lines.values():
            if not line.sweeps and (line.entries or line.astray):
                await self._hand_over(line)

    async def _tidy(self) -> None:
        """Let go of dead letters that are too old, until cancelled."""
        while not self._closing:
            await self._letters.prune(self._call, self._ask, self._options, self._clock.wall())
            await asyncio.sleep(_TIDY_S)

    async def _listen(self) -> None:
        """Hear of new entries, and of throttling, as they come."""
        link = self._reach()
        by_bell = {self._keys.of(name).bell: line for name, line in self._lines.items()}
        while not self._closing:
            try:
                told = await link.listen(self._heard_to, _LISTEN_S)
            except SpoolError as error:
                self._failed(error)
                await asyncio.sleep(_RETRY_S)
                continue
            for key, news in told:
                self._heard_to[key] = news[-1][0]
                try:
                    await self._heard(key, by_bell.get(key), [fields for _, fields in news])
                except SpoolError as error:
                    self._failed(error)
                except Exception as error:
                    self._fault(f"something in {key} cannot be read and is left alone", error)

    async def _begin_to_listen(self, link: Link) -> None:
        """From here on everything is heard, also what is said before the task that listens has started.

        Throttling of earlier is no news: the account's bucket in Redis tells of it. Of new entries, whatever was said
        last is heard once more, because nobody says it again.
        """
        bells = [self._keys.of(name).bell for name in self._lines if self._deliver]
        last = await link.call("XREVRANGE", self._keys.news, "+", "-", "COUNT", 1)
        self._heard_to = dict.fromkeys(bells, "0") | {self._keys.news: _first_id(last) if last else "0"}

    async def _heard(self, key: str, line: Line | None, news: Sequence[Mapping[str, str]]) -> None:
        if line is None:
            for fields in news:
                try:
                    self._rates.heard(fields["a"], float(fields["s"]))
                except (KeyError, ValueError):
                    logger.error("something in %s is no news of ours and is left alone", key)
            for name in self._lines:
                self._wake(name)
            return
        # a bell keeps its last ring only: one of another kind may have drowned that of a new entry
        only_new = all("i" in fields and "s" not in fields for fields in news)
        if only_new and (line.unread or _is_read(line, news[-1]["i"])):
            return
        try:
            if any("s" in fields for fields in news):
                await self._heed(line)
        finally:
            line.unread = True
            line.orphans = line.orphans or not only_new
            self._wake(line.name)


def _is_read(line: Line, number: str) -> bool:
    try:
        return moment(number) <= line.read_to
    except ValueError:
        return False


def _first_id(found: Any) -> str:
    """The id of the first entry of an answer, as the driver gives it."""
    number = found[0][0]
    return number.decode() if isinstance(number, bytes) else str(number)
