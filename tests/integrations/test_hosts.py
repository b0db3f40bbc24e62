"""The examples of the other hosts, each started for real as its docstring says, from a click to the platform."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import anyio
import pytest

from capi_async.sandbox import Sandbox
from tests.integrations.served import BROWSER, EXAMPLES, Server, environment, free_port, process
from tests.spool.redis_server import RedisServer, serve

ORDER = {"id": "2001", "total": "12.50", "email": "ada@shop.example"}

#: How it is started, ``{port}`` filled in, and what must be installed.
HOSTS = {
    "flask under gunicorn": (
        ["flask", "gunicorn"],
        ["-m", "gunicorn", "--workers", "2", "--preload", "--bind", "127.0.0.1:{port}", "13_flask:app"],
    ),
    "django by runserver": (["django"], ["14_django.py", "runserver", "--noreload", "{port}"]),
    "django under gunicorn": (
        ["django", "gunicorn"],
        ["-m", "gunicorn", "--workers", "2", "--preload", "--bind", "127.0.0.1:{port}", "14_django:wsgi"],
    ),
    "django under uvicorn": (["django", "uvicorn"], ["-m", "uvicorn", "--port", "{port}", "14_django:asgi"]),
    "aiohttp": ([], ["15_aiohttp.py"]),
    "litestar under uvicorn": (["litestar", "uvicorn"], ["-m", "uvicorn", "--port", "{port}", "16_litestar:app"]),
    "quart under hypercorn": (
        ["quart", "hypercorn"],
        ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "17_quart:app"],
    ),
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own: a broker keeps what a worker has not taken."""
    yield from serve(tmp_path)


def start(host: str, sandbox: Sandbox, folder: Path) -> AbstractContextManager[Server]:
    """The example's server."""
    needs, command = HOSTS[host]
    for name in needs:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'capi_async[test]'")
    port = str(free_port())
    # beside the files, as every checkout of a project has them
    env = environment(sandbox, PORT=port, PYTHONPATH=str(EXAMPLES))
    arguments = [part.format(port=port) for part in command]
    if arguments[0].endswith(".py"):
        arguments[0] = str(EXAMPLES / arguments[0])
    return process(arguments, env, folder, f"http://127.0.0.1:{port}")


@pytest.mark.skipif(sys.platform == "win32", reason="servers end by SIGTERM")
@pytest.mark.parametrize("host", HOSTS)
async def test_an_example_sends_what_its_visitors_did(host: str, tmp_path: Path) -> None:
    """With their click ids; the page sets cookies; what lingers is sent when the server ends."""
    async with Sandbox() as sandbox:
        with start(host, sandbox, tmp_path) as server:
            await server.answers("/thanks/none")
            async with aiohttp.ClientSession(server.url, headers=BROWSER) as browser:
                for number in range(4):
                    order = {**ORDER, "id": str(number)}
                    async with browser.post(f"/checkout?ScCid=click-{number}", json=order) as response:
                        assert response.status in (200, 201), server.output()
                        assert (await response.json())["event_id"] == f"purchase:{number}"
                async with browser.get("/thanks/1001?fbclid=IwAR1click") as response:
                    assert response.status == 200
                    cookies = {line.partition("=")[0] for line in response.headers.getall("Set-Cookie")}
            # Django's own server ends by Ctrl-C only: its SIGTERM is none that Python hears of
            said = await server.ends(signal.SIGINT if "runserver" in host else signal.SIGTERM)
        events = {arrival.event["event_id"]: arrival.event["user_data"] for arrival in sandbox.arrivals("snap")}
    assert cookies == {"_fbc", "_fbp", "_capi_clicks"} or cookies == {"_fbc", "_capi_clicks"}
    assert set(events) == {"purchase:1001", *(f"purchase:{number}" for number in range(4))}, said
    assert events["purchase:3"]["sc_click_id"] == "click-3"
    assert events["purchase:3"]["client_user_agent"] == "Mozilla/5.0 (test)"
    assert "Traceback" not in said, said


@pytest.mark.skipif(sys.platform == "win32", reason="a worker ends by SIGTERM")
async def test_tasks_send_with_the_context_of_the_visitor_who_ordered(tmp_path: Path, broker: RedisServer) -> None:
    """The Celery example with Redis, in the two processes of its docstring; what lingers is sent at a warm shutdown."""
    for name in ("celery", "redis"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'capi_async[test]'")
    async with Sandbox() as sandbox:
        env = environment(sandbox, CELERY_BROKER_URL=broker.url(), C_FORCE_ROOT="1", PYTHONPATH=str(EXAMPLES))
        command = ["-m", "celery", "--workdir", str(EXAMPLES), "--app", "19_celery", "worker", "--loglevel", "INFO"]
        with process(command, env, tmp_path) as celery:
            ordered = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, str(EXAMPLES / "19_celery.py"), "1001", "1002"],
                env=env, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert ordered.returncode == 0, ordered.stderr
            until = time.monotonic() + 60
            while celery.output().count("succeeded in") < 2:
                assert celery.process.poll() is None, celery.output()
                assert time.monotonic() < until, celery.output()
                await anyio.sleep(0.05)
            said = await celery.ends()
        events = {arrival.event["event_id"]: arrival.event["user_data"] for arrival in sandbox.arrivals("snap")}
    assert set(events) == {"purchase:1001", "purchase:1002"}, said
    assert events["purchase:1002"]["sc_click_id"] == "click-1"
    assert events["purchase:1002"]["client_ip_address"] == "203.0.113.7"
    assert "Traceback" not in said, said


def manage(sandbox: Sandbox | None, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the Django example."""
    env = {**environment(sandbox), **more} if sandbox else {**os.environ, **more}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "14_django.py"), *arguments],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


async def test_djangos_command_says_whether_the_settings_are_right() -> None:
    """With every account's answer if it is asked to send, and with the reason if something is wrong."""
    pytest.importorskip("django", reason="django is not installed: pip install 'capi_async[test]'")
    async with Sandbox() as sandbox:
        good = await asyncio.to_thread(manage, sandbox, "capi_check", "--send")
        assert sandbox.arrivals("snap")[0].test
    assert good.returncode == 0, good.stderr
    assert "snap: delivered" in good.stdout
    assert "lost with the process" in good.stdout
    bad = await asyncio.to_thread(manage, None, "capi_check", CAPI_ASYNC_MODE="lve")
    assert bad.returncode == 1
    assert "CAPI_ASYNC_MODE is one of live, sandbox, off" in bad.stderr
