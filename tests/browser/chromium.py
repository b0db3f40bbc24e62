"""A headless Chromium that loads a page and gives it back as its scripts left it."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

#: Set where all services must be there: then their absence fails, unless this one was tried and could not be had.
REQUIRED = os.environ.get("CAPI_REQUIRE_SERVICES") == "1" and os.environ.get("CAPI_WITHOUT") != "chromium"


def program() -> str:
    """Where the browser is; without one the test is skipped, or fails where services are required."""
    for name in (os.environ.get("CAPI_TEST_CHROMIUM") or "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if REQUIRED:
        pytest.fail("chromium is required here, and not installed")
    pytest.skip("chromium is not installed (on Debian: apt install chromium)")


async def dom_of(url: str, profile: Path) -> str:
    """The page at ``url`` as HTML, after its scripts ran; the deadline only bounds a browser that hangs."""
    process = await asyncio.create_subprocess_exec(
        program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-extensions", "--disable-background-networking", "--disable-sync", f"--user-data-dir={profile}",
        "--virtual-time-budget=2000", "--dump-dom", url,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode(errors="replace")[-2_000:]
    return out.decode()
