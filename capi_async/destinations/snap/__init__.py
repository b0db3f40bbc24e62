"""Snap: Conversions API v3 and v2, and what can be read back from them."""

from capi_async.destinations.snap.v3 import Snap

__all__ = ["Snap"]
