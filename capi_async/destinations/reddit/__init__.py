"""Reddit: Conversions API v3."""

from capi_async.destinations.reddit.destination import Reddit

__all__ = ["Reddit"]
