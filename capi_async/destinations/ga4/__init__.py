"""Google Analytics 4, by its Measurement Protocol."""

from capi_async.destinations.ga4.destination import GA4

__all__ = ["GA4"]
