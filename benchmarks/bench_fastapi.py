"""What ``await capi.send(...)`` costs a FastAPI route: the same route with and without it, in one run, under uvicorn.

    python benchmarks/bench_fastapi.py [--requests 4000] [--repeats 5] [--json PATH]

One uvicorn process with all routes: without an event; with ``await capi.send(...)``; with a background task that hashes
and posts by hand; and with posthog's ``capture``, if it is installed beside FastAPI. One connection, so that a request
waits for nobody. Rounds alternate between the routes. CPU time is that of the server's process, the client's worker
threads and deliveries to a sink in another process included. Each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import aiohttp

from capi_async.bench import harness

_SHOP = """
import hashlib, os, time
from contextlib import asynccontextmanager

import aiohttp, msgspec
from capi_async import Client
from capi_async.destinations import Snap
from capi_async.integrations.fastapi import Tracker, capi_lifespan
from fastapi import BackgroundTasks, FastAPI

SINK = os.environ["SINK"]
PIXEL = "0f0e0d0c-0b0a-4908-8706-050403020100"

@asynccontextmanager
async def session(app):
    async with aiohttp.ClientSession() as app.state.session:
        yield

def client():
    return Client([Snap(pixel_id=PIXEL, access_token="sink", base_url=SINK + "/snap")])

app = FastAPI(lifespan=capi_lifespan(client, session))

@app.post("/without")
async def without(order: dict[str, str]) -> dict[str, str]:
    return {"id": order["id"]}

@app.post("/with")
async def with_send(order: dict[str, str], capi: Tracker) -> dict[str, str]:
    await capi.send("purchase", value=order["total"], currency="EUR", order_id=order["id"], email=order["email"])
    return {"id": order["id"]}

async def post(order: dict[str, str]) -> None:
    event = {
        "event_name": "PURCHASE", "event_time": int(time.time()), "event_id": order["id"], "action_source": "WEB",
        "user_data": {"em": [hashlib.sha256(order["email"].strip().lower().encode()).hexdigest()]},
        "custom_data": {"value": float(order["total"]), "currency": "EUR", "order_id": order["id"]},
    }
    body = msgspec.json.encode({"data": [event]})
    headers = {"Content-Type": "application/json"}
    url = f"{SINK}/snap/v3/{PIXEL}/events?access_token=sink"
    async with app.state.session.post(url, data=body, headers=headers) as answer:
        await answer.read()

@app.post("/by_hand")
async def by_hand(order: dict[str, str], background: BackgroundTasks) -> dict[str, str]:
    background.add_task(post, order)
    return {"id": order["id"]}

if os.environ.get("POSTHOG"):
    from posthog import Posthog

    posthog = Posthog("sink", host=SINK + "/posthog")

    @app.post("/posthog")
    async def with_posthog(order: dict[str, str]) -> dict[str, str]:
        posthog.capture(
            "Order Completed", distinct_id=order["email"],
            properties={"order_id": order["id"], "value": float(order["total"]), "currency": "EUR"},
        )
        return {"id": order["id"]}

@app.get("/cpu")
async def cpu() -> float:
    return time.process_time()
"""
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "Cookie": "_fbp=fb.1.1596403881668.1116446470; _ga=GA1.1.1234567890.1596403881",
}
_FIGURES = ("requests_per_s", "p50_ms", "p99_ms", "cpu_ms")


async def rounds(url: str, routes: list[str], requests: int, repeats: int) -> dict[str, dict[str, float]]:
    """Requests per second, p50, p99 and CPU milliseconds of each route."""
    found: dict[str, list[tuple[float, ...]]] = {route: [] for route in routes}
    async with aiohttp.ClientSession(url, headers=_HEADERS) as browser:

        async def cpu_s() -> float:
            async with browser.get("/cpu") as answer:
                return float(await answer.json())

        for turn in range(-1, repeats):
            for route, figures in found.items():
                begun, took = await cpu_s(), []
                for number in range(requests if turn >= 0 else 200):
                    order = {"id": f"{turn}-{number}", "total": "12.50", "email": f"customer-{number}@shop.example"}
                    at = time.perf_counter()
                    async with browser.post(f"/{route}", json=order) as answer:
                        assert answer.status == 200
                        await answer.read()
                    took.append((time.perf_counter() - at) * 1e3)
                await asyncio.sleep(1.5)  # what lingers is delivered within this round
                cpu_ms = (await cpu_s() - begun) * 1e3 / len(took)
                cut = statistics.quantiles(took, n=100)
                if turn >= 0:
                    figures.append((1e3 * len(took) / sum(took), cut[49], cut[98], cpu_ms))
    return {
        route: dict(zip(_FIGURES, map(statistics.median, zip(*figures, strict=True)), strict=True))
        for route, figures in found.items()
    }


async def main() -> None:
    """Serve, measure, print."""
    parser = argparse.ArgumentParser(description="What await capi.send() costs a route.")
    parser.add_argument("--requests", type=int, default=2_000, help="per route and round")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    posthog = find_spec("posthog") is not None
    routes = ["without", "with", "by_hand", *(["posthog"] if posthog else [])]
    with harness.sink() as sink, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "measured_shop.py").write_text(_SHOP, "utf-8")
        environment = {**os.environ, "SINK": sink.base, "POSTHOG": "yes" if posthog else ""}
        command = [sys.executable, "-m", "uvicorn", "--app-dir", folder, "--port", str(port), "--no-access-log"]
        server = subprocess.Popen(  # noqa: ASYNC220  # before anything is measured
            [*command, "--log-level", "error", "measured_shop:app"], env=environment
        )
        try:
            await _answers(port)
            found = await rounds(f"http://127.0.0.1:{port}", routes, arguments.requests, arguments.repeats)
        finally:
            server.terminate()
            server.wait()
    for route in routes[1:]:
        found[f"{route}, more"] = {name: found[route][name] - found["without"][name] for name in _FIGURES}
    result = {"python": platform.python_version(), "cpus": os.cpu_count(), "load": os.getloadavg()[0], **found}
    for name, figures in found.items():
        print(f"{name:14}", "  ".join(f"{key} {value:9.3f}" for key, value in figures.items()))
    if not posthog:
        print("posthog is not installed here: pip install posthog")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


async def _answers(port: int) -> None:
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    asyncio.run(main())
