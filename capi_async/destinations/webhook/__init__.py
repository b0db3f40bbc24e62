"""Any HTTP endpoint."""

from capi_async.destinations.webhook.destination import Webhook

__all__ = ["Webhook"]
