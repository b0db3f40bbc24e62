"""What snippets written for the older client expect: numbers to sleep for, its keywords, an explicit refresh."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

import capi_async.sources.tiktok_shop as package
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sources.tiktok_shop import (
    MemoryTokens,
    TikTokShop,
    TikTokShopRateLimitError,
    TikTokShopUnsupportedError,
    TikTokShopValidationError,
)
from capi_async.sources.tiktok_shop.errors import error_of
from tests.sources.connected import BACKOFF_S, connected


@pytest.mark.parametrize(
    ("code", "status"), [(36009002, 200), (36009002, 429), (0, 429), (36009037, 200), (45101004, 200)]
)
def test_a_rate_limit_always_says_how_long_to_wait(code: int, status: int) -> None:
    """``time.sleep(error.retry_after)`` works without a ``Retry-After``; what the platform said wins."""
    error = error_of(code, "", http_status=status)
    assert isinstance(error, TikTokShopRateLimitError)
    assert 1 <= error.retry_after <= 3600
    assert error_of(code, "", http_status=status, retry_after_s=7.5).retry_after == 7.5
    assert TikTokShopRateLimitError("slow down").retry_after > 0


async def test_the_handler_of_the_older_client_works() -> None:
    """It sleeps for what the error says, and shows its message."""
    async with connected() as ends:
        ends.platform.fail(36009002, status=429, count=None)
        with pytest.raises(TikTokShopRateLimitError) as raised:
            await ends.shop.get_products(page_size=10)
        # the snippet's own line, without its second
        await asyncio.sleep(raised.value.retry_after * 0)
        assert raised.value.message


async def test_calls_of_other_endpoints_write_what_they_are_given() -> None:
    """``0`` and ``False`` are values; ``None`` and empty text are none."""
    async with connected() as ends:
        query = {"page_size": 1, "offset": 0, "flag": False, "rate": Decimal("0.5"), "none": None, "empty": ""}
        await ends.shop.call("POST", "/order/202309/orders/search", query=query, reads=True)
        sent = ends.platform.calls[-1].query
        assert (sent["page_size"], sent["offset"], sent["flag"], sent["rate"]) == ("1", "0", "false", "0.5")
        assert not {"none", "empty"} & set(sent)


@pytest.mark.parametrize("value", [["1", "2"], ("1",), {"a": 1}, b"1", {"1"}])
async def test_a_parameter_that_nobody_can_write_is_refused(value: Any) -> None:
    """In words, and nothing is sent: how a list is written differs from endpoint to endpoint."""
    async with connected() as ends:
        with pytest.raises(TikTokShopValidationError, match=r"query: ids is a .*commas"):
            await ends.shop.call("GET", "/order/202507/orders", query={"ids": value})
        with pytest.raises(TikTokShopValidationError, match="a GET has no body"):
            await ends.shop.call("GET", "/order/202507/orders", body={"ids": "1"})
        assert ends.paths == []


async def test_no_empty_object_is_sent() -> None:
    """SDKs disagree whether ``{}`` is signed; nothing at all is signed in one way only."""
    async with connected() as ends:
        await ends.shop.get_orders()
        await ends.shop.get_products()
        await ends.shop.call("POST", "/product/202502/products/search", query={"page_size": 1}, body={}, reads=True)
        assert [call.body for call in ends.platform.calls] == [b"", b"", b""]
        assert set(ends.codes) == {0}


async def test_tokens_can_be_refreshed_on_demand() -> None:
    """Long before they end; the new pair is used from then on."""
    async with connected() as ends:
        before = await ends.shop.tokens()
        after = await ends.shop.refresh()
        assert after.access_token != before.access_token
        assert after.refresh_token != before.refresh_token
        assert await ends.shop.tokens() == after
        await ends.shop.get_orders()
        assert ends.codes[-1] == 0


async def test_clients_that_share_a_memory_store_refresh_once() -> None:
    """However many ask at once: a second refresh would find the pair dead."""
    store = MemoryTokens()
    async with Sandbox(rates={"tiktok_shop": None}) as sandbox:
        url = sandbox.url("tiktok_shop")
        clients = [TikTokShop(APP_KEY, APP_SECRET, tokens=store, base_url=url, backoff_s=BACKOFF_S) for _ in range(3)]
        await clients[0].connect(sandbox.tiktok_shop.authorize())
        for _ in range(3):
            sandbox.tiktok_shop.expire_access()
            await asyncio.gather(*(client.get_shops() for client in clients for _ in range(3)))
        for client in clients:
            await client.aclose()
        assert sum(call.path.endswith("/refresh") for call in sandbox.tiktok_shop.calls) == 3


async def test_upload_by_address_says_why_it_cannot() -> None:
    """The older keywords are taken, and nothing is sent."""
    async with connected() as ends:
        with pytest.raises(TikTokShopUnsupportedError, match=r"fetches a video from an address.*file itself"):
            await ends.shop.upload_video(
                video_url="https://example.com/video.mp4", title="Binders", description="Battle-ready",
                product_ids=["1234567890", "0987654321"], tags=["tcg"],
            )  # fmt: skip
        with pytest.raises(TikTokShopValidationError, match="video_url"):
            await ends.shop.upload_video(title="Binders")
        with pytest.raises(TikTokShopValidationError, match="video_url"):
            await ends.shop.upload_video(b"...", "Binders", video_url="https://example.com/video.mp4")
        assert ends.paths == []
    async with connected(legacy=True) as ends:
        made = await ends.shop.upload_video(video_url="https://example.com/video.mp4", title="Binders")
        assert made.id


@pytest.mark.parametrize(
    "name", ["SignatureError", "StaleWebhookError", "MalformedWebhookError", "BusyError", "ForwarderClosed"]
)
def test_what_a_webhook_may_be_refused_with_is_exported(name: str) -> None:
    """For those who answer webhooks themselves."""
    kind = getattr(package, name)
    assert issubclass(kind, package.WebhookError)
    assert kind.status in (400, 401, 503)
