"""The fleet, shortened: ``make chaos`` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.redis_fleet import run
from tests.spool.redis_server import program


@pytest.mark.timeout(240)
async def test_a_fleet_on_one_redis_loses_nothing(tmp_path: Path) -> None:
    """Every event arrived everywhere or has a fate, nothing is stuck, and nobody was told no of what arrived."""
    program()
    report = await run(2.5, 4, tmp_path, webs=1, workers=2)
    assert report.kept, report
