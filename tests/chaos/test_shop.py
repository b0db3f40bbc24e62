"""The forwarding of two shops under kills and outages, shortened: ``make chaos`` runs ten minutes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.shop import run


@pytest.mark.timeout(240)
async def test_every_paid_order_arrives_through_kills_outages_and_odd_orders(tmp_path: Path) -> None:
    """At both platforms, and none counts twice."""
    report = await run(2.5, seed=1, folder=tmp_path, quick=True)
    assert report.kept, report
    assert report.paid > 5
    assert report.odd
    assert report.kills
    assert report.outages
