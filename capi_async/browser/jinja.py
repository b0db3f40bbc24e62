"""The function ``capi_snippet`` for templates of Jinja: ``{{ capi_snippet(event) }}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from capi_async.browser.names import Target
from capi_async.browser.snippet import BrowserSnippet, browser_snippet
from capi_async.event import Event


class _Environment(Protocol):
    globals: Any


def install(environment: _Environment, platforms: Sequence[Target]) -> None:
    """Give an environment the function ``capi_snippet(event, platforms=..., nonce=...)``.

    Args:
        environment: A ``jinja2.Environment``, such as ``templates.env`` of Starlette.
        platforms: Whose tags are called unless a template says otherwise; see
            :func:`~capi_async.browser.browser_snippet`.
    """

    def capi_snippet(
        event: Event, platforms: Sequence[Target] = tuple(platforms), nonce: str | None = None
    ) -> BrowserSnippet:
        return browser_snippet(event, platforms, nonce=nonce)

    environment.globals["capi_snippet"] = capi_snippet
