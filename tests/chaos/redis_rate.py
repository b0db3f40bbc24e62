"""Four workers against one account's limit: how much of it arrives, and how much at most in any window.

``python -m tests.chaos.redis_rate [--workers 4] [--seconds 30] [--rate 40] [--json]``. The workers are
``capi-async worker`` itself. Times are those at which the sandbox had read a request, so that what the network and busy
processes delay, and let go together, is part of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import tempfile
from pathlib import Path

from msgspec import Struct, structs

from capi_async.sandbox import Sandbox
from tests.chaos.redis_loop import WorkerProcess, fill, write_config
from tests.spool.redis_server import RedisServer

#: Requests that Snap's destination may let go at once after a pause, unless told otherwise.
BURST = 10.0
BATCH = 5
WINDOWS_S = (0.25, 1.0, 5.0)


class Report(Struct, kw_only=True):
    """What came of it.

    Attributes:
        used: Share of the rate that arrived, from the second to the last second but one.
        most: Window in seconds to the most requests that arrived in any of that length.
        allowed: Window to what the burst and the rate allow.
    """

    rate: float
    workers: int
    requests: int
    used: float
    most: dict[float, int]
    allowed: dict[float, float]


async def measure(workers: int, seconds: float, rate: float, folder: Path) -> Report:
    """Fill, start all at once, watch, stop."""
    redis = RedisServer(folder)
    redis.start()
    running: list[WorkerProcess] = []
    try:
        async with Sandbox() as sandbox:
            sandbox.set_rate("snap", None)
            config = write_config(folder, sandbox.base_url, redis.url(), batch=BATCH, rate=rate)
            text = config.read_text().replace("max_batch_events", f"burst = {BURST}\nmax_batch_events")
            config.write_text(text)
            await fill(config, int((seconds + 20) * rate * BATCH))
            running = [WorkerProcess(config, "--to", "snap") for _ in range(workers)]
            for one in running:
                await asyncio.to_thread(one.wait_until, "delivering to")
            sandbox.clear_arrivals()
            await asyncio.sleep(seconds)
            arrivals = sandbox.arrivals("snap")
            for one in running:
                await asyncio.to_thread(one.end, signal.SIGTERM)
    finally:
        for one in running:
            if one.process.poll() is None:
                one.end(signal.SIGKILL)
        redis.kill()
    times = sorted({one.request: one.received_at for one in arrivals}.values())
    first, last = times[0] + 1.0, times[-1] - 1.0
    steady = [at for at in times if first <= at <= last]
    return Report(
        rate=rate,
        workers=workers,
        requests=len(times),
        used=len(steady) / (rate * (last - first)),
        most={window: _most(times, window) for window in WINDOWS_S},
        allowed={window: BURST + rate * window for window in WINDOWS_S},
    )


def _most(times: list[float], window_s: float) -> int:
    first = found = 0
    for last, at in enumerate(times):
        while at - times[first] > window_s:
            first += 1
        found = max(found, last - first + 1)
    return found


def main() -> None:
    """Run it, print the figures, fail if the limit was exceeded or not used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(measure(options.workers, options.seconds, options.rate, Path(folder)))
    figures = structs.asdict(report)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>10}  {value}")
    over = [window for window, most in report.most.items() if most > report.allowed[window]]
    if over or report.used < 0.95:
        raise SystemExit(f"over the limit in windows of {over} s, {report.used:.1%} used")


if __name__ == "__main__":
    main()
