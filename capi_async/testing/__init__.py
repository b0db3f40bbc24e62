"""For tests of code that uses this package, and of destinations written by others.

``Recorder`` gives code under test a client that reaches nobody; ``no_live_requests`` and ``NoLiveRequests`` (unittest)
keep tests away from the real platforms, as the pytest plug-in does by itself. ``assert_balanced`` checks that every
accepted event is accounted for, ``ManualClock`` is a clock that a test moves, and ``RecordingTransport`` stands in the
place of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from capi_async.testing.balance import assert_balanced
from capi_async.testing.clock import ManualClock
from capi_async.testing.transport import RecordingTransport

if TYPE_CHECKING:
    from capi_async.testing.live_guard import LiveRequest, NoLiveRequests, no_live_requests
    from capi_async.testing.recorder import Recorder

__all__ = [
    "LiveRequest",
    "ManualClock",
    "NoLiveRequests",
    "Recorder",
    "RecordingTransport",
    "assert_balanced",
    "no_live_requests",
]

#: What brings the sandbox along, or every destination, is imported when it is first asked for.
_LATER: Final = {
    "LiveRequest": "live_guard",
    "NoLiveRequests": "live_guard",
    "Recorder": "recorder",
    "no_live_requests": "live_guard",
}


def __getattr__(name: str) -> Any:
    if module := _LATER.get(name):
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
