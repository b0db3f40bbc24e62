"""The kill loop, shortened: ``make chaos`` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kill_loop import run


@pytest.mark.timeout(240)
def test_a_sender_killed_over_and_over_loses_nothing(tmp_path: Path) -> None:
    """Every accepted event arrived or has a final outcome; copies come only from requests that a kill cut off."""
    report = run(4, seed=1, folder=tmp_path)
    assert report.kept, report
    assert report.accepted > 300
