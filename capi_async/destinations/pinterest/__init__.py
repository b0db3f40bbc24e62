"""Pinterest: API for Conversions v5."""

from capi_async.destinations.pinterest.v5 import Pinterest

__all__ = ["Pinterest"]
