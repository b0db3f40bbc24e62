"""Instructions per event of the harness's contenders, by valgrind: what a busy machine cannot blur.

``python benchmarks/bench_instructions.py [--events N] [--only KEY ...] [--peers DIR] [--json]``

The whole way from a row to the sink's answer, all threads of the contender's process, user space only: the kernel's
part (sockets, disk) is missing, and so is what waiting costs. Under valgrind one thread runs at a time, and slowly, so
that micro-batches may differ a little from those at full speed, and OpenSSL hashes without the processor's SHA
instructions, so that hashing weighs more than it does in time. Use it to compare two versions of the code, or two
contenders, when times would not tell them apart; ``bench_check.py`` does that stage by stage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import msgspec

from capi_async.bench import contenders, environment, harness

#: Slow contenders get a share of ``--events``, but no fewer than this.
_LEAST = 50


def measure(entry: contenders.Entry, sink: harness.Sink, rows: Path, events: int, command: list[str]) -> float:
    """Instructions per event.

    Raises:
        Void: The run does not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        under = ["valgrind", "--tool=callgrind", "--fair-sched=try", "--dump-before=getppid"]
        under += [f"--callgrind-out-file={out}", *command]
        entry = msgspec.structs.replace(entry, loop=False)  # no watch on the loop: it would be counted
        harness.measure(entry, sink, rows, events, command=under, own=not entry.peer, pinned=False)
        # written at the first mark, and at the second: between them lies what is measured
        for line in Path(f"{out}.2").read_text("utf-8").splitlines():
            if line.startswith("totals:"):
                return int(line.split()[1]) / events
    raise harness.Void("valgrind wrote no count")


def main() -> None:
    """All that are wanted, once each: counts hardly differ from run to run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--only", action="append", help="a contender's key; may be repeated")
    parser.add_argument("--peers", type=Path, default=environment.default_folder(), help="the SDKs' environment")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    peers = environment.Peers(arguments.peers.absolute())
    found: dict[str, float] = {}
    with harness.sink() as sink, tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        harness.write_rows(rows, 2 * arguments.events, seed=1, events_file=None)
        for entry in contenders.chosen(arguments.only):
            command = peers.command(entry.peer, harness.CHILD) if entry.peer else list(harness.OURS)
            if command is None:
                print(f"{entry.title}: {entry.peer} is not installed", file=sys.stderr)
                continue
            events = arguments.events if entry.share >= 0.1 else max(_LEAST, int(arguments.events * entry.share * 2))
            found[entry.key] = measure(entry, sink, rows, events, command)
            if not arguments.json:
                against = next((found[key] for key in entry.against if key in found), None)
                ratio = f"{found[entry.key] / against:>8.3g} x ours" if against else ""
                print(f"{entry.title:48}{found[entry.key]:>14,.0f}{ratio}", flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
