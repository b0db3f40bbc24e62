"""Pinterest: API for Conversions v5."""

from capi_async.destinations.pinterest.destination import Pinterest

__all__ = ["Pinterest"]
