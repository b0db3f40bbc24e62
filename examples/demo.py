"""Real shop events through one client to every platform, each played by a strict local sandbox that often fails.

    python examples/demo.py [--events N] [--seed S] [--json demo.json]

Needs no account and no network. Exits with 0 only if every event is accounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from demo_checks import Sent, arrived, check
from demo_sandbox import POISON, SandboxProcess
from msgspec.structs import replace
from retail import read_events
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from capi_async import ClickIds, Client, Event, Receipt
from capi_async.cli.accounts import sandbox_destinations
from capi_async.cli.running import run
from capi_async.cli.summary import Summary
from capi_async.cli.table import facts, print_whole, show
from capi_async.spool.base import Ledger

#: One event in so many is poisoned.
_POISON_EVERY: Final = 1_000
_FLUSH_S: Final = 80.0
_CHUNK: Final = 500
#: Seconds between two lines where there is no terminal to draw bars on.
_LINE_S: Final = 1.5
#: Smaller batches than the platforms take, so that there are requests enough for faults to strike; a short patience,
#: so that hanging requests do not hold up the demo.
_SETTINGS: Final[Mapping[str, Any]] = {"max_batch_events": 250, "request_timeout_s": 2.0}
_OVERRIDES: Final[Mapping[str, Mapping[str, Any]]] = {
    "ga4": {"request_timeout_s": 2.0, "max_attempts": 8},
    **dict.fromkeys(("snap", "snap_v2", "pinterest", "tiktok", "meta", "reddit", "linkedin"), _SETTINGS),
    "tiktok_pixel": {"request_timeout_s": 2.0},
    "webhook": {"request_timeout_s": 2.0},
    # carts are no conversions there unless one says so
    "cutmeshort": {"request_timeout_s": 2.0, "max_attempts": 8, "event_names": {"add_to_cart": "lead:added_to_cart"}},
}
#: Those that are not known to recognise a second copy of any event.
_KEYLESS: Final = ("reddit", "linkedin", "webhook")


class Finished(msgspec.Struct):
    """What the run left behind."""

    sent: list[Sent]
    ledger: Mapping[str, Ledger]
    stats: Mapping[str, Mapping[str, Any]]
    summary: Summary
    seconds: float


def poisoned(events: Sequence[Event]) -> list[Event]:
    """The events, one in a thousand of them such that every platform refuses it although it looks good."""
    return [
        _poison(event) if index % _POISON_EVERY == _POISON_EVERY // 2 else event
        for index, event in enumerate(map(_visit, events))
    ]


def _visit(event: Event) -> Event:
    """The event with the browser's id that Google Analytics would have set, the same for all events of a person."""
    number = zlib.crc32(repr(event.user.external_id or event.user.email or event.event_id).encode()) + 1
    return replace(event, click=ClickIds(ga_client_id=f"{number}.1700000000"))


def _poison(event: Event) -> Event:
    # CutMeShort's leads carry no event id: there, the click id gives it away
    order_id = f"{POISON}{event.order_id}" if event.order_id else None
    event_id = f"{POISON}{event.event_id}"
    return replace(event, event_id=event_id, order_id=order_id, click=replace(event.click, cms_rf=event_id))


async def deliver(events: Sequence[Event], sandbox: SandboxProcess, console: Console) -> Finished:
    """Send all events to all platforms and wait until each has its outcome."""
    destinations = sandbox_destinations(sandbox.url, overrides=_OVERRIDES)
    summary = Summary(destination.name for destination in destinations)
    started = time.monotonic()
    receipts: list[Receipt] = []
    async with Client(destinations, hooks=[summary]) as client:
        watcher = asyncio.create_task(_watch(client, len(events), console))
        for at in range(0, len(events), _CHUNK):
            receipts += await client.send_many(events[at : at + _CHUNK], timeout_s=30.0)
        await client.flush(_FLUSH_S)
        seconds = time.monotonic() - started
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        console.print("Collecting the outcomes of every event, and what the sandbox counted ...", soft_wrap=True)
        sent = [
            Sent(
                event.event_id,
                event.event_id.startswith(POISON),
                await receipt.outcomes(timeout_s=0),
                # a lead has no key there, nor has a cart; a sale has its invoice number
                (*_KEYLESS, "cutmeshort", "ga4") if event.name == "add_to_cart" else _KEYLESS,
            )
            for event, receipt in zip(events, receipts, strict=True)
        ]
        ledger = client.ledger()
    async with aiohttp.ClientSession() as session, session.get(sandbox.url("_sandbox/stats?detail=1")) as answer:
        every = msgspec.json.decode(await answer.read())
    # the sandbox plays a shop, too, which nothing is sent to
    stats = {name: every[name] for name in ledger}
    return Finished(sent, ledger, stats, summary, seconds)


async def _watch(client: Client, total: int, console: Console) -> None:
    """One bar per destination on a terminal; elsewhere a line now and then, so that nobody has to guess."""
    if not console.is_terminal:
        while True:
            ledger = client.ledger()
            settled = sum(one.settled for one in ledger.values())
            console.print(f"  {settled:,} of {total * len(ledger):,} outcomes", soft_wrap=True)
            await asyncio.sleep(_LINE_S)
    bars = Progress(
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bars:
        tasks = {name: bars.add_task(name, total=total) for name in client.ledger()}
        while True:
            for name, counts in client.ledger().items():
                bars.update(tasks[name], completed=counts.settled)
            await asyncio.sleep(0.2)


def _still(console: Console, what: str) -> None:
    console.print(f"  {what}", soft_wrap=True)


def tell(done: Finished, fails: Mapping[str, Sequence[str]], console: Console) -> None:
    """The tables of both sides, and the checks."""
    console.print("\n[bold]What the client says[/]")
    show(console, facts(done.ledger, done.summary))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("platform", no_wrap=True)
    # short headings: the table fits 80 columns
    for heading in ("held", "copies", "twice", "refused", "requests", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, stats in done.stats.items():
        failed = sum(stats["faults"].values())
        table.add_row(
            name,
            f"{arrived(stats):,}",
            f"{stats['duplicates']:,}",
            f"{stats['counted_twice']:,}",
            f"{stats['rejected']:,}",
            f"{stats['requests']:,}",
            f"{failed:,} ({failed / max(1, stats['requests']):.1%})",
        )
    console.print("\n[bold]What the sandbox says[/]")
    print_whole(console, table)
    console.print(
        "held: events; copies: absorbed; twice: counted twice; failed: of the requests, on purpose",
        soft_wrap=True,
    )
    kinds: dict[str, int] = {}
    for stats in done.stats.values():
        for kind, count in stats["faults"].items():
            kinds[kind] = kinds.get(kind, 0) + count
    console.print(
        f"faults: {', '.join(f'{count:,} {kind}' for kind, count in sorted(kinds.items()))}\n", soft_wrap=True
    )
    console.print(
        "[bold]Why the two differ:[/] the client counts events, each once, by what became of it in the end: rejected "
        "are the poisoned ones (and what a platform does not take). The sandbox counts what it was sent, each time: "
        "where one bad event costs its whole request, the good ones beside it are refused with it, sent again without "
        "it, and accepted. Copies absorbed are events whose answer was lost on the way: they were sent again under the "
        "same id, and the platform counted them once. Requests that failed were meant to, see the faults above.\n",
        soft_wrap=True,
    )
    for name, destinations in fails.items():
        if destinations:
            console.print(f"[red]FAILED[/] {name}: {', '.join(destinations)}", soft_wrap=True)
        else:
            console.print(f"[green]ok[/]      {name}", soft_wrap=True)


def introduce(events: Sequence[Event], console: Console) -> None:
    """What is about to happen, and what of it is not as in life."""
    orders = sum(event.name == "purchase" for event in events)
    bad = sum(event.event_id.startswith(POISON) for event in events)
    console.print(
        f"[bold]{len(events):,} events of a real shop[/]: {orders:,} orders (purchase) and their "
        f"{len(events) - orders:,} lines (add_to_cart). The people behind them are invented, and so is the year: "
        "times are moved to now, and the days between them quartered, because one platform takes three.\n"
        "One client sends each of them to every platform, played by a strict sandbox on this machine. There, 5 % of "
        f"requests fail in various ways, and one event in a thousand is poisoned ({bad} in all): it looks good and is "
        "refused. Batches stop at 250 events where a platform takes more, so that faults have requests to strike.\n"
        "CutMeShort takes one event a request and 60 requests a minute; that rate is raised here, on both sides. "
        "It cannot recognise a second copy of a lead: where the answer to one is lost, the lead is uncertain and not "
        "sent again. Google Analytics says yes to anything: nobody is told of a poisoned event there.",
        soft_wrap=True,
    )


def written(path: Path, done: Finished, fails: Mapping[str, Sequence[str]]) -> None:
    """The same for machines."""
    found = {
        "events": len(done.sent),
        "poisoned": sum(one.poisoned for one in done.sent),
        "seconds": round(done.seconds, 2),
        "ledger": done.ledger,
        "sandbox": done.stats,
        "checks": {name: not destinations for name, destinations in fails.items()},
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def main() -> int:
    """Run the demo; 0 if every check holds."""
    parser = argparse.ArgumentParser(description="Real shop events to every platform in a local sandbox.")
    parser.add_argument("--events", type=int, default=None, metavar="N", help="only the first N events")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of faults and invented people")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the counts there")
    wanted = parser.parse_args()
    console = Console(highlight=False)
    # the table tells it all; without a handler, Python would print bare warnings between its lines
    logging.getLogger("capi_async").addHandler(logging.NullHandler())
    console.print("Reading the shop's orders and inventing the people behind them ...")
    events = poisoned(read_events(seed=wanted.seed)[: wanted.events])
    introduce(events, console)
    console.print("\nStarting the sandbox, then sending; about half a minute for all events:", soft_wrap=True)
    try:
        with SandboxProcess(wanted.seed, waits=partial(_still, console)) as sandbox:
            done = run(deliver(events, sandbox, console))
            console.print("Ending the sandbox, then comparing every event with what it held ...", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    fails = check(done.sent, done.ledger, done.stats)
    tell(done, fails, console)
    if wanted.json:
        written(wanted.json, done, fails)
        console.print(f"\nThe counts of both sides are in {wanted.json.resolve()}", soft_wrap=True)
    good = not any(fails.values())
    verdict = "Every event is accounted for" if good else "Something is not accounted for"
    console.print(f"\n[bold]{verdict}[/], {done.seconds:.1f} s", soft_wrap=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
