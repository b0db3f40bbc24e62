"""The soak, shortened: ``make soak`` runs the long one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.chaos.soak import Sample, growth_mb, run


@pytest.mark.timeout(240)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_seconds_of_faults_leave_the_ledger_balanced(tmp_path: Path) -> None:
    """Everything sent is settled, and the sandbox counted the same. How fast it goes is not this test's affair."""
    report = run(2.0, 500, seed=1, folder=tmp_path)
    told = [one for one in report.broken if "events a second" not in one and "nothing went wrong" not in one]
    assert not told, report
    assert report.events == 1_000


def test_growth_is_told_from_warming_up() -> None:
    """What memory gains in the first minute does not count; what it gains after does."""
    flat = [Sample(float(at), min(at, 50) + 40.0, 1.0) for at in range(600)]
    leaking = [Sample(float(at), at / 10 + 40.0, 1.0) for at in range(600)]
    assert growth_mb(flat) == 0.0
    assert growth_mb(leaking) > 30.0
