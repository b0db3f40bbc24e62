"""Threads, forks and exits, shortened: ``make chaos`` runs the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.threads import SCENARIOS, run


@pytest.mark.timeout(240)
def test_threads_forks_and_exits_lose_nothing_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    """What was told yes arrived, what was told no did not; all processes, threads and closes ended in time."""
    report = run(len(SCENARIOS), seed=1, folder=tmp_path, at_once=2)
    assert report.kept, report
    assert report.children >= 7
