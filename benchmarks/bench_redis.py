"""What an event costs on its way through Redis: at the web process, at the worker, and in Redis itself.

``python benchmarks/bench_redis.py [--events N] [--repeats N] [--destinations N] [--json]``

Needs ``redis-server`` on the PATH: one is started without a log for the web processes' and the workers' own costs, one
with ``appendfsync everysec`` and one with ``always``. Events are appended by a client with ``deliver=False``, and
drained by one worker, then by two, against a sink that answers at once. ``cpu_us`` is CPU time per event;
``per_cpu_s`` is what one core could do of it; ``per_s`` is what this machine did, with all processes on its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from data import events as make_events  # noqa: E402  # the folder is no package
from msgspec.structs import replace  # noqa: E402  # as above

from capi_async import Client  # noqa: E402
from capi_async.bench.clockwork import new_loop  # noqa: E402
from capi_async.bench.harness import Sink  # noqa: E402
from capi_async.bench.ours import destinations  # noqa: E402

#: Redis's own settings per row.
LOGS: dict[str, list[str]] = {
    "no log": ["--appendonly", "no"],
    "everysec": ["--appendonly", "yes", "--appendfsync", "everysec"],
    "always": ["--appendonly", "yes", "--appendfsync", "always"],
}
_UNBOUNDED: dict[str, Any] = {"max_pending_events": 10**9, "max_pending_bytes": 10**12}


def _client(count: int, base: str, url: str, **options: Any) -> Client:
    fast = [replace(one, requests_per_s=100_000.0, burst=1_000.0) for one in destinations(base, count)]
    return Client(fast, spool=url, linger_s=0.05, **_UNBOUNDED, **options)


async def fill(count: int, base: str, url: str, total: int) -> dict[str, float]:
    """A web process: prepare and append."""
    async with _client(count, base, url, deliver=False) as client:
        await client.send_many(make_events(2_000, seed=99), timeout_s=60)
        building, cpu, wall = 0.0, time.process_time(), time.perf_counter()
        for start in range(0, total, 10_000):
            began = time.process_time()
            batch = make_events(min(10_000, total - start), seed=start)
            building += time.process_time() - began
            await client.send_many(batch, timeout_s=60)
        cpu, wall = time.process_time() - cpu - building, time.perf_counter() - wall - building
    return {"cpu_us": cpu / total * 1e6, "per_s": total / wall}


async def drain(count: int, base: str, url: str) -> dict[str, float]:
    """A worker: lease, batch, post, settle, until nothing is left."""
    async with _client(count, base, url) as client:
        cpu, wall = time.process_time(), time.perf_counter()
        if not await client.flush(300):
            raise SystemExit("void: not everything was delivered")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_s": cpu, "wall_s": wall}


def _redis(folder: Path, log: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [str(shutil.which("redis-server") or shutil.which("valkey-server") or "redis-server")]
    command += ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--loglevel", "warning"]
    process = subprocess.Popen([*command, *log], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process, port
    raise SystemExit("redis-server does not start")


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"INFO memory\r\n")
        text = connection.recv(65536).decode()
    return next(int(line.partition(":")[2]) for line in text.splitlines() if line.startswith("used_memory:"))


def _child(what: str, count: int, base: str, url: str, total: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", what, "--destinations", str(count)]
    command += ["--events", str(total), "--base", base, "--url", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = process.communicate(timeout=600)
    if process.returncode:
        raise SystemExit(f"void: a run failed with {process.returncode}")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def run(log: str, workers: int, count: int, total: int, base: str) -> dict[str, float]:
    """Fill, then drain with so many workers; a run counts only if the sink received everything."""
    with tempfile.TemporaryDirectory() as folder:
        redis, port = _redis(Path(folder), LOGS[log])
        try:
            url = f"redis://127.0.0.1:{port}/0"
            Sink(base).clear(keep=False)
            filled = _result(_child("fill", count, base, url, total))
            redis_fill, held = _cpu_s(redis), _memory(port)
            records = (total + 2_000) * count
            running = [_child("drain", count, base, url, total) for _ in range(workers)]
            drained = [_result(one) for one in running]
            received = Sink(base).tally().events
            if received != records:
                raise SystemExit(f"void: the sink counted {received} of {records}")
            redis_drain = _cpu_s(redis) - redis_fill
        finally:
            redis.kill()
            redis.wait()
    cpu_s = sum(one["cpu_s"] for one in drained)
    return {
        "append_cpu_us": filled["cpu_us"],
        "append_per_s": filled["per_s"],
        "drain_cpu_us": cpu_s / records * 1e6,
        "drain_per_cpu_s": records / cpu_s,
        "drain_per_s": records / max(one["wall_s"] for one in drained),
        "redis_append_us": redis_fill / records * 1e6,
        "redis_drain_us": redis_drain / records * 1e6,
        "redis_bytes": held / records,
    }


def main() -> None:
    """All rows, repeated, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--destinations", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=("fill", "drain"), help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        gc.freeze()
        main_: Any = (
            fill(arguments.destinations, arguments.base, arguments.url, arguments.events)
            if arguments.child == "fill"
            else drain(arguments.destinations, arguments.base, arguments.url)
        )
        with asyncio.Runner(loop_factory=new_loop()) as runner:
            print(json.dumps(runner.run(main_)))
        return
    if not arguments.json:
        print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    sink = subprocess.Popen([sys.executable, "-m", "capi_async.bench.sink"], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        base = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
        for log, workers in (("no log", 1), ("no log", 2), ("everysec", 1), ("always", 1)):
            runs = [run(log, workers, arguments.destinations, arguments.events, base) for _ in range(arguments.repeats)]
            row = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
            if arguments.json:
                print(json.dumps({"log": log, "workers": workers, **row, "repeats": runs}), flush=True)
            else:
                figures = ", ".join(f"{name} {value:,.1f}" for name, value in row.items())
                print(f"{log}, {workers} worker(s): {figures}", flush=True)
    finally:
        sink.kill()
        sink.communicate()


if __name__ == "__main__":
    main()
