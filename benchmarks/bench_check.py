"""Has a stage become dearer? Compares each with ``baseline.json`` and fails on more than 10 %.

``python benchmarks/bench_check.py [--tool callgrind|counter|cpu] [--update] [--events N]``

Time is too noisy for ten per cent on a shared machine, so instructions are counted where that is possible:

``counter``    the processor's own, in user space, by Linux's ``perf_event_open``; virtual machines often have none.
``callgrind``  valgrind's; thirty times slower, the same everywhere.
``cpu``        neither: CPU time as a multiple of a loop in pure Python in the same process, both best of 15; compared
               with 30 % instead of 10.

The best one that works here is taken. Counts depend on Python's and the packages' versions: a baseline is compared only
under the Python that made it, and the packages' versions are shown if they differ. ``--update`` writes this tool's part
of the baseline. Stages with threads, a disk or the clock in them stand in ``bench_stages.py`` only.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from stages import Stage, Stages  # noqa: E402  # the folder is no package: scripts run from anywhere

from capi_async.bench import harness  # noqa: E402

BASELINE = HERE / "baseline.json"
TOLERANCE = {"counter": 0.10, "callgrind": 0.10, "cpu": 0.30}
#: Differences below so much per event are noise, whatever their share: instructions, or multiples of the loop's round.
SMALL = {"counter": 300.0, "callgrind": 300.0, "cpu": 5.0}
PYTHON = f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor} {platform.machine()}"
_SYSCALL = {"x86_64": 298, "aarch64": 241}


class Counter:
    """This process's instructions in user space, all threads that start after it included."""

    # struct perf_event_attr of 112 bytes: type hardware, event instructions; inherit, without kernel and hypervisor
    _ATTR = struct.pack("=IIQQQQQ", 0, 112, 1, 0, 0, 0, (1 << 1) | (1 << 5) | (1 << 6)).ljust(112, b"\0")

    def __init__(self) -> None:
        number = _SYSCALL.get(platform.machine())
        if sys.platform != "linux" or number is None:
            raise OSError("no perf_event_open here")
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.syscall(number, ctypes.c_char_p(self._ATTR), 0, -1, -1, 0)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")

    def read(self) -> int:
        """Instructions so far."""
        count: int = struct.unpack("=Q", os.read(self._fd, 8))[0]
        return count


def _stages(events: int, found: Callable[[list[Stage]], None]) -> None:
    """Make the steady stages, run each once, and hand them over."""
    # asyncio's own loop: its instructions are all Python's, and the same wherever it runs
    with harness.sink() as sink, tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        made = Stages(events, base=sink.base, folder=Path(folder), runner=runner)
        steady = [stage for stage in made.all() if stage.steady]
        for stage in steady:
            stage.before()
            stage.run()
        gc.collect()
        gc.freeze()
        gc.disable()
        found(steady)
        made.close()


def by_counter(events: int) -> dict[str, float]:
    """Instructions per event of each stage, by the processor's counter."""
    counter = Counter()
    figures: dict[str, float] = {}

    def run(stages: list[Stage]) -> None:
        for stage in stages:
            stage.before()
            began = counter.read()
            stage.run()
            figures[stage.name] = (counter.read() - began) / stage.events

    _stages(events, run)
    return figures


def by_cpu(events: int) -> dict[str, float]:
    """CPU time per event of each stage, in rounds of a loop in pure Python."""
    figures: dict[str, float] = {}
    units: list[float] = []

    def loop() -> None:
        total = 0
        for number in range(200_000):
            total += number & 7

    def spent(run: Callable[[], object]) -> float:
        began = time.process_time()
        run()
        return time.process_time() - began

    def run(stages: list[Stage]) -> None:
        for _ in range(15):
            for stage in stages:
                stage.before()
                units.append(spent(loop) / 200_000)
                value = spent(stage.run) / stage.events
                figures[stage.name] = min(value, figures.get(stage.name, value))

    _stages(events, run)
    return {name: value / min(units) for name, value in figures.items()}


def by_callgrind(events: int) -> dict[str, float]:
    """Instructions per event of each stage, by valgrind, which writes its count whenever ``getppid`` is called."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        names = Path(folder) / "names"
        command = [
            "valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}",
            sys.executable, __file__, "--events", str(events), "--under-callgrind", str(names),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if ended.returncode:
            raise SystemExit(f"valgrind failed: {ended.stderr[-500:]}")
        figures = {}
        for index, (name, count) in enumerate(json.loads(names.read_text("utf-8"))):
            # the parts end before a stage, after it, before the next: every second one is a stage
            for line in Path(f"{out}.{2 * index + 2}").read_text("utf-8").splitlines():
                if line.startswith("totals:"):
                    figures[name] = int(line.split()[1]) / count
        return figures


def under_callgrind(events: int, names: Path) -> None:
    """The stages, with a mark before and after each."""

    def run(stages: list[Stage]) -> None:
        for stage in stages:
            stage.before()
            os.getppid()
            stage.run()
            os.getppid()
        names.write_text(json.dumps([(stage.name, stage.events) for stage in stages]), "utf-8")

    _stages(events, run)


def best() -> str:
    """The best tool that works here."""
    try:
        Counter()
    except OSError:
        return "callgrind" if shutil.which("valgrind") else "cpu"
    return "counter"


TOOLS: dict[str, Callable[[int], dict[str, float]]] = {
    "counter": by_counter,
    "callgrind": by_callgrind,
    "cpu": by_cpu,
}


def compare(tool: str, now: dict[str, float], then: dict[str, Any]) -> list[str]:
    """The stages that became dearer."""
    worse = []
    unit = "rounds" if tool == "cpu" else "instructions"
    print(f"{tool}, {unit} per event\n{'stage':34}{'baseline':>12}{'now':>12}{'change':>9}")
    for name, value in now.items():
        before = then["stages"].get(name)
        if before is None:
            print(f"{name:34}{'-':>12}{value:>12,.0f}{'new':>9}")
            continue
        change = value / before - 1 if before else 0.0
        bad = change > TOLERANCE[tool] and value - before > SMALL[tool]
        worse += [name] * bad
        print(f"{name:34}{before:>12,.0f}{value:>12,.0f}{change:>+9.1%}{'  <- dearer' * bad}")
    for name in then["stages"].keys() - now.keys():
        print(f"{name:34} is gone: run with --update")
    return worse


def main() -> None:
    """Compare or update."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", choices=TOOLS, help="default: the best that works here")
    parser.add_argument("--update", action="store_true", help="write the baseline of this tool")
    parser.add_argument("--events", type=int, default=2_048)
    parser.add_argument("--under-callgrind", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.under_callgrind:
        under_callgrind(arguments.events, arguments.under_callgrind)
        return
    tool = arguments.tool or best()
    key = f"{tool}, {PYTHON}"
    packages = {name: version(name) for name in ("aiohttp", "msgspec")}
    baseline: dict[str, Any] = json.loads(BASELINE.read_text("utf-8")) if BASELINE.exists() else {}
    if not arguments.update and key not in baseline:
        raise SystemExit(f"no baseline for {key}; --update makes one. There are: {'; '.join(baseline) or 'none'}")
    now = TOOLS[tool](arguments.events)
    if arguments.update:
        rounded = {name: round(value, 1) for name, value in now.items()}
        baseline[key] = {"packages": packages, "events": arguments.events, "stages": rounded}
        BASELINE.write_text(json.dumps(baseline, indent=2) + "\n", "utf-8")
        print(f"{BASELINE.name}: {key}: {len(now)} stages")
        return
    then = baseline[key]
    if then["packages"] != packages:
        print(f"note: the baseline was made with {then['packages']}, this is {packages}")
    if worse := compare(tool, now, then):
        raise SystemExit(f"dearer by more than {TOLERANCE[tool]:.0%}: {', '.join(worse)}")


if __name__ == "__main__":
    main()
