"""``capi-async bench --web``: what one event costs a web application, at several rates of arrivals.

The same rows arrive at the same moments for every contender, in processes of their own, interleaved. A contender's CPU
time is that above an empty driver's in the same round, which takes the arrivals and does nothing.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from capi_async.bench import harness
from capi_async.bench import report as reporting
from capi_async.bench.contenders import Entry
from capi_async.bench.environment import Peers

#: Arrivals per second, and the seconds of each measured stretch.
RATES: Final[Mapping[int, float]] = {20: 8.0, 200: 5.0, 1_000: 4.0}
#: Of a stretch: how much of it goes before the clock starts, and how much follows with a watch on the loop.
_WARM_UP: Final = 0.3
_LAG: Final = 0.5
_REDIS: Final = "{redis}"

DRIVER: Final = Entry(key="driver", title="the driver alone", module="arrivals", kind="Driver")
#: Whom ratios are against.
PEER: Final = "posthog"
HAND: Final = "hand"


def _ours(key: str, title: str, **options: Any) -> Entry:
    return Entry(key=key, title=f"capi_async, {title}", module="ours", kind="OursInAWebApp", options=options)


ENTRIES: Final[tuple[Entry, ...]] = (
    _ours("memory", "1 destination, memory"),
    _ours("memory4", "4 destinations, memory", to=4),
    _ours("sqlite", "1 destination, SQLite", spool="sqlite"),
    _ours("redis", "1 destination, Redis", spool=_REDIS),
    _ours("alone", "1 event per request, outcome awaited", alone=True),
    Entry(key=HAND, title="by hand, one POST each", module="floor", kind="ByHandInAWebApp"),
    Entry(
        key=PEER, title="posthog, capture", module="web_peers", kind="Queued", peer="posthog",
        options={"library": "posthog"},
    ),
    Entry(key="posthog_async", title="posthog, AsyncClient", module="web_peers", kind="PostHogAsync", peer="posthog"),
    Entry(
        key="segment", title="segment-analytics-python, track", module="web_peers", kind="Queued",
        peer="segment-analytics-python", options={"library": "segment"},
    ),
    Entry(
        key="meta", title="facebook-business, in a thread", module="web_peers", kind="Meta", peer="facebook-business",
    ),
)  # fmt: skip


class WebFigures(Struct, frozen=True, kw_only=True):
    """One contender at one rate, summed up: medians of the rounds.

    Attributes:
        rate: Arrivals per second.
        cpu_us: Microseconds of CPU per event above the driver's; ``low`` and ``high`` are the extremes.
        call_p50_us, call_p99_us: How long the route waited for the call.
        over: ``posthog`` and ``hand`` to how many times their CPU time this one took: medians of the rounds' ratios.
    """

    key: str
    title: str
    version: str
    rate: int
    repeats: int
    cpu_us: float
    cpu_us_low: float
    cpu_us_high: float
    call_p50_us: float
    call_p99_us: float
    lag_p50_ms: float
    lag_p99_ms: float
    peak_rss_mb: float
    over: dict[str, float] = {}


class WebReport(Struct, frozen=True, kw_only=True):
    """A whole comparison.

    Attributes:
        driver_us: Rate to the driver's own microseconds of CPU per arrival, which are not in the figures.
        missing: Contender and rate to the reason why it has no figures.
        sync_us: How long this disk takes to sync one small write, median and p99.
    """

    date: str
    command: str
    facts: dict[str, str]
    contenders: list[WebFigures]
    driver_us: dict[str, float]
    missing: dict[str, str] = {}
    sync_us: tuple[float, float] = (0.0, 0.0)


def chosen(only: Sequence[str] | None) -> list[Entry]:
    """The entries of these keys, or all.

    Raises:
        ValueError: No such key.
    """
    known = {entry.key: entry for entry in ENTRIES}
    if unknown := [key for key in only or () if key not in known]:
        raise ValueError(f"no contender {', '.join(unknown)}; with --web there are {', '.join(known)}")
    return [entry for entry in ENTRIES if not only or entry.key in only]


def compare(
    entries: Sequence[Entry],
    peers: Peers,
    *,
    repeats: int,
    rates: Mapping[int, float] = RATES,
    say: harness.Say = lambda _text: None,
) -> WebReport:
    """All contenders at all rates, interleaved, after a first round that counts for nothing.

    Raises:
        Void: The sink or the driver did not work.
    """
    facts, sync_us = reporting.facts(), disk_sync_us()
    commands = {entry.key: peers.command(entry.peer, harness.CHILD) for entry in entries if entry.peer}
    missing = {
        entry.key: f"{entry.peer} is not installed" for entry in entries if entry.peer and commands[entry.key] is None
    }
    runs: dict[tuple[int, str], list[dict[str, Any]]] = {}
    with (
        harness.sink() as sink,
        redis_server() as redis,
        tempfile.TemporaryDirectory(prefix="capi_async-bench-") as folder,
    ):
        if redis is None:
            missing |= {entry.key: "no redis-server here" for entry in entries if _REDIS in entry.options.values()}
        rows = Path(folder) / "rows"
        harness.write_rows(rows, 20_000, seed=0, events_file=None)
        for repeat in range(repeats + 1):
            for rate, seconds in rates.items():
                seconds = seconds if repeat else seconds / 4
                turn = repeat % len(entries)
                for entry in (DRIVER, *entries[turn:], *entries[:turn]):
                    at = f"{entry.key} at {rate}/s"
                    if entry.key in missing or at in missing:
                        continue
                    try:
                        figures = _measured(entry, sink, rows, rate, seconds, commands.get(entry.key), redis)
                    except harness.Void as error:
                        if entry is DRIVER:
                            raise
                        missing[at] = f"void: {error}"
                        runs.pop((rate, entry.key), None)
                        say(f"{entry.title}, {rate}/s: void: {error}")
                        continue
                    if repeat:
                        say(f"{repeat}/{repeats} {entry.title}, {rate}/s: {figures['cpu_us']:.0f} us with the driver")
                        runs.setdefault((rate, entry.key), []).append(figures)
    known = {entry.key: entry for entry in entries}
    return WebReport(
        date=reporting.today(),
        command=reporting.command(),
        facts=facts,
        contenders=[_summed_up(known[key], rate, runs) for rate, key in runs if key in known],
        driver_us={
            str(rate): statistics.median([one["cpu_us"] for one in runs[rate, DRIVER.key]]) for rate in rates
        },
        missing=missing,
        sync_us=sync_us,
    )  # fmt: skip


def _measured(
    entry: Entry,
    sink: harness.Sink,
    rows: Path,
    rate: int,
    seconds: float,
    command: list[str] | None,
    redis: str | None,
) -> dict[str, Any]:
    count = max(10, round(rate * seconds))
    # a queue of its own for each run: the counts of an earlier one are not this one's
    own = f"{redis}?prefix=bench-{time.monotonic_ns()}"
    options = {name: own if value == _REDIS else value for name, value in entry.options.items()}
    return harness.measure(
        Entry(key=entry.key, title=entry.title, module=entry.module, kind=entry.kind, options=options, peer=entry.peer),
        sink,
        rows,
        count,
        command=command,
        rate=float(rate),
        warm_up=max(5, round(count * _WARM_UP)),
        lag_share=_LAG,
        timeout_s=60 + 10 * seconds,
    )


def _summed_up(entry: Entry, rate: int, runs: Mapping[tuple[int, str], list[dict[str, Any]]]) -> WebFigures:
    own = runs[rate, entry.key]
    cpu = _above(runs, rate, entry.key)
    middle = {
        name: statistics.median([one[name] for one in own])
        for name in ("call_p50_us", "call_p99_us", "lag_p50_ms", "lag_p99_ms", "peak_rss_mb")
    }
    return WebFigures(
        key=entry.key,
        title=entry.title,
        version=own[0]["versions"].get(entry.peer, ""),
        rate=rate,
        repeats=len(own),
        cpu_us=statistics.median(cpu),
        cpu_us_low=min(cpu),
        cpu_us_high=max(cpu),
        over={
            key: statistics.median([a / b for a, b in zip(cpu, _above(runs, rate, key), strict=True)])
            for key in (PEER, HAND)
            if key != entry.key and (rate, key) in runs
        },
        **middle,
    )


def _above(runs: Mapping[tuple[int, str], list[dict[str, Any]]], rate: int, key: str) -> list[float]:
    """CPU microseconds of each round above the driver's in it; at least a tenth, so that ratios exist."""
    pairs = zip(runs[rate, key], runs[rate, DRIVER.key], strict=True)
    return [max(0.1, float(one["cpu_us"] - driver["cpu_us"])) for one, driver in pairs]


@contextmanager
def redis_server() -> Iterator[str | None]:
    """The address of a Redis of our own that syncs its log once a second; ``None`` where there is none to start."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="capi_async-bench-") as folder:
        server = subprocess.Popen(  # noqa: S603  # found on this machine's path
            [program, "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "yes"],
            stdout=subprocess.DEVNULL,
        )
        try:
            yield f"redis://127.0.0.1:{port}/0" if _answers(port) else None
        finally:
            server.terminate()
            server.wait()


def _answers(port: int) -> bool:
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            time.sleep(0.05)
    return False


def disk_sync_us(times: int = 200) -> tuple[float, float]:
    """Median and p99 of the microseconds that the temporary folder's disk takes to sync a write of 4 KB."""
    took = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    took.sort()
    return took[times // 2], took[int(times * 0.99)]


HEADINGS: Final = (
    "contender", "CPU us/event", "range", "x posthog", "x by hand", "call p50 us", "p99", "lag p50 ms", "p99", "MB",
)  # fmt: skip


def rows(it: WebReport, rate: int) -> list[tuple[str, ...]]:
    """One rate's table, in :data:`HEADINGS` order."""
    return [
        (
            f"{one.title} ({one.version})" if one.version else one.title,
            f"{one.cpu_us:,.0f}",
            f"{one.cpu_us_low:,.0f}-{one.cpu_us_high:,.0f}",
            *(f"{one.over[key]:.2f}" if key in one.over else "" for key in (PEER, HAND)),
            f"{one.call_p50_us:,.0f}",
            f"{one.call_p99_us:,.0f}",
            f"{one.lag_p50_ms:.1f}",
            f"{one.lag_p99_ms:.1f}",
            f"{one.peak_rss_mb:.0f}",
        )
        for one in _in_order(it)
        if one.rate == rate
    ]


def _in_order(it: WebReport) -> list[WebFigures]:
    order = [entry.key for entry in ENTRIES]
    return sorted(it.contenders, key=lambda one: (one.rate, order.index(one.key)))


def markdown(it: WebReport) -> str:
    """The tables for a page."""
    parts = []
    for rate in sorted({one.rate for one in it.contenders}):
        lines = [
            f"**{rate:,} arrivals a second** (the driver alone: {it.driver_us[str(rate)]:.0f} us, not in the figures)",
            "",
            "| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|",
        ]  # fmt: skip
        parts.append("\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows(it, rate))]))
    return "\n\n".join(parts)


def notes(it: WebReport) -> list[str]:
    """What stands under the tables."""
    return [
        ", ".join(f"{name} {value}" for name, value in it.facts.items()),
        f"syncing a write of 4 KB on this disk: median {it.sync_us[0]:.0f} us, p99 {it.sync_us[1]:.0f} us",
        *(f"not measured: {key}: {reason}" for key, reason in it.missing.items()),
    ]


def as_bars(it: WebReport) -> tuple[reporting.Report, dict[str, str]]:
    """The figures for the chart, and the panel of each."""
    bars, panels = [], {}
    for one in _in_order(it):
        key = f"{one.key}@{one.rate}"
        panels[key] = f"{one.rate:,} events a second"
        bars.append(
            reporting.Figures(
                key=key, title=one.title, version=one.version, events=0, repeats=one.repeats, events_per_s=one.rate,
                cpu_us=one.cpu_us, cpu_us_low=one.cpu_us_low, cpu_us_high=one.cpu_us_high, peak_rss_mb=one.peak_rss_mb,
            )
        )  # fmt: skip
    repeats = max((one.repeats for one in bars), default=0)
    return (
        reporting.Report(
            date=it.date, command=it.command, facts=it.facts, repeats=repeats, contenders=bars, missing=it.missing
        ),
        panels,
    )
