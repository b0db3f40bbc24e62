"""``{% load capi %}{% capi_snippet event "meta" "tiktok" %}``, or a list of platforms: ``{% capi_snippet event accounts
%}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from capi_async.browser import browser_snippet
from capi_async.event import Event

register = template.Library()


@register.simple_tag(takes_context=True)  # type: ignore[untyped-decorator]  # Django has no types
def capi_snippet(context: Any, event: Event, *platforms: Any, nonce: str | None = None) -> SafeString:
    """The script element of :func:`~capi_async.browser.browser_snippet`; the nonce of django-csp is taken by itself."""
    wanted = [one for given in platforms for one in (given if isinstance(given, (list, tuple)) else (given,))]
    request = context.get("request")
    found = nonce or getattr(request, "csp_nonce", None)
    snippet = browser_snippet(event, wanted, nonce=str(found) if found else None)
    return mark_safe(snippet)  # noqa: S308 - it is safe inside HTML by itself
