"""Where the CPU time of an event goes, stage by stage.

``python benchmarks/bench_stages.py [--events N] [--repeats N] [--json FILE]``

Every stage runs by itself on what the one before it made, warmed up once, then ``--repeats`` times in a process pinned
to one core where the system allows it; CPU time is that of all threads. What ``client, to the sink`` costs more than
construct (which it does not include), prepare, spool, join, post and classify together is the engine: intake, hops
between threads, batcher, receipts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from stages import Stages  # noqa: E402  # the folder is no package: scripts run from anywhere

from capi_async.bench import harness  # noqa: E402
from capi_async.bench.clockwork import new_loop, pin  # noqa: E402
from capi_async.bench.report import facts, today  # noqa: E402


def measure(events: int, repeats: int) -> dict[str, list[float]]:
    """Stage to CPU microseconds per event, one per repeat."""
    found: dict[str, list[float]] = {}
    core = harness.cores()[0]
    with (
        harness.sink() as sink,
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=new_loop()) as runner,
    ):
        pin(core)
        made = Stages(events, base=sink.base, folder=Path(folder), runner=runner)
        stages = made.all()
        gc.freeze()
        for repeat in range(repeats + 1):
            sink.clear(keep=False)
            for stage in stages:
                stage.before()
                began = time.process_time()
                stage.run()
                spent = time.process_time() - began
                if repeat:
                    found.setdefault(stage.name, []).append(spent / stage.events * 1e6)
        made.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    described = facts()
    figures = measure(arguments.events, arguments.repeats)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"date": today(), "facts": described, "events": arguments.events, "us": figures}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    print(f"{arguments.events} events, {arguments.repeats} repeats; CPU microseconds per event, median and range\n")
    for name, values in figures.items():
        print(f"{name:34}{statistics.median(values):>8.2f}   ({min(values):.2f} to {max(values):.2f})")
