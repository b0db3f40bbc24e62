"""The context of a web request, for every event of its visitor: in memory, as a text, or in a store.

>>> from capi_async.context import ContextSettings, RequestContext
>>> settings = ContextSettings(trusted_proxies=1, cookie_domain="shop.example")
>>> context = RequestContext.from_parts("https://shop.example/thanks?gclid=abc", settings=settings)
>>> context.event("purchase", value="12.50", currency="EUR", order_id="1001").click.gclid
'abc'
"""

from __future__ import annotations

from capi_async.context.context import RequestContext
from capi_async.context.request import Request
from capi_async.context.response import Cookie
from capi_async.context.settings import ContextSettings

__all__ = ["ContextSettings", "Cookie", "Request", "RequestContext"]
