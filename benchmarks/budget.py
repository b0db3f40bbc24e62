"""The budget, beside what the last ``make bench`` measured; exit code 1 if a target that must be met is missed.

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


def targets(report: Report) -> Iterator[Target]:
    """All of them."""
    by_key = {one.key: one for one in report.contenders}

    def of(key: str, name: str = "cpu_us") -> float | None:
        value: float | None = getattr(by_key[key], name) if key in by_key else None
        return value

    def added(key: str, to: str) -> float | None:
        return None if key not in by_key or to not in by_key else by_key[key].cpu_us - by_key[to].cpu_us

    def times(key: str, against: str) -> float | None:
        one: Figures | None = by_key.get(key)
        return None if one is None else one.ratios.get(against)

    yield Target("memory, one destination, send_many", of("many"), 12, 8, "us")
    yield Target("the same, 1,000 tasks awaiting send", of("tasks"), 18, 14, "us")
    yield Target("five destinations", of("many5"), 24, 18, "us")
    yield Target("SQLite adds, one destination", added("sqlite", "many"), 4, 2, "us")
    yield Target("SQLite adds, five destinations", added("sqlite5", "many5"), 20, 10, "us")
    for title, key, against, must, stretch in (
        ("snap_business_sdk, batch 2,000", "snap_sdk", "many", 25, 39),
        ("snap_business_sdk, single", "snap_sdk_single", "single", 5, 6),
        ("facebook-business, batch 1,000", "meta_sdk", "many", 7.5, 11),
        ("facebook-business, single", "meta_sdk_single", "single", 6.5, 7),
        ("Segment", "segment", "many", 4, 6),
        ("PostHog", "posthog", "many", 8, 12),
    ):
        yield Target(f"{title}: times our CPU", times(key, against), must, stretch, "x", least=True)
    hand = times("hand_single", "single")
    yield Target("single event, over one by hand", None if hand is None else 1 / hand, 1.15, 1.05, "x")
    for key, title in (("many", "one destination"), ("many5", "five destinations")):
        yield Target(f"loop lag p99, {title}", of(key, "lag_p99_ms"), 5, 2, "ms")
        yield Target(f"loop lag max, {title}", of(key, "lag_max_ms"), 20, None, "ms")
    yield Target("idle send() to accepted, p50", report.more.get("accept_p50"), 200, None, "us")
    yield Target("idle send() to accepted, p99", report.more.get("accept_p99"), 1_000, None, "us")
    sizes = [one.peak_rss_mb for one in report.contenders if one.title.startswith("capi_async")]
    yield Target("peak RSS, the largest of ours", max(sizes, default=None), 150, None, "MB")
    yield Target("import, over aiohttp's own", report.more.get("import_over"), 120, None, "ms")


def table(report: Report) -> str:
    """All targets as a Markdown table."""
    lines = ["| what | must | stretch | measured | |\n|---|---|---|---|---|"]
    for one in targets(report):
        sign = "≥" if one.least else "≤"
        stretch = "" if one.stretch is None else f"{one.stretch:g}"
        measured = "" if one.measured is None else f"{one.measured:.1f} {one.unit}"
        lines.append(f"| {one.what} | {sign} {one.must:g} {one.unit} | {stretch} | {measured} | {one.verdict} |")
    return "\n".join(lines)


def main(path: Path) -> int:
    """Print the table."""
    report = msgspec.json.decode(path.read_bytes(), type=Report)
    print(f"{report.date}: {', '.join(f'{name} {value}' for name, value in report.facts.items())}\n")
    print(table(report))
    return 1 if any(one.verdict == "missed" for one in targets(report)) else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
