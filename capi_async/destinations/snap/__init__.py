"""Snap: Conversions API v3 and v2, and what can be read back from them."""

from capi_async.destinations.snap.destination import Snap
from capi_async.destinations.snap.readback import (
    ReadbackError,
    TestEventLog,
    TestEventLogs,
    TestEventStats,
    Traffic,
    Validated,
    test_event_logs,
    test_event_stats,
    validate,
)
from capi_async.destinations.snap.v2 import SnapV2

__all__ = [
    "ReadbackError",
    "Snap",
    "SnapV2",
    "TestEventLog",
    "TestEventLogs",
    "TestEventStats",
    "Traffic",
    "Validated",
    "test_event_logs",
    "test_event_stats",
    "validate",
]
