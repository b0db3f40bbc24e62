"""The client at home in web frameworks and task queues; one module per host, loaded when it is imported.

``asgi`` (Litestar, Quart, any other), ``fastapi`` (Starlette too), ``django``, ``flask``, ``aiohttp``, ``celery``.
"""

from __future__ import annotations

from capi_async.integrations.tracker import BlockingTracker, RequestTracker, current_tracker

__all__ = ["BlockingTracker", "RequestTracker", "current_tracker"]
