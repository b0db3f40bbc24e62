"""Where the CPU time of an event goes: identify, to_wire, encode, engine, SQLite, HTTP.

``python benchmarks/bench_stages.py [--events N] [--repeats N] [--json]``

One destination (Snap). The first three stages and HTTP are run by themselves; ``engine`` is a whole client whose
transport answers at once, less the first three; ``sqlite`` is what the same client costs more with that spool.
``whole`` is a client against the sink, and ``rest`` what the stages do not explain of it. Each repeat is a process of
its own, pinned to one core where the system allows it, against a sink process on another.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from bench_pipeline import _loop_factory, destinations  # noqa: E402  # the folder is no package
from data import events as make_events  # noqa: E402  # as above
from sink import PLATFORMS  # noqa: E402  # as above

from capi_async import Client, Event  # noqa: E402
from capi_async.engine.transport import HttpTransport  # noqa: E402
from capi_async.outcome import Response  # noqa: E402
from capi_async.pii.identifiers import Plan  # noqa: E402
from capi_async.spec import ENCODER, Destination, Request, Transport, Wire  # noqa: E402

#: In the order of the table.
STAGES = ("identify", "to_wire", "encode", "engine", "http", "sum", "whole", "rest", "sqlite")
#: Events prepared at a time, so that memory does not grow with their number.
SLICE = 10_000


class Instant:
    """A transport that answers at once, as Snap does when all is well."""

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """See :class:`~capi_async.spec.Transport`."""
        return Response(status=200, body=PLATFORMS[b"/snap"][1], headers={})


def prepare(destination: Destination, total: int, seed: int) -> tuple[dict[str, float], list[tuple[bytes, bytes]]]:
    """CPU seconds of the stages before the engine; heads and bodies of the last slice, to be sent."""
    plan = Plan(destination.identifiers)
    spent = dict.fromkeys(("identify", "to_wire", "encode"), 0.0)
    made: list[tuple[bytes, bytes]] = []
    for start in range(-SLICE, total, SLICE):  # the first slice warms the caches
        batch = make_events(SLICE, seed=seed * 1_000 + start)
        gc.freeze()
        began = time.process_time()
        known = [plan.identify(event.user, event.page) for event in batch]
        identified = time.process_time()
        wires = [destination.to_wire(event, ids) for event, ids in zip(batch, known, strict=True)]
        mapped = time.process_time()
        good = [wire for wire in wires if type(wire) is Wire]
        encoding = time.process_time()
        bodies = [ENCODER.encode(wire.body) for wire in good]
        ended = time.process_time()
        if len(bodies) != len(batch):
            raise SystemExit("void: an event was refused")
        made = [(wire.head, body) for wire, body in zip(good, bodies, strict=True)]
        if start >= 0:
            spent["identify"] += identified - began
            spent["to_wire"] += mapped - identified
            spent["encode"] += ended - encoding
    return spent, made


async def deliver(destination: Destination, made: list[tuple[bytes, bytes]], total: int) -> float:
    """CPU seconds of making, sending and judging the requests for ``total`` events, one after the other."""
    transport = HttpTransport()
    size = destination.effective_limits().max_batch_events
    batches = [made[start : start + size] for start in range(0, len(made), size)]
    token = await destination.secret().reveal()
    sent, began = 0, 0.0
    while sent < total + len(made):  # the first round warms the connection
        if sent == len(made):
            began = time.process_time()
        for batch in batches:
            request = destination.request(batch[0][0], [body for _, body in batch], token)
            answer = await transport.send(request, timeout_s=30)
            if any(verdict.kind != "accepted" for verdict in destination.classify(answer, len(batch))):
                raise SystemExit("void: the sink refused")
            sent += len(batch)
    spent = time.process_time() - began
    await transport.aclose()
    return spent


async def client(destination: Destination, spool: str, transport: Transport | None, total: int, seed: int) -> float:
    """CPU seconds from ``send_many`` until all is settled, without making the events."""
    spent = 0.0
    async with Client([destination], linger_s=0.05, spool=spool, transport=transport) as it:
        for start in range(-SLICE, total, SLICE):
            batch: list[Event] = make_events(SLICE, seed=seed * 1_000 + start)
            began = time.process_time()
            await it.send_many(batch, timeout_s=60)
            if start + SLICE in (0, total) and not await it.flush(60):
                raise SystemExit("void: not everything was delivered")
            spent += (time.process_time() - began) * (start >= 0)
        counts = it.ledger()[destination.name]
    if counts.delivered != total + SLICE:
        raise SystemExit(f"void: {counts}")
    return spent


def child(arguments: argparse.Namespace) -> None:
    """All stages once, in this process; prints microseconds per event."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    total, seed = arguments.events, arguments.seed
    destination = destinations(1, arguments.base)[0]
    figures, made = prepare(destination, total, seed)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        figures["http"] = runner.run(deliver(destination, made, total))
        instant = runner.run(client(destination, "memory", Instant(), total, seed))
        durable = runner.run(client(destination, f"sqlite:///{folder}/events.db", Instant(), total, seed))
        figures["whole"] = runner.run(client(destination, "memory", None, total, seed))
    figures["engine"] = instant - figures["identify"] - figures["to_wire"] - figures["encode"]
    figures["sqlite"] = durable - instant
    figures["sum"] = sum(figures[name] for name in STAGES[:5])
    figures["rest"] = figures["whole"] - figures["sum"]
    print(json.dumps({name: figures[name] / total * 1e6 for name in STAGES}))


def parent(arguments: argparse.Namespace) -> None:
    """Repeats, and the table."""
    sink = subprocess.Popen([sys.executable, str(HERE / "sink.py")], stdout=subprocess.PIPE, text=True)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(sink.pid, {cores[-1]})
    assert sink.stdout is not None
    base = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
    results: dict[str, list[float]] = {name: [] for name in STAGES}
    try:
        for repeat in range(arguments.repeats):
            command = [sys.executable, __file__, "--child", "--base", base, "--events", str(arguments.events)]
            command += ["--seed", str(repeat + 1)]
            figures: dict[str, Any] = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            )
            for name, value in figures.items():
                results[name].append(value)
    finally:
        sink.terminate()
        sink.wait()
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "events": arguments.events, "us": results}, indent=2))
        return
    print(
        f"Python {platform.python_version()}; {arguments.events} events, {arguments.repeats} repeats; CPU us an event"
    )
    for name, values in results.items():
        print(f"{name:10}{statistics.median(values):>8.1f}   ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help=f"a multiple of {SLICE}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--base", default="", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.events < SLICE or options.events % SLICE:
        parser.error(f"--events must be a multiple of {SLICE}")
    child(options) if options.child else parent(options)
