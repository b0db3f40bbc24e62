"""What the errors say about the event that they are raised for."""

from __future__ import annotations

import pickle

import pytest

from capi_async import ClientClosed, QueueFull, SpoolError
from capi_async.spool.base import Busy


@pytest.mark.parametrize(
    ("kind", "stored"), [(QueueFull, False), (ClientClosed, False), (SpoolError, None), (Busy, False)]
)
def test_an_error_says_whether_the_event_is_stored(kind: type[SpoolError], stored: bool | None) -> None:
    """What is raised before anything was tried is a sure no; a failure of storage may be anything, unless it says."""
    assert kind("no").stored is stored
    assert kind("no", stored=True).stored is True
    assert kind("no").stored_events == 0


@pytest.mark.parametrize("kind", [QueueFull, ClientClosed, SpoolError, Busy])
def test_what_an_error_says_survives_a_queue_between_processes(kind: type[SpoolError]) -> None:
    """Task queues pickle the errors of their workers."""
    error = pickle.loads(pickle.dumps(kind("no", stored=None, stored_events=3)))  # noqa: S301  (our own bytes)
    assert (str(error), error.stored, error.stored_events) == ("no", None, 3)
