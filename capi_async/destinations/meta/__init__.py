"""Meta: Conversions API for web, app, offline and messaging events."""

from capi_async.destinations.meta.destination import Meta

__all__ = ["Meta"]
