"""The FastAPI example, served as its docstring says, from the first click to the platforms."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest

from tests.environment import clean_environment
from tests.integration.test_tiktok_shop import free_port
from tests.test_examples import EXAMPLES, SHOP, run


async def test_the_example_connects_a_shop_and_forwards_its_orders(tmp_path: Path) -> None:
    """One command serves it; a seller agrees, a buyer pays, four platforms hear of it once."""
    pytest.importorskip("uvicorn")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXAMPLES / SHOP), "--port", str(port)),
        cwd=tmp_path,
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, follow_redirects=True, timeout=20) as browser:
            await served(browser)
            assert "Connect a TikTok Shop" in (await browser.get("/")).text
            assert (await browser.post("/webhooks/tiktok-shop", content=b"{}")).status_code == 503
            assert (await browser.get("/callback?code=stolen&state=guessed")).status_code == 403
            assert (await browser.get("/conversions")).json()["connected"] is False
            home = await browser.get("/connect")
            assert str(home.url) == f"{base}/"
            assert (await browser.post("/webhooks/tiktok-shop", content=b"{}")).status_code == 401
            for _ in range(2):
                assert (await browser.post("/sandbox/orders")).status_code == 200
            async with asyncio.timeout(20):
                while True:
                    found = (await browser.get("/conversions")).json()
                    if min(found["delivered"].values()) == 2:
                        break
                    await asyncio.sleep(0.05)
        assert found["forwarded"] == 2
        assert found["delivered"] == {"snap": 2, "pinterest": 2, "tiktok": 2, "meta": 2}
    finally:
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert b"Warning" not in err
    assert b"never awaited" not in err
    assert not os.listdir(tmp_path)  # noqa: PTH208 - a look at an empty folder


async def served(browser: httpx.AsyncClient) -> None:
    """Return as soon as it answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                await browser.get("/")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


def test_the_example_says_what_it_lacks(tmp_path: Path) -> None:
    """Without FastAPI there is one clear line, and no traceback."""
    (tmp_path / "fastapi.py").write_text("raise ImportError\n")
    (tmp_path / "uvicorn.py").write_text("")
    code = f"import runpy, sys; sys.path.insert(0, '.'); runpy.run_path({str(EXAMPLES / SHOP)!r})"
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "this example needs FastAPI: pip install fastapi uvicorn\n"
