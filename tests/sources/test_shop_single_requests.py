"""Which single request each call of a TikTok Shop makes at the platform's own hosts, and what an odd answer costs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aioresponses import aioresponses

from capi_async.sources.tiktok_shop import (
    Shop,
    TikTokShop,
    TikTokShopAuthError,
    TikTokShopNetworkError,
    TikTokShopRateLimitError,
    TikTokShopServerError,
    TokenSet,
)
from capi_async.testing import ManualClock
from tests.single_requests import answered

API = "https://open-api.tiktokglobalshop.com"
SECRET = "s3cret-of-the-app"
TOKEN = "token-of-the-seller"
US = Shop(id="7", cipher="ROW_us")
NOW = 1_700_000_000

Call = Callable[[TikTokShop], Awaitable[Any]]


@pytest.fixture
def platform() -> Iterator[aioresponses]:
    """Answers instead of the platform's; a request that none was added for is refused like one that cannot connect."""
    with answered() as answers:
        yield answers


@pytest.fixture
async def shop() -> AsyncIterator[TikTokShop]:
    """A client of the platform itself; its waits are too short to notice."""
    clock = ManualClock(wall=NOW)
    tokens = TokenSet(access_token=TOKEN, refresh_token="r", access_expires_at=4_000_000_000)
    async with TikTokShop("app", SECRET, tokens=tokens, shop=US, backoff_s=0.001, clock=clock) as client:
        yield client


def success(**data: Any) -> dict[str, Any]:
    return {"code": 0, "message": "Success", "request_id": "r-1", "data": data}


def sent(platform: aioresponses) -> list[tuple[str, str, dict[str, str], Any, dict[str, str]]]:
    """Method, address, query, JSON body and headers of each request, in order of their addresses."""
    return [
        (
            method, str(url.with_query(None)), dict(parse_qsl(url.query_string, keep_blank_values=True)),
            json.loads(call.kwargs["data"]) if call.kwargs["data"] else None, dict(call.kwargs["headers"]),
        )
        for (method, url), calls in platform.requests.items()
        for call in calls
    ]  # fmt: skip


def answer_all(platform: aioresponses, **answer: Any) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        platform.add(re.compile(r"https://"), method=method, repeat=True, **answer)


REQUESTS: dict[str, tuple[Call, str, str, dict[str, str], Any]] = {
    "get_shops": (lambda shop: shop.get_shops(), "GET", "/authorization/202309/shops", {}, None),
    "get_product": (
        lambda shop: shop.get_product("17"), "GET", "/product/202309/products/17", {"shop_cipher": "ROW_us"}, None,
    ),
    "get_inventories": (
        lambda shop: shop.get_inventories(["17"]), "POST", "/product/202309/inventory/search",
        {"shop_cipher": "ROW_us"}, {"product_ids": ["17"]},
    ),
    "get_products": (
        lambda shop: shop.get_products(page_size=5, status="ACTIVATE"), "POST", "/product/202502/products/search",
        {"shop_cipher": "ROW_us", "page_size": "5"}, {"status": "ACTIVATE"},
    ),
    "get_orders": (
        lambda shop: shop.get_orders(page_size=5, order_status="DELIVERED", start_time=NOW), "POST",
        "/order/202309/orders/search",
        {"shop_cipher": "ROW_us", "page_size": "5", "sort_field": "create_time", "sort_order": "DESC"},
        {"order_status": "DELIVERED", "create_time_ge": NOW},
    ),
    "get_orders_by_id": (
        lambda shop: shop.get_orders_by_id(["1", "2", "1"]), "GET", "/order/202507/orders",
        {"shop_cipher": "ROW_us", "ids": "1,2"}, None,
    ),
    "get_video": (
        lambda shop: shop.get_performance_metrics("video", "9", date(2023, 11, 1), date(2023, 11, 8)), "GET",
        "/analytics/202409/shop_videos/9/performance",
        {"shop_cipher": "ROW_us", "start_date_ge": "2023-11-01", "end_date_lt": "2023-11-08", "granularity": "1D"},
        None,
    ),
    "set_webhook": (
        lambda shop: shop.set_webhook("ORDER_STATUS_CHANGE", "https://a.example/hook"), "PUT",
        "/event/202309/webhooks", {"shop_cipher": "ROW_us"},
        {"address": "https://a.example/hook", "event_type": "ORDER_STATUS_CHANGE"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
async def test_each_call_asks_the_documented_path_of_the_platform(
    name: str, shop: TikTokShop, platform: aioresponses
) -> None:
    """One request: method, path with its own version, query, body; the token in its header, and nothing secret else."""
    call, method, path, query, body = REQUESTS[name]
    answer_all(platform, payload=success(id="17"))
    await call(shop)
    ((used, address, asked, told, headers),) = sent(platform)
    assert (used, address, told) == (method, API + path, body)
    assert len(asked.pop("sign")) == 64
    assert asked == {"app_key": "app", "timestamp": str(NOW), **query}
    assert headers["x-tts-access-token"] == TOKEN
    assert SECRET not in str((asked, told, headers))


async def test_a_code_is_exchanged_once_at_the_token_host(shop: TikTokShop, platform: aioresponses) -> None:
    """It works once: also a lost answer is not followed by a second attempt."""
    answer_all(platform, exception=aiohttp.ServerDisconnectedError())
    with pytest.raises(TikTokShopNetworkError) as caught:
        await shop.connect("CODE-1")
    ((method, address, query, _, _),) = sent(platform)
    assert (method, address) == ("GET", "https://auth.tiktok-shops.com/api/v2/token/get")
    assert query == {
        "app_key": "app", "app_secret": SECRET, "auth_code": "CODE-1", "grant_type": "authorized_code",
    }  # fmt: skip
    assert caught.value.sent
    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None


async def test_a_lost_connection_is_tried_twice_more_for_what_only_reads(
    shop: TikTokShop, platform: aioresponses
) -> None:
    """Three requests in all, and then an error that says that the request may have arrived."""
    answer_all(platform, exception=aiohttp.ServerDisconnectedError())
    with pytest.raises(TikTokShopNetworkError) as caught:
        await shop.get_orders_by_id(["1"])
    assert len(sent(platform)) == 3
    assert caught.value.sent
    assert TOKEN not in repr(caught.value)


async def test_what_publishes_is_never_repeated_after_a_lost_answer(shop: TikTokShop, platform: aioresponses) -> None:
    """Twice would be two posts."""
    answer_all(platform, exception=aiohttp.ServerDisconnectedError())
    with pytest.raises(TikTokShopNetworkError):
        await shop.call("POST", "/affiliate_creator/202607/photos", body={"title": "t"}, shop=False)
    assert len(sent(platform)) == 1


async def test_a_proxy_page_is_a_server_error_and_read_again(shop: TikTokShop, platform: aioresponses) -> None:
    """A page of HTML holds no code of the platform's; the next answer counts."""
    address = f"{API}/order/202507/orders"
    pattern = re.compile(re.escape(address))
    platform.get(pattern, status=502, body="<html>Bad Gateway</html>", content_type="text/html")
    platform.get(pattern, payload=success(orders=[{"id": "1", "status": "DELIVERED"}]))
    (order,) = await shop.get_orders_by_id(["1"])
    assert (order.id, order.status, len(sent(platform))) == ("1", "DELIVERED", 2)


async def test_an_answer_without_a_code_is_no_success(shop: TikTokShop, platform: aioresponses) -> None:
    """Status 200 alone proves nothing."""
    answer_all(platform, payload={"data": {"orders": []}})
    with pytest.raises(TikTokShopServerError, match="no code"):
        await shop.get_orders_by_id(["1"])


async def test_a_long_retry_after_is_raised_and_not_waited_for(shop: TikTokShop, platform: aioresponses) -> None:
    """The caller learns how long; nothing is sent meanwhile."""
    answer_all(platform, status=429, payload={"code": 36009002, "message": "slow"}, headers={"Retry-After": "600"})
    with pytest.raises(TikTokShopRateLimitError) as caught:
        await shop.get_orders_by_id(["1"])
    assert caught.value.retry_after == 600.0
    with pytest.raises(TikTokShopRateLimitError, match="nothing was sent"):
        await shop.get_orders_by_id(["2"])
    assert len(sent(platform)) == 1


async def test_an_error_that_quotes_the_token_is_told_without_it(shop: TikTokShop, platform: aioresponses) -> None:
    """Some gateways echo what they were given."""
    answer_all(platform, status=401, payload={"code": 105005, "message": f"{TOKEN} lacks a scope", "request_id": "r"})
    with pytest.raises(TikTokShopAuthError, match="lacks a scope") as caught:
        await shop.get_orders_by_id(["1"])
    assert TOKEN not in str(caught.value)
