"""One run of ``send``: read, hand to the client, wait, count."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from capi_async.cli.mapping import Mapper
from capi_async.cli.readers import Good, Problem, Source, pumped, read
from capi_async.cli.reporting import Reporter
from capi_async.cli.running import say
from capi_async.cli.summary import Summary
from capi_async.cli.table import DestinationFacts, facts
from capi_async.cli.unidentified import Unidentified
from capi_async.client import Client
from capi_async.errors import CapiError, EventError
from capi_async.spec import Destination

#: With nothing left but destinations whose account is refused, how long somebody may still mend it.
_HOPELESS_S: Final = 10.0
_INTERRUPTED_S: Final = 10.0
_INDEX: Final = re.compile(r"\[(\d+)\]\.?(.*)", re.DOTALL)


class Ended(Struct, frozen=True, kw_only=True):
    """The result of a run.

    Attributes:
        events: Good lines read.
        problems: The first bad lines.
        unread: Identifiers of skipped events that could not be read, and why.
        stopped: Why not everything was read or awaited; empty if it was.
        lost: Whether something was rejected or lost, a line was bad, or no event was delivered.
    """

    destinations: Mapping[str, DestinationFacts]
    events: int
    bad_lines: int
    problems: Sequence[Problem]
    unread: Sequence[str]
    seconds: float
    interrupted: bool
    stopped: str
    lost: bool


class Delivery:
    """Delivers sources to destinations, once.

    Args:
        options: Of the client.
        timeout_s: Seconds to wait for room without any progress.
        deadline_s: Seconds to wait for outcomes after the last line.
        group_by: Field of a CSV whose equal values in neighbouring rows make one event; empty for none.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        options: Mapping[str, Any],
        *,
        timeout_s: float,
        deadline_s: float,
        group_by: str = "",
    ) -> None:
        self._summary = Summary(destination.name for destination in destinations)
        self._client = Client(destinations, hooks=[self._summary], **options)
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._group_by = group_by
        self._events = 0
        self._reporter = Reporter()
        self._unread = Unidentified()
        self._stopped = ""

    async def run(self, sources: Sequence[Source], mapper: Mapper | None) -> Ended:
        """Read and deliver everything; an interruption ends it early and tells what is left."""
        interrupted = False
        started = time.monotonic()
        client = await self._client.__aenter__()
        try:
            with _Bar(sources, client) as bar:
                await self._feed(sources, mapper, bar)
                await self._wait(bar)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            interrupted = True
            self._stopped = "interrupted"
            say("capi-async: interrupted, closing; once more ends at once")
        finally:
            for source in sources:
                source.close()
            report = await client.aclose(_INTERRUPTED_S if interrupted else 0.0)
        found = facts(client.ledger(), self._summary)
        return Ended(
            destinations=found,
            events=self._events,
            bad_lines=self._reporter.bad_lines,
            problems=self._reporter.problems,
            unread=self._unread.lines(),
            seconds=round(time.monotonic() - started, 3),
            interrupted=interrupted,
            stopped=self._stopped,
            lost=bool(
                self._reporter.bad_lines
                or report.unstored
                or self._stopped
                or any(one.lost for one in found.values())
                or not any(one.delivered for one in found.values())
            ),
        )

    async def _feed(self, sources: Sequence[Source], mapper: Mapper | None, bar: _Bar) -> None:
        try:
            for source in sources:
                async with aclosing(pumped(read(source, mapper, group_by=self._group_by))) as pieces:
                    async for piece in pieces:
                        good: list[Good] = []
                        for one in piece:
                            good.append(one) if isinstance(one, Good) else self._reporter.tell(one)
                        await self._send(good)
                        bar.show()
            self._reporter.end()
        except CapiError as error:
            # with nothing sent yet it is a mistake like any other; else the table must still be told
            if not self._events:
                raise
            self._stopped = str(error)

    async def _send(self, lines: Sequence[Good]) -> None:
        """Hand one piece to the client, without the lines that only it can tell are bad."""
        good = list(lines)
        while good:
            try:
                await self._client.send_many([one.event for one in good], timeout_s=self._timeout_s)
            except EventError as error:
                match = _INDEX.fullmatch(error.field)
                if match is None:
                    raise
                bad = good.pop(int(match[1]))
                self._reporter.tell(Problem(bad.file, bad.line, match[2], error.reason))
                continue
            break
        self._events += len(good)
        skipped = self._summary.take_unidentified()
        self._unread.look(self._client, (one.event for one in good if one.event.event_id in skipped))
        for one in good:
            self._reporter.repeats.look(one)

    async def _wait(self, bar: _Bar) -> None:
        """Until everything has its outcome, the deadline has come, or waiting has become useless."""
        now = time.monotonic()
        until, hopeless_since = now + self._deadline_s, 0.0
        while not await self._client.flush(min(0.25, max(0.0, until - now))):
            bar.show()
            now = time.monotonic()
            if now >= until:
                self._stopped = self._stopped or f"the deadline of {self._deadline_s:g} s has come"
                return
            states = self._client.states()
            waiting = [name for name, counts in self._client.ledger().items() if counts.pending]
            if not waiting or any(states[name].state != "paused" for name in waiting):
                hopeless_since = 0.0
            elif not hopeless_since:
                hopeless_since = now
            elif now - hopeless_since > _HOPELESS_S:
                self._stopped = self._stopped or f"{', '.join(waiting)} refuses the account"
                return
        bar.show()


class _Bar:
    """Progress on a terminal; nothing elsewhere."""

    def __init__(self, sources: Sequence[Source], client: Client) -> None:
        self._sources = sources
        self._client = client
        self._bytes = sum(source.size for source in sources)
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        known = all(source.size for source in sources)
        self._read = self._progress.add_task("reading", total=self._bytes if known else None, note="")
        self._settled = self._progress.add_task("delivering", total=None, note="")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self) -> None:
        """Bring it up to date."""
        if self._progress.disable:
            return
        accepted, settled = _sums(self._client)
        self._progress.update(self._read, completed=sum(_positions(self._sources)))
        self._progress.update(self._settled, completed=settled, total=accepted or None, note=f"{settled:,}")


def _sums(client: Client) -> tuple[int, int]:
    ledger = client.ledger().values()
    return sum(counts.accepted for counts in ledger), sum(counts.settled for counts in ledger)


def _positions(sources: Sequence[Source]) -> Iterator[int]:
    for source in sources:
        yield source.position
