"""What the README says is what the code says."""

from __future__ import annotations

from .readme_tables import README, filled


def test_generated_tables_are_up_to_date() -> None:
    """Run ``python -m tests.readme_tables`` after changing a destination's declarations."""
    text = README.read_text("utf-8")
    assert filled(text) == text
