"""``capi-async worker --otel`` in a process of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

from capi_async import Client, Event, Page, User
from tests.engine.server import Server
from tests.telemetry.test_otel import Watched

PROGRAM = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from capi_async.cli.main import main

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
main()
"""

CONFIG = """
spool = "sqlite:///{folder}/events.db"
linger_s = 0
[destinations.snap]
pixel_id = "p"
access_token = "zq-worker-token"
base_url = "{url}"
"""


async def test_a_workers_requests_are_linked_to_the_web_processes_calls(server: Server, tmp_path: Path) -> None:
    """The provider is the process's, as opentelemetry-instrument sets it."""
    seen = Watched()
    config = tmp_path / "capi.toml"
    config.write_text(CONFIG.format(folder=tmp_path, url=server.url), "utf-8")
    config.chmod(0o600)
    async with Client.from_config(config, deliver=False, hooks=[seen.hook]) as web:
        page = Page(url="https://shop.example/")
        await web.send(Event("purchase", value=1, currency="USD", user=User(email="a@b.example"), page=page))
    [send] = seen.spans("capi.send")
    assert send.context is not None
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "worker", "--config", str(config), "--otel", "--host", "",
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    text = ""
    try:
        assert worker.stdout is not None
        async with asyncio.timeout(30):
            while not re.search(r'"capi.request snap".*\n}', text, re.DOTALL):
                text += (await worker.stdout.readline()).decode()
    finally:
        if worker.returncode is None:
            worker.send_signal(signal.SIGTERM)
        rest, _ = await worker.communicate()
    text += rest.decode()
    assert f"0x{send.context.span_id:016x}" in text
    assert "zq-worker-token" not in text
    assert "b.example" not in text
