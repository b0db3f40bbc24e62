"""``capi-async queue``: what waits in a spool, what ended as a dead letter, replay, erasure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Any, Final, TypeVar, cast

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from capi_async.cli.queue_states import told_states, waiting_text
from capi_async.cli.running import EXIT_LOST, plainly
from capi_async.cli.subjects import read_subjects, subject_of
from capi_async.cli.terminal import say, write, write_json
from capi_async.clock import SYSTEM_CLOCK
from capi_async.engine.erasure import SubjectLooks
from capi_async.errors import ConfigError
from capi_async.nearest import nearest
from capi_async.outcome import Outcome
from capi_async.spool import open_spool
from capi_async.spool.base import DeadLetter, LetterFilter, Spool
from capi_async.spool.sqlite import SqliteReader, parse

T = TypeVar("T")

#: Dead letters that are replayed between two steps of the progress bar.
_A_STEP: Final = 500

_FORGOTTEN: Final = Outcome(kind="forgotten", reason="erased on request")

app = typer.Typer(help="Look into a durable spool: what waits, what failed; replay, erase.", no_args_is_help=True)

SpoolUrl = Annotated[
    str,
    typer.Argument(
        help="Such as sqlite:///events.db or redis://host:6379/0; env:NAME reads it there.", metavar="SPOOL"
    ),
]
Destination = Annotated[str | None, typer.Option(help="Only of this destination.", metavar="NAME")]
Reason = Annotated[str | None, typer.Option(help="Only with this text in the reason.", metavar="TEXT")]
EventId = Annotated[str | None, typer.Option(help="Only of this event.", metavar="ID")]
Since = Annotated[datetime | None, typer.Option(help="Only what ended at or after this moment (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only what ended before this moment (UTC).")]
_KINDS: Final = ("dead", "uncertain")
Kind = Annotated[str | None, typer.Option(help="Only dead, or only uncertain.", metavar="KIND")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
@plainly
def status(
    spool: SpoolUrl,
    ask: Annotated[
        bool,
        typer.Option(help="Also ask the processes that run (3 s): what is paused or broken and why, the oldest's age."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the ledger of every destination, those that no configuration names any more included."""

    async def show(it: Spool) -> None:
        ledger = it.ledger()
        states = await told_states(it) if ask else {}
        if as_json:
            plain = {name: msgspec.structs.asdict(counts) for name, counts in ledger.items()}
            for name, facts in states.items():
                plain.get(name, {}).update(facts)
            write_json(plain if ask else ledger)
            return
        for name, counts in ledger.items():
            some = {kind: number for kind, number in msgspec.structs.asdict(counts).items() if number}
            write(f"{name}: " + (", ".join(f"{number} {kind}" for kind, number in some.items()) or "nothing"))
            if counts.pending and (told := states.get(name)):
                write("  " + waiting_text(told))
            elif counts.pending and ask:
                write("  no process that runs delivers there")
            if not counts.balanced:
                say("  does not balance")

    _run(spool, show, reading=True)


@app.command()
@plainly
def dead(
    spool: SpoolUrl,
    destination: Destination = None,
    kind: Kind = None,
    reason: Reason = None,
    event_id: EventId = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="At most so many, oldest first.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters: records that ended dead or uncertain and are kept for replay."""
    wanted = _filter(destination, kind, reason, event_id, since, until, limit)

    async def show(it: Spool) -> None:
        for letter in await it.letters(wanted):
            if as_json:
                write_json(_plain(letter))
            else:
                write(f"{_time(letter.at)}  {letter.destination}  {letter.kind}  {letter.event_id}  {letter.reason}")

    _run(spool, show, reading=True)


@app.command()
@plainly
def export(
    spool: SpoolUrl, destination: Destination = None, kind: Kind = None, reason: Reason = None, since: Since = None
) -> None:
    """Print all dead letters as JSON lines: ids, reasons and times, never what was in the events."""
    wanted = _filter(destination, kind, reason, None, since, None, None)

    async def show(it: Spool) -> None:
        for letter in await it.letters(wanted):
            write_json(_plain(letter))

    _run(spool, show, reading=True)


@app.command()
@plainly
def replay(
    spool: SpoolUrl,
    destination: Destination = None,
    kind: Kind = None,
    reason: Reason = None,
    event_id: EventId = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
) -> None:
    """Make dead letters pending again; the workers of the spool deliver them, under their old event ids.

    Each goes only to the destination that missed it; what has grown too old is expired instead.
    """
    wanted = _filter(destination, kind, reason, event_id, since, until, None)

    async def go(it: Spool) -> None:
        every = await it.letters(wanted)
        if dry_run:
            write(f"{len(every)} dead letters would be replayed")
            return
        replayed: dict[str, int] = {}
        last = until or datetime.now(UTC)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("replaying", total=len(every))
            for _ in range(0, len(every), _A_STEP):
                # bounded by time as well: what fails again meanwhile must not be taken twice
                step = _filter(destination, kind, reason, event_id, since, last, _A_STEP)
                for name, number in (await it.replay(step)).items():
                    replayed[name] = replayed.get(name, 0) + number
                progress.advance(task, _A_STEP)
        for name, number in replayed.items():
            write(f"{name}: {number} pending again")
        if (expired := len(every) - sum(replayed.values())) > 0:
            write(f"{expired} had expired")

    _run(spool, go, reading=dry_run)


_SEEN: Final = "Others on this host see it in the list of processes, and it stays in the shell's history: "

Subjects = Annotated[
    str | None,
    typer.Argument(
        help="A file with one person per line (an e-mail address, `email: ...`, `phone: ...`, `external_id: ...`, or a "
        "JSON object with these fields), or - for standard input. On a terminal, without it, they are asked for "
        "and not shown.",
        metavar="[FILE|-]",
    ),
]
Email = Annotated[list[str] | None, typer.Option(help=f"{_SEEN}better FILE or -. May be repeated.")]
Phone = Annotated[list[str] | None, typer.Option(help=f"{_SEEN}better FILE or -. May be repeated.")]
ExternalId = Annotated[list[str] | None, typer.Option(help=f"{_SEEN}better FILE or -. May be repeated.")]
LeadId = Annotated[
    list[str] | None,
    typer.Option(help="An id that a platform gave the person, of a lead ad or its login. May be repeated."),
]


@app.command()
@plainly
def forget(
    spool: SpoolUrl,
    subjects: Subjects = None,
    email: Email = None,
    phone: Phone = None,
    external_id: ExternalId = None,
    lead_id: LeadId = None,
    phone_region: Annotated[str | None, typer.Option(help="Country of phones without country code.")] = None,
) -> None:
    """Erase what is stored about people, and say how many records that was.

    Processes that run are asked to erase what they have taken up; what they are sending at this moment is not counted.
    Exit code 1: something of what was given cannot be read, and was not looked for.
    """
    given = [
        ("an option", subject_of({field: value}))
        for field, values in (
            ("email", email),
            ("phone", phone),
            ("external_id", external_id),
            ("lead_id", lead_id),
        )
        for value in values or ()
    ]
    looks = SubjectLooks(phone_region)
    unread = 0
    for where, subject in chain(given, read_subjects(subjects) if subjects is not None or not given else ()):
        for sentence in looks.add(subject.user, subject.lead_ids):
            say(f"capi-async: {where}: {sentence}; it is not looked for")
            unread += 1
    matches = looks.matches()

    async def erase(it: Spool) -> None:
        found = await it.settle_matching(matches, _FORGOTTEN)
        for name, number in found.items():
            write(f"{name}: {number} forgotten")
        write(f"{sum(found.values())} records erased")

    _run(spool, erase)
    if unread:
        raise typer.Exit(EXIT_LOST)


def _run(url: str, command: Callable[[Spool], Awaitable[None]], *, reading: bool = False) -> None:
    """Do something with a spool; ``reading``: it asks for counts and dead letters only, and a file stays untouched."""

    async def main() -> None:
        async with opened(url, reading=reading) as spool:
            await command(spool)

    asyncio.run(main())


@asynccontextmanager
async def opened(url: str, *, reading: bool) -> AsyncIterator[Spool]:
    """The spool at an address, to look into (``reading``) or to change; nothing is delivered.

    Raises:
        ConfigError: There is no such spool, or it does not outlive its process.
    """
    if url.startswith("env:"):  # an address with a password is better not seen in a list of processes
        name = url.removeprefix("env:")
        url = os.environ.get(name, "")
        if not url:
            raise ConfigError(f"the environment variable {name} is not set{nearest(name, os.environ, 0.85)}")
    if reading and url.startswith("sqlite:"):
        spool = cast("Spool", SqliteReader(parse(url)))
    else:
        spool = open_spool(url, clock=SYSTEM_CLOCK)
    if not spool.durable:
        raise ConfigError("this spool does not outlive its process: there is nothing to look into")
    if url.startswith("sqlite:") and not parse(url).path.exists():
        raise ConfigError("there is no such file; looking into a spool does not make one")
    # it delivers nothing, so that what waits stays with the workers
    await spool.open((), lambda _name: None, deliver=False)
    try:
        yield spool
    finally:
        await spool.close()


def _filter(
    destination: str | None,
    kind: str | None,
    reason: str | None,
    event_id: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
) -> LetterFilter:
    if kind is not None and kind not in _KINDS:
        there = f"there are {', '.join(_KINDS)}{nearest(kind, _KINDS)}"
        raise ConfigError(f"--kind: there is no kind {kind[:20]!r} of dead letters; {there}")
    return LetterFilter(
        destination=destination,
        kind=kind,
        reason=reason,
        event_id=event_id,
        since=None if since is None else _seconds(since),
        until=None if until is None else _seconds(until),
        limit=limit,
    )


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(letter: DeadLetter) -> dict[str, Any]:
    return {**msgspec.structs.asdict(letter), "at": _time(letter.at)}
