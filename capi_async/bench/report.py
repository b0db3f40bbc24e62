"""Medians, spread and ratios of a comparison; as JSON, and as rows of a table."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from capi_async.bench.contenders import AT, ENTRIES, Entry
from capi_async.bench.harness import Run

_ENTRIES: Final[Mapping[str, Entry]] = {entry.key: entry for entry in (*ENTRIES, *AT.values())}


class Figures(Struct, frozen=True, kw_only=True):
    """One contender, summed up. CPU is user and system time of its process.

    Attributes:
        cpu_us: Microseconds per event, median; ``low`` and ``high`` are the extremes.
        ratios: Key of ours to how many times our CPU time per event this contender took: median of the repeats'
            own ratios, because both ran on the same machine at nearly the same time.
    """

    key: str
    title: str
    version: str
    events: int
    repeats: int
    cpu_us: float
    cpu_us_low: float
    cpu_us_high: float
    events_per_s: float
    peak_rss_mb: float
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    lag_max_ms: float | None = None
    ratios: dict[str, float] = {}


class Report(Struct, frozen=True, kw_only=True):
    """A whole comparison.

    Attributes:
        facts: Machine and versions.
        missing: Contender to the reason why it has no figures.
        more: Figures that are no contender's: latency of ``send``, import time.
    """

    date: str
    command: str
    facts: dict[str, str]
    repeats: int
    contenders: list[Figures]
    missing: dict[str, str] = {}
    more: dict[str, float] = {}


def facts() -> dict[str, str]:
    """What the figures depend on."""
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    }
    if hasattr(os, "getloadavg"):
        found["load average before"] = f"{os.getloadavg()[0]:.1f}"
    for name in ("capi_async", "aiohttp", "msgspec", "uvloop"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def command() -> str:
    """How it was started, for results."""
    return " ".join(["capi-async", *sys.argv[1:]])


def today() -> str:
    """The date, for results."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def report(
    runs: Sequence[Run],
    missing: Mapping[str, str],
    *,
    repeats: int,
    more: Mapping[str, float] | None = None,
    described: Mapping[str, str] | None = None,
) -> Report:
    """Sum up; ``described`` is :func:`facts` as they were before."""
    by_key = {run.key: run for run in runs}
    return Report(
        date=today(),
        command=command(),
        facts=dict(described or facts()),
        repeats=repeats,
        contenders=[_figures(run, by_key) for run in runs],
        missing=dict(missing),
        more=dict(more or {}),
    )


def _figures(run: Run, runs: Mapping[str, Run]) -> Figures:
    middle = {name: statistics.median(values) for name, values in run.figures.items()}
    cpu = run.figures["cpu_us"]
    return Figures(
        key=run.key,
        title=run.title,
        version=_version_of(run),
        events=run.events,
        repeats=len(cpu),
        cpu_us_low=min(cpu),
        cpu_us_high=max(cpu),
        ratios={
            key: statistics.median([a / b for a, b in zip(cpu, runs[key].figures["cpu_us"], strict=True)])
            for key in _ENTRIES[run.key].against
            if key in runs
        },
        **middle,
    )


def _version_of(run: Run) -> str:
    peer = _ENTRIES[run.key].peer
    return run.versions.get(peer, "")


HEADINGS: Final = (
    "contender", "CPU us/event", "range", "x ours", "events/s", "peak MB", "lag p50", "p99", "max ms",
)  # fmt: skip


def rows(it: Report) -> list[tuple[str, ...]]:
    """The table's rows, in :data:`HEADINGS` order; contenders without figures stand in it with the reason."""
    found = []
    for one in it.contenders:
        ratio = next(iter(one.ratios.values()), None)
        found.append(
            (
                f"{one.title} ({one.version})" if one.version else one.title,
                f"{one.cpu_us:,.1f}",
                f"{one.cpu_us_low:,.1f}-{one.cpu_us_high:,.1f}",
                "" if ratio is None else f"{ratio:.3g}",
                f"{one.events_per_s:,.0f}",
                f"{one.peak_rss_mb:.0f}",
                *("" if lag is None else f"{lag:.1f}" for lag in (one.lag_p50_ms, one.lag_p99_ms, one.lag_max_ms)),
            )
        )
    found += [
        (entry.title, "-", it.missing[key], "", "", "", "", "", "")
        for key, entry in _ENTRIES.items()
        if key in it.missing
    ]
    return found


def markdown(it: Report) -> str:
    """The table for a page."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows(it)]
    return "\n".join(lines)


def notes(it: Report) -> list[str]:
    """What stands under the table."""
    lines = [", ".join(f"{name} {value}" for name, value in it.facts.items())]
    more: list[tuple[str, str, Any]] = [
        ("idle send() to accepted, memory: p50 {p50:.0f} us, p99 {p99:.0f} us", "accept", ("p50", "p99")),
        ("import capi_async: {over:.0f} ms over aiohttp's own {aiohttp:.0f} ms", "import", ("over", "aiohttp")),
    ]
    for text, prefix, names in more:
        values = {name: it.more.get(f"{prefix}_{name}") for name in names}
        if None not in values.values():
            lines.append(text.format(**values))
    for one in it.contenders:
        if len(one.ratios) > 1:
            like = list(one.ratios.items())[1]
            lines.append(f"{one.title}: {like[1]:.3g} x capi_async to the same platform ({like[0]})")
    return lines
