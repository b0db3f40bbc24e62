"""``capi-async top``."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from capi_async import Client, Event, Page, User
from capi_async.cli.summary import Summary
from capi_async.cli.table import facts, show
from capi_async.cli.top import Watch, table
from capi_async.destinations import Snap
from capi_async.spool.base import Ledger
from tests.cli.conftest import Run


class Hand:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_looks_become_rates_and_a_standstill_is_told() -> None:
    """Two seconds apart; nothing is settled in the third look, and nothing waits in the last."""
    clock = Hand()
    watch = Watch(clock)
    assert watch.look({"snap": Ledger(accepted=10, delivered=10)})["snap"].state == "idle"
    clock.now += 2
    line = watch.look({"snap": Ledger(accepted=110, delivered=30, dead=10, pending=70)})["snap"]
    assert (line.waiting, line.in_per_s, line.out_per_s, line.lost) == (70, 20.0, 6.0, 10)
    assert line.state == "moving"
    clock.now += 30
    assert (
        watch.look({"snap": Ledger(accepted=110, delivered=30, dead=10, pending=70)})["snap"].state == "still for 30 s"
    )
    clock.now += 1
    assert watch.look({"snap": Ledger(accepted=110, delivered=100, dead=10)})["snap"].state == "idle"


def test_a_replay_is_no_rate_below_zero() -> None:
    """Dead events that wait again."""
    clock = Hand()
    watch = Watch(clock)
    watch.look({"snap": Ledger(accepted=10, dead=10)})
    clock.now += 1
    assert watch.look({"snap": Ledger(accepted=10, pending=10)})["snap"].out_per_s == 0


def test_the_table_fits_80_columns() -> None:
    """With a long name and large numbers."""
    clock = Hand()
    counts = Ledger(accepted=123_456_789, delivered=120_000_000, rejected=3_000_000, dead=400_000, pending=56_789)
    lines = Watch(clock).look({"snap_of_the_shop_in_germany": counts})
    console = Console(width=80, record=True, quiet=False, force_terminal=False)
    with console.capture() as shown:
        console.print(table(lines))
    assert "120,000,000" in shown.get()
    assert max(map(len, shown.get().splitlines())) <= 80


async def _filled(path: Path) -> None:
    snap = Snap(pixel_id="00000000-0000-4000-8000-000000000001", access_token="unused-token")
    async with Client([snap], spool=f"sqlite:///{path}", deliver=False) as client:
        await client.send(
            Event("sign_up", user=User(email="a@b.example"), page=Page(url="https://shop.example/"), order_id="1")
        )


async def test_a_spool_is_watched_without_being_changed(run: Run, tmp_path: Path) -> None:
    """As a table and as JSON."""
    await _filled(tmp_path / "spool.db")
    address = f"sqlite:///{tmp_path / 'spool.db'}"
    ran = await asyncio.to_thread(run, "top", address, "--looks", 2, "--every", 0.1, "--json")
    first, second = map(json.loads, ran.out.splitlines())
    assert (first["snap"]["waiting"], second["snap"]["state"]) == (1, "still for 0 s")
    shown = await asyncio.to_thread(run, "top", address, "--looks", 1)
    assert (shown.code, "waiting" in shown.out, "snap" in shown.out) == (0, True, True)


@pytest.mark.parametrize("address", ["sqlite:////nonexistent/spool.db", "memory"])
def test_where_there_is_no_durable_spool_a_line_says_so(run: Run, address: str) -> None:
    """Exit code 2."""
    assert run("top", address, "--looks", 1).code == 2


def test_a_result_fits_a_terminal_of_80_columns() -> None:
    """In two tables; elsewhere it is one, with a line for each destination."""
    counts = {"tiktok_pixel": Ledger(accepted=1_000, delivered=900, rejected=100)}
    found = facts(counts, Summary(counts))
    narrow, file = Console(width=80, force_terminal=True, no_color=True), Console(width=80, force_terminal=False)
    with narrow.capture() as shown:
        show(narrow, found)
    assert shown.get().count("destination") == 2
    assert max(len(line.rstrip()) for line in re.sub(r"\x1b\[[0-9;]*m", "", shown.get()).splitlines()) <= 80
    with file.capture() as shown:
        show(file, found)
    assert shown.get().count("destination") == 1
