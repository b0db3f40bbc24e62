"""What the READMEs say is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from .readme_tables import TABLES, filled


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.parent.name)
def test_generated_tables_are_up_to_date(page: Path) -> None:
    """Run ``python -m tests.readme_tables`` after changing what they are made of."""
    assert filled(page) == page.read_text("utf-8")
