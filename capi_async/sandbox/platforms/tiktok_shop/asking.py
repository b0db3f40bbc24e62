"""One admitted call, as an operation sees it, and how an operation reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from capi_async.sandbox.platforms.tiktok_shop.envelope import Failure, parameter
from capi_async.sandbox.platforms.tiktok_shop.model import Shop
from capi_async.sandbox.platforms.tiktok_shop.oauth import App, Grant
from capi_async.sandbox.platforms.tiktok_shop.pages import MAX_PAGE_SIZE, BadToken, Pages
from capi_async.sandbox.platforms.tiktok_shop.webhooks import Webhooks
from capi_async.sandbox.platforms.tiktok_shop.world import World

T = TypeVar("T")


class Ask(Struct):
    """A call that passed the gate.

    Attributes:
        shop: The one that ``shop_cipher`` selects; the seller's first where the operation takes no cipher.
        body: The JSON object of the body; empty without one.
        parts: What the path holds, such as ``product_id``.
        raw: The bytes of the body, for multipart.
        sparse: Order search tells little more than ids.
    """

    world: World
    webhooks: Webhooks
    pages: Pages
    app: App
    grant: Grant
    shop: Shop
    query: Mapping[str, str]
    body: dict[str, Any]
    parts: Mapping[str, str]
    raw: bytes
    content_type: str
    now: float
    sparse: bool

    def text(self, name: str, choices: Sequence[str] = (), default: str = "") -> str:
        """A text of the query, then of the body."""
        value = self.query.get(name, self.body.get(name, default))
        if not isinstance(value, str) or (value and choices and value not in choices):
            raise parameter(name)
        return value

    def number(self, name: str) -> int | None:
        """A whole number of the body."""
        value = self.body.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise parameter(name)
        return value

    def texts(self, name: str, most: int) -> list[str]:
        """A list of texts of the body."""
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) > most:
            raise parameter(name)
        return value

    def page(
        self,
        items: Sequence[T],
        key: Callable[[T], Any],
        *,
        filters: object = None,
        descending: bool = False,
        default_size: int | None = None,
        size_code: int = 0,
        token_code: int = 0,
    ) -> tuple[list[T], dict[str, Any]]:
        """One page, and the ``total_count`` and ``next_page_token`` beside it.

        Args:
            filters: What else the token must agree with, beside the body.
            default_size: When the page size may be left out.
            size_code: Code of a bad page size, where the endpoint has its own.
            token_code: The same for the token.
        """
        size = self._page_size(default_size, size_code)
        same = (tuple(self.parts.items()), self.shop.id, msgspec.json.encode(self.body, order="deterministic"), filters)
        try:
            page, token = self.pages.cut(
                items,
                key,
                query=(*same, size, descending),
                size=size,
                token=self.query.get("page_token", ""),
                now=self.now,
                descending=descending,
            )
        except BadToken:
            fault = "is invalid or expired"
            raise Failure(token_code, f"page_token {fault}") if token_code else parameter("page_token", fault) from None
        return page, {"total_count": len(items), "next_page_token": token}

    def _page_size(self, default: int | None, code: int) -> int:
        text = self.query.get("page_size", "")
        if not text and default is not None:
            return default
        if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE_SIZE:
            fault = f"must be between 1 and {MAX_PAGE_SIZE}"
            raise Failure(code, f"page_size {fault}") if code else parameter("page_size", fault)
        return int(text)
