"""How cost grows: with events, destinations, batch size, processes, and with what waits in the spool."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from capi_async.bench.child import Task
from capi_async.bench.contenders import Entry
from capi_async.bench.harness import OURS, Say, Sink, agree, cores, measure, run_child, sink, write_rows

#: Rows in the file; longer runs read them again under other order ids.
_ROWS: Final = 200_000
_WARM_UP: Final = 5_000
_TIMEOUT_S: Final = 3_600.0
#: Beyond so many events the sink counts by the marker only: it would have to keep them all.
_DECODED: Final = 200_000


class Point(msgspec.Struct, frozen=True):
    """One run: a curve, how far along it, and what it cost."""

    curve: str
    at: int
    figures: dict[str, float]


class Curve(msgspec.Struct, frozen=True):
    """One dimension.

    Attributes:
        steps: Where it is measured; ``quick`` leaves out the dearer ones.
        flat: The figure that should stay the same along the curve, where one should.
    """

    name: str
    steps: tuple[int, ...]
    quick: tuple[int, ...]
    flat: str = "cpu_us"


CURVES: Final = (
    Curve("events", (10_000, 100_000, 1_000_000, 10_000_000), (10_000, 100_000)),
    Curve("destinations", (1, 2, 3, 4, 5, 6, 8, 10), (1, 2, 5, 10), flat=""),
    Curve("events per request", (1, 2, 5, 10, 50, 100, 500, 2_000), (1, 10, 100, 2_000), flat=""),
    Curve("processes", (1, 2), (1, 2)),
    Curve("pending in SQLite", (0, 10_000, 100_000, 1_000_000), (0, 10_000, 100_000)),
)  # fmt: skip


def measure_all(*, quick: bool = False, only: list[str] | None = None, say: Say = lambda _text: None) -> list[Point]:
    """All curves, each point once.

    Raises:
        Void: A run does not count.
        ValueError: No such curve.
    """
    names = [curve.name for curve in CURVES]
    if unknown := [name for name in only or () if name not in names]:
        raise ValueError(f"no curve {', '.join(unknown)}; there are {', '.join(names)}")
    points = []
    with sink() as it, tempfile.TemporaryDirectory(prefix="capi_async-bench-") as folder:
        rows = Path(folder) / "rows"
        write_rows(rows, _ROWS, seed=0, events_file=None)
        for curve in CURVES:
            if only and curve.name not in only:
                continue
            for at in curve.quick if quick else curve.steps:
                figures = _RUNS[curve.name](it, rows, at)
                say(f"{curve.name} {at:,}: {figures['cpu_us']:.1f} us, {figures['peak_rss_mb']:.0f} MB")
                points.append(Point(curve.name, at, figures))
    return points


def _run(it: Sink, rows: Path, count: int, **options: Any) -> dict[str, float]:
    module, kind = ("backlog", "Backlog") if "pending" in options else ("ours", "Ours")
    entry = Entry(key="", title="", module=module, kind=kind, options=options)
    total = count + options.get("pending", 0)
    warm_up = min(_WARM_UP, count)
    keep = total * int(options.get("to", 1)) <= _DECODED
    figures = measure(entry, it, rows, count, warm_up=warm_up, keep=keep, lag=False, timeout_s=_TIMEOUT_S)
    figures.pop("versions")
    return figures


def _events(it: Sink, rows: Path, at: int) -> dict[str, float]:
    return _run(it, rows, at)


def _destinations(it: Sink, rows: Path, at: int) -> dict[str, float]:
    figures = _run(it, rows, 40_000, to=at)
    return figures | {"cpu_us_per_destination": figures["cpu_us"] / at}


def _batch(it: Sink, rows: Path, at: int) -> dict[str, float]:
    return _run(it, rows, min(50_000, 2_500 * at), max_batch=at)


def _processes(it: Sink, rows: Path, at: int) -> dict[str, float]:
    """Several at once, each with rows of its own; the sink has the second core, and they share it with it."""
    count = 50_000
    it.clear()
    available = cores()

    def one(index: int) -> dict[str, Any]:
        own = rows.with_name(f"rows-{index}")
        write_rows(own, count, seed=1_000 + index, events_file=None)
        task = Task(
            module="ours", kind="Ours", options={}, base=it.base, rows=str(own), warm_up=1_000, count=count,
            core=available[index % len(available)],
        )  # fmt: skip
        return run_child(OURS, task)

    with ThreadPoolExecutor(at) as pool:
        found = list(pool.map(one, range(at)))
    sent, delivered = (sum(figures[name] for figures in found) for name in ("sent", "delivered"))
    agree(it.tally(), sent=sent, delivered=delivered, copies=1)
    return {
        "cpu_us": sum(figures["cpu_us"] for figures in found) / at,
        "events_per_s": sum(figures["events_per_s"] for figures in found),
        "peak_rss_mb": max(figures["peak_rss_mb"] for figures in found),
    }


def _pending(it: Sink, rows: Path, at: int) -> dict[str, float]:
    return _run(it, rows, 20_000, pending=at)


_RUNS: Final[Mapping[str, Callable[[Sink, Path, int], dict[str, float]]]] = {
    "events": _events,
    "destinations": _destinations,
    "events per request": _batch,
    "processes": _processes,
    "pending in SQLite": _pending,
}


def lines(points: list[Point]) -> Iterator[str]:
    """The curves as text, and after each how flat it is."""
    for curve in CURVES:
        chosen = [point for point in points if point.curve == curve.name]
        if not chosen:
            continue
        yield f"{curve.name:>18}{'CPU us/event':>14}{'events/s':>12}{'peak MB':>9}"
        for point in chosen:
            figures = point.figures
            text = f"{point.at:>18,}{figures['cpu_us']:>14,.1f}{figures['events_per_s']:>12,.0f}"
            text += f"{figures['peak_rss_mb']:>9.0f}"
            if "drain_cpu_us" in figures:
                text += f"   delivering: {figures['drain_cpu_us']:.1f} us, file {figures['file_mb']:,.0f} MB"
            if "cpu_us_per_destination" in figures:
                text += f"   per destination: {figures['cpu_us_per_destination']:.1f} us"
            yield text
        if curve.flat and len(chosen) > 1:
            values = [point.figures[curve.flat] for point in chosen]
            sizes = [point.figures["peak_rss_mb"] for point in chosen]
            yield (
                f"{'':>18}   last over first: CPU per event x {values[-1] / values[0]:.2f}, "
                f"peak memory {sizes[-1] - sizes[0]:+.0f} MB"
            )
        yield ""
