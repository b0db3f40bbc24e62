"""Django: a client for each process, and ``request.capi``, the tracker of the request.

    INSTALLED_APPS = [..., "capi_async.integrations.django"]
    MIDDLEWARE = ["capi_async.integrations.django.CapiMiddleware", ...]

    def checkout(request):
        request.capi.send("purchase", value="72.39", currency="EUR", order_id="1001")

Settings: ``CAPI_CLIENT`` (a client, or a function that makes one, or the dotted name of either; default: the
environment's accounts), ``CAPI_TRUSTED_PROXIES``, or ``CAPI_CONTEXT`` (a ``ContextSettings``, or its dotted name).
``manage.py capi_check`` says whether all of it is right.
"""

from __future__ import annotations

from capi_async.integrations.django.client import client
from capi_async.integrations.django.middleware import CapiMiddleware, context_of
from capi_async.integrations.tracker import BlockingTracker

__all__ = ["BlockingTracker", "CapiMiddleware", "client", "context_of"]
