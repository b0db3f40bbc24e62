"""The budget, beside what the last ``make bench`` and ``make bench-web`` measured.

The exit code is 1 if a target that must be met is missed.

``python benchmarks/budget.py [results/bench.json]``

Times are those of one machine, so that only the ratios can be compared across machines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from capi_async.bench.report import Figures, Report
from capi_async.bench.web import WebReport

DEFAULT = Path(__file__).parent / "results" / "bench.json"


class Target(NamedTuple):
    """One line: ``least`` says that more is better."""

    what: str
    measured: float | None
    must: float
    stretch: float | None
    unit: str
    least: bool = False

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.measured is None:
            return "not measured"
        for limit, word in ((self.stretch, "stretch"), (self.must, "met")):
            if limit is not None and (self.measured >= limit if self.least else self.measured <= limit):
                return word
        return "missed"


def targets(report: Report, web: WebReport | None = None) -> Iterator[Target]:
    """All of them; those of single events in web applications first, if they were measured."""
    by_key = {one.key: one for one in report.contenders}

    def of(key: str, name: str) -> float | None:
        value: float | None = getattr(by_key[key], name) if key in by_key else None
        return value

    def over(key: str, hand: str) -> float | None:
        ratio = None if hand not in by_key else by_key[hand].ratios.get(key)
        return None if ratio is None else 1 / ratio

    def cpu_over(key: str, hand: str) -> float | None:
        return None if key not in by_key or hand not in by_key else by_key[key].cpu_us / by_key[hand].cpu_us

    def added(key: str, to: str) -> float | None:
        if key not in by_key or to not in by_key or "hand" not in by_key:
            return None
        return (by_key[key].cpu_us - by_key[to].cpu_us) / by_key["hand"].cpu_us

    def times(key: str, against: str) -> float | None:
        one: Figures | None = by_key.get(key)
        return None if one is None else one.ratios.get(against)

    yield from _web(web)
    yield Target("idle send() to accepted, memory, p50", report.more.get("accept_p50"), 60, None, "us")
    yield Target("one event a request to its outcome, over by hand", over("single", "hand_single"), 1.6, 1.3, "x")
    yield Target("batch, one destination, over by hand", over("many", "hand"), 1.5, 1.25, "x")
    yield Target("batch, 1,000 tasks awaiting send, over by hand", cpu_over("tasks", "hand"), 2.0, None, "x")
    yield Target("batch, five destinations, over by hand to one", cpu_over("many5", "hand"), 3.5, 2.8, "x")
    yield Target("SQLite adds, one destination, in loops by hand", added("sqlite", "many"), 0.45, None, "x")
    yield Target("SQLite adds, five destinations, in loops by hand", added("sqlite5", "many5"), 1.5, None, "x")
    yield Target("loop lag p99 at full load, one destination", of("many", "lag_p99_ms"), 3, 2, "ms")
    yield Target("loop lag p99 at full load, five destinations", of("many5", "lag_p99_ms"), 5, 2, "ms")
    for title, key, against, must, stretch in (
        ("snap_business_sdk, batch 2,000", "snap_sdk", "many", 25, 39),
        ("facebook-business, batch 1,000", "meta_sdk", "many", 7.5, 11),
        ("Segment", "segment", "many", 4, 6),
        ("PostHog", "posthog", "many", 8, 12),
    ):
        yield Target(f"{title}: times our CPU", times(key, against), must, stretch, "x", least=True)
    sizes = [one.peak_rss_mb for one in report.contenders if one.title.startswith("capi_async")]
    yield Target("peak RSS, the largest of ours", max(sizes, default=None), 150, None, "MB")
    yield Target("import, over aiohttp's own", report.more.get("import_over"), 120, None, "ms")


def _web(web: WebReport | None) -> Iterator[Target]:
    """What a web application feels: one event at a time."""
    found = {} if web is None else {(one.key, one.rate): one for one in web.contenders}
    for key, title, must, stretch in (
        ("memory", "one destination", 0.5, 0.35),
        ("memory4", "four destinations", 1.0, 0.7),
        ("sqlite", "one destination, SQLite", 2.0, 1.3),
    ):
        for rate in (200, 1_000):
            one = found.get((key, rate))
            ratio = None if one is None else one.over.get("posthog")
            yield Target(f"await send() at {rate:,}/s, {title}: CPU over posthog's capture", ratio, must, stretch, "x")
    sqlite = found.get(("sqlite", 20))
    more_us = None if sqlite is None or web is None else sqlite.call_p50_us - web.sync_us[0]
    yield Target("send() at 20/s, SQLite, p50 over the disk's own sync", more_us, 300, None, "us")


def table(report: Report, web: WebReport | None = None) -> str:
    """All targets as a Markdown table."""
    lines = ["| what | must | stretch | measured | |\n|---|---|---|---|---|"]
    for one in targets(report, web):
        sign = "≥" if one.least else "≤"
        stretch = "" if one.stretch is None else f"{one.stretch:g}"
        measured = "" if one.measured is None else f"{one.measured:.{2 if one.unit == 'x' else 1}f} {one.unit}"
        lines.append(f"| {one.what} | {sign} {one.must:g} {one.unit} | {stretch} | {measured} | {one.verdict} |")
    return "\n".join(lines)


def web_report(folder: Path) -> WebReport | None:
    """What ``make bench-web`` left there."""
    path = folder / "web.json"
    return msgspec.json.decode(path.read_bytes(), type=WebReport) if path.exists() else None


def main(path: Path) -> int:
    """Print the table."""
    report = msgspec.json.decode(path.read_bytes(), type=Report)
    web = web_report(path.parent)
    print(f"{report.date}: {', '.join(f'{name} {value}' for name, value in report.facts.items())}\n")
    print(table(report, web))
    return 1 if any(one.verdict == "missed" for one in targets(report, web)) else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
