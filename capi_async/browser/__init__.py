"""Browser tags and server events that are known to be one: the same id, name and value on both ways.

event = context.event("purchase", value="12.50", currency="EUR", order_id=order.id)
await client.send(event)
page = template.render(snippet=context.browser_snippet(event, client.destinations))
"""

from __future__ import annotations

from capi_async.browser.calls import TAGS
from capi_async.browser.names import BrowserTag, Target
from capi_async.browser.snippet import BrowserSnippet, browser_snippet, script_json

__all__ = ["TAGS", "BrowserSnippet", "BrowserTag", "Target", "browser_snippet", "script_json"]
