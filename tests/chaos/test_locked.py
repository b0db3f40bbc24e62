"""The locked file, shortened: ``make chaos`` locks it for half a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.locked import run


@pytest.mark.parametrize("how", ["writer", "shell"])
async def test_a_file_that_another_process_locks_loses_nothing_that_was_accepted(tmp_path: Path, how: str) -> None:
    """Nor does it keep anything that was refused."""
    report = await run(how, 1.5, tmp_path)
    assert report.kept, report
