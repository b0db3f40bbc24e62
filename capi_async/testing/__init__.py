"""For tests of code that uses this package, and of destinations written by others.

``assert_balanced`` checks that every accepted event is accounted for, ``ManualClock`` is a clock that a test moves, and
``RecordingTransport`` stands in the place of the network.
"""

from capi_async.testing.balance import assert_balanced
from capi_async.testing.clock import ManualClock
from capi_async.testing.transport import RecordingTransport

__all__ = ["ManualClock", "RecordingTransport", "assert_balanced"]
