"""The assertion that users write in their own tests."""

from __future__ import annotations

import pytest

from capi_async.spool.base import Ledger
from capi_async.testing import assert_balanced


def test_a_balanced_ledger_passes() -> None:
    """And is handed back."""
    ledger = {"a": Ledger(accepted=3, delivered=2, pending=1)}
    assert assert_balanced(ledger, ids=["1", "2", "3", "3"], pending=1) is ledger


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (Ledger(accepted=3, delivered=2), "1 events are missing"),
        (Ledger(accepted=1, delivered=1), "2 events were accepted, and 1 are known"),
        (Ledger(accepted=2, pending=2), "2 events are not settled"),
    ],
)
def test_whatever_is_missing_is_named(counts: Ledger, said: str) -> None:
    """With the destination, in the text of the failure."""
    with pytest.raises(AssertionError, match=f"{said}.*"):
        assert_balanced({"a": counts}, ids=["1", "2"], pending=1)
