"""LinkedIn: Conversions API."""

from capi_async.destinations.linkedin.destination import LinkedIn

__all__ = ["LinkedIn"]
