"""Does a ledger balance, and is every event accounted for?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from capi_async.spool.base import Ledger


def assert_balanced(
    client_or_ledger: Any, *, ids: Iterable[str] | None = None, pending: int | None = None
) -> Mapping[str, Ledger]:
    """Fail unless ``accepted`` is the sum of all other counts, at every destination; returns the ledger.

    Args:
        client_or_ledger: A ``Client``, a ``SyncClient``, or what their ``ledger()`` gave.
        ids: Event ids for which ``send()`` returned, if these are all that were ever sent: every destination must
            have accepted at least as many as there are distinct ones.
        pending: How many may be left unsettled at each destination; ``None``: any number.

    Raises:
        AssertionError: The text names the destination and its counts.
    """
    ledger: Mapping[str, Ledger] = (
        client_or_ledger if isinstance(client_or_ledger, Mapping) else client_or_ledger.ledger()
    )
    sent = None if ids is None else len(set(ids))
    for name, counts in ledger.items():
        told = f"{name}: {counts}"
        if not counts.balanced:
            missing = counts.accepted - counts.settled - counts.pending
            raise AssertionError(f"the ledger does not balance, {missing} events are missing; {told}")
        if sent is not None and counts.accepted < sent:
            raise AssertionError(f"{sent} events were accepted, and {counts.accepted} are known; {told}")
        if pending is not None and counts.pending > pending:
            raise AssertionError(f"{counts.pending} events are not settled; {told}")
    return ledger
