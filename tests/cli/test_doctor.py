"""``capi-async doctor`` on a terminal and as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from capi_async.sandbox import Sandbox
from tests.cli.conftest import Run

PIXEL = "00000000-0000-4000-8000-000000000001"
TOKEN = "sandbox-token"
WRONG = "never-in-any-text-0042"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Every platform."""
    async with Sandbox() as server:
        yield server


async def _in_thread(run: Run, *arguments: object) -> Any:
    return await asyncio.to_thread(run, *arguments)


async def test_the_command_shows_a_table_in_80_columns_and_ends_with_0_or_1(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    """And JSON, with what to do on every line that is not ok."""
    config = tmp_path / "capi.toml"
    config.write_text(
        f'spool = "sqlite:///{tmp_path}/spool.db"\n[destinations.snap]\npixel_id = "{PIXEL}"\n'
        f'access_token = "{TOKEN}"\nbase_url = "{sandbox.url("snap")}"\n'
    )
    config.chmod(0o600)
    ran = await _in_thread(run, "doctor", "--config", config, "--send-test")
    assert (ran.code, "0 failures" in ran.out) == (0, True)
    assert max(map(len, ran.out.splitlines())) <= 80
    config.write_text(config.read_text().replace(TOKEN, WRONG))
    ran = await _in_thread(run, "doctor", "--config", config, "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["ok"]) == (1, False)
    assert all(one["fix"] for one in found["findings"] if one["level"] != "ok")
    assert WRONG not in ran.out


@pytest.mark.parametrize("arguments", [(), ("--config", "/nonexistent/capi.toml")])
def test_a_configuration_that_cannot_be_read_is_a_finding(run: Run, arguments: tuple[str, ...]) -> None:
    """Packages are looked at all the same."""
    ran = run("doctor", *arguments, "--json")
    found = json.loads(ran.out)
    assert ran.code == 1
    assert {"python", "packages", "configuration"} <= {one["subject"] for one in found["findings"]}
