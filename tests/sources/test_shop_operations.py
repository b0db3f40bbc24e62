"""Every operation against the sandbox, which checks signatures by its own code and keeps state."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from capi_async.errors import ConfigError
from capi_async.sources.tiktok_shop import (
    TikTokShop,
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopNotFoundError,
    TikTokShopUnsupportedError,
    TikTokShopValidationError,
)
from capi_async.sources.tiktok_shop.endpoints import OPERATIONS
from tests.readme_tables import shop_operations
from tests.sources.connected import Connected, connected

#: A product of the sandbox's US shop, with one SKU in two warehouses.
CARDS = "1729582718312380123"
NOBODY = "1729582718399999999"


async def us_product(ends: Connected, *, skus: int | None = None) -> Any:
    """The first product of the shop, or the first with so many SKUs."""
    async for product in ends.shop.iter_products():
        if skus is None or len(product.skus) == skus:
            return product
    raise AssertionError("the sandbox has no such product")


# Products and stock.


async def test_get_products() -> None:
    """Pages by token and by number hold the same products, once each."""
    async with connected() as ends:
        everything = [product.id async for product in ends.shop.iter_products(page_size=2)]
        assert len(everything) == len(set(everything)) >= 5
        by_number = []
        for number in range(1, 9):
            page = await ends.shop.get_products(2, number)
            by_number += [product.id for product in page]
        assert by_number == everything
        first = await ends.shop.get_products(page_size=2)
        assert (first.total, first.more, len(first)) == (len(everything), True, 2)
        second = await ends.shop.get_products(page_size=2, page_token=first.next_page_token)
        assert [product.id for product in second] == everything[2:4]
        assert first.request_id


async def test_get_products_filters() -> None:
    """The older contract's words are translated, titles are searched here, and the platform's fields get through."""
    async with connected() as ends:
        shop = ends.shop
        active = [product async for product in shop.iter_products(status="ACTIVE", page_size=1)]
        assert {product.status for product in active} == {"ACTIVATE"}
        sent = [call.body for call in ends.platform.calls]
        assert b'"status":"ACTIVATE"' in sent[-1]
        inactive = [product async for product in shop.iter_products(status="INACTIVE", page_size=1)]
        assert {product.status for product in inactive} <= {"SELLER_DEACTIVATED", "PLATFORM_DEACTIVATED"}
        asked = {call.body for call in list(ends.platform.calls)[len(sent) :]}
        assert asked == {b'{"status":"SELLER_DEACTIVATED"}', b'{"status":"PLATFORM_DEACTIVATED"}'}
        word = active[0].title.split()[0]
        found = [product async for product in shop.iter_products(search_query=word.upper())]
        assert found
        assert all(word.casefold() in product.title.casefold() for product in found)
        sku = active[0].skus[0].seller_sku
        assert [one.id for one in await shop.get_products(seller_skus=[sku])] == [active[0].id]


async def test_get_product() -> None:
    """Price and stock stand in the SKUs; an unknown id is NotFound, another seller's is refused."""
    async with connected() as ends:
        listed = await us_product(ends)
        product = await ends.shop.get_product(listed.id)
        assert (product.id, product.title, product.status) == (listed.id, listed.title, "ACTIVATE")
        assert product.skus[0].price.currency == "USD"
        assert isinstance(product.skus[0].price.display, Decimal)
        with pytest.raises(TikTokShopNotFoundError):
            await ends.shop.get_product(NOBODY)


async def test_update_inventory_is_seen_by_the_next_read() -> None:
    """State: what was set is what is read, in both places where stock stands."""
    async with connected() as ends:
        product = await us_product(ends)
        sku = product.skus[0]
        amounts = {item.warehouse_id: 7 + number for number, item in enumerate(sku.inventory)}
        await ends.shop.update_inventory(product.id, amounts, sku.id)
        stock = await ends.shop.get_inventory(product.id)
        mine = next(one for one in stock.skus if one.id == sku.id)
        assert {one.warehouse_id: one.available_quantity for one in mine.warehouse_inventory} == amounts
        again = (await ends.shop.get_product(product.id)).skus[0]
        assert {one.warehouse_id: one.quantity for one in again.inventory} == amounts


async def test_update_inventory_refuses_what_is_ambiguous() -> None:
    """One quantity for two warehouses, no SKU among several, nonsense: nothing is sent."""
    async with connected() as ends:
        one = await us_product(ends, skus=1)
        with pytest.raises(TikTokShopValidationError, match="warehouses"):
            await ends.shop.update_inventory(one.id, 5)
        bad: tuple[Any, ...] = (-1, True, 1.5, {}, {"7068517275539719942": -1})
        for quantity in bad:
            with pytest.raises(TikTokShopValidationError):
                await ends.shop.update_inventory(one.id, quantity, one.skus[0].id)
        assert not any("inventory/update" in path for path in ends.paths)


async def test_update_inventory_of_the_only_sku_in_the_only_warehouse() -> None:
    """Elsewhere than in the US the sandbox's shops have one warehouse: a product and a number are enough."""
    async with connected(region="JP") as ends:
        one = await us_product(ends, skus=1)
        await ends.shop.update_inventory(one.id, 42)
        assert (await ends.shop.get_inventory(one.id)).available_quantity == 42


async def test_update_inventory_that_fails_in_part_is_an_error() -> None:
    """HTTP 200 and code 0 with errors inside the data: nothing was set, and the error says for what."""
    async with connected() as ends:
        product = await us_product(ends)
        sku = product.skus[0]
        with pytest.raises(TikTokShopValidationError) as raised:
            await ends.shop.update_inventory(product.id, {"7068517275530000000": 5}, sku.id)
        assert raised.value.http_status == 200
        assert raised.value.code > 0
        assert len(raised.value.details) == 1
        assert sku.id in raised.value.details[0]
        assert ends.codes[-1] == 0


async def test_get_inventory() -> None:
    """Reserved is what orders took; unknown products are NotFound."""
    async with connected() as ends:
        product = await us_product(ends)
        before = await ends.shop.get_inventory(product.id)
        ends.platform.place_order(paid=True)
        after = await ends.shop.get_inventory(product.id)
        assert after.reserved_quantity == before.reserved_quantity + 1
        assert after.available_quantity == before.available_quantity - 1
        several = await ends.shop.get_inventories(sku_ids=[product.skus[0].id])
        assert [one.product_id for one in several] == [product.id]
        with pytest.raises(TikTokShopNotFoundError):
            await ends.shop.get_inventory(NOBODY)


# Orders.


async def test_get_orders() -> None:
    """An order that was just placed is in the poll; every page holds others."""
    async with connected() as ends:
        made = ends.platform.place_order(value="59.39", paid=True)
        newest = await ends.shop.get_orders(page_size=1)
        assert [order.id for order in newest] == [made.id]
        assert newest.more
        ids = [order.id async for order in ends.shop.iter_orders(page_size=3)]
        assert len(ids) == len(set(ids)) == newest.total
        unpaid = [order async for order in ends.shop.iter_orders(order_status="UNPAID")]
        assert unpaid
        assert {order.status for order in unpaid} == {"UNPAID"}


async def test_get_orders_by_time() -> None:
    """Seconds and datetimes mean the same; the end is exclusive; a poller asks by change, oldest first."""
    async with connected() as ends:
        made = ends.platform.place_order(paid=True)
        order = await ends.shop.get_order(made.id)
        at = order.create_time
        for start in (at, datetime.fromtimestamp(at, UTC)):
            found = [one.id async for one in ends.shop.iter_orders(start_time=start)]
            assert found == [made.id]
        before = [one.id async for one in ends.shop.iter_orders(end_time=at)]
        assert made.id not in before
        changed = [
            one.update_time
            async for one in ends.shop.iter_orders(
                update_time_ge=1, sort_field="update_time", sort_order="ASC", page_size=2
            )
        ]
        assert changed == sorted(changed)


async def test_get_order() -> None:
    """Amounts are exact, names of the older contract work, an unknown id is NotFound."""
    async with connected() as ends:
        made = ends.platform.place_order(value="59.39", paid=True)
        order = await ends.shop.get_order(made.id)
        assert order.payment.total_amount == Decimal("59.39")
        assert (order.order_status, order.items) == (order.status, order.line_items)
        assert order.paid_time >= order.create_time > 0
        assert order.line_items[0].product_id
        both = await ends.shop.get_orders_by_id([made.id, NOBODY])
        assert [one.id for one in both] == [made.id]
        with pytest.raises(TikTokShopNotFoundError):
            await ends.shop.get_order(NOBODY)


async def test_a_new_status_and_a_currency_without_decimals_are_no_trouble() -> None:
    """Yen have no cents, and the platform may invent words."""
    async with connected(region="JP") as ends:
        made = ends.platform.place_order("JP", value="1200", paid=True)
        made.set_status("SOMETHING_NEW")
        order = await ends.shop.get_order(made.id)
        assert (order.payment.total_amount, order.payment.currency) == (Decimal(1200), "JPY")
        assert str(order.payment.total_amount) == "1200"
        assert order.status == "SOMETHING_NEW"


async def test_refunds_are_read() -> None:
    """Of a cancelled order and of a return."""
    async with connected() as ends:
        cancelled = ends.platform.place_order(value="20.00", paid=True).cancel()
        returned = ends.platform.place_order(value="30.00", paid=True).ship().deliver().refund("10.00")
        (cancellation,) = await ends.shop.get_cancellations(order_ids=[cancelled.id])
        assert cancellation.refund_amount.refund_total == Decimal("20.00")
        (back,) = await ends.shop.get_returns(order_ids=[returned.id])
        assert (back.order_id, back.refund_amount.refund_total) == (returned.id, Decimal("10.00"))


# Videos and posts.


async def test_get_videos() -> None:
    """The last 28 days by default; by token and by number."""
    async with connected() as ends:
        page = await ends.shop.get_videos(page_size=1, video_status="PUBLISHED")
        assert page.items[0].views >= 0
        assert isinstance(page.items[0].gmv.amount, Decimal)
        every = [video.id async for video in ends.shop.iter_videos(page_size=1)]
        assert len(every) == page.total
        assert [video.id for video in await ends.shop.get_videos(1, 2)] == every[1:2]
        query = ends.platform.calls[0].query
        span = date.fromisoformat(query["end_date_lt"]) - date.fromisoformat(query["start_date_ge"])
        assert span.days == 28
        with pytest.raises(TikTokShopUnsupportedError):
            await ends.shop.get_videos(video_status="DRAFT")


async def test_get_videos_that_are_not_published() -> None:
    """By the older contract, where something speaks it."""
    async with connected(legacy=True) as ends:
        drafts = await ends.shop.get_videos(video_status="DRAFT")
        assert {video.status for video in drafts} <= {"DRAFT"}
        assert ends.paths == ["GET /api/content/videos"]


async def test_get_video() -> None:
    """Its figures, day by day if asked."""
    async with connected() as ends:
        listed = (await ends.shop.get_videos(page_size=1)).items[0]
        video = await ends.shop.get_video(listed.id, granularity="1D")
        assert video.id == listed.id
        assert video.view_count is not None
        assert video.like_count is not None
        assert len(video.intervals) > 1
        # the platform does not tell another shop's video from none at all
        with pytest.raises(TikTokShopAuthError):
            await ends.shop.get_video(NOBODY)


async def test_upload_video(tmp_path: Path) -> None:
    """A file with bytes of any value arrives whole, is published, and says what became of it."""
    content = bytes(range(256)) * 600
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)
    async with connected(creator=True) as ends:
        made = await ends.shop.upload_video(file, "Großer Spaß 🎉", product_ids=[CARDS], product_title="Cards")
        assert made.id
        assert made.quota
        upload, publish = ends.platform.calls
        assert content[:4_096] in upload.body
        assert "Großer Spaß 🎉".encode() in publish.body
        assert "shop_cipher" not in publish.query
        states = [(await ends.shop.get_video_status(made.id)).post_status for _ in range(2)]
        assert states == ["PROCESSING", "SUCCESS"]


async def test_upload_video_refuses_what_the_platform_does_not_take(tmp_path: Path) -> None:
    """Before anything is sent."""
    async with connected(creator=True) as ends:
        upload = ends.shop.upload_video
        refused: list[tuple[Any, dict[str, Any]]] = [
            (b"x", {"title": "t", "product_ids": None}),
            (b"x", {"title": "t", "product_ids": [CARDS, "2"], "product_title": "p"}),
            (b"x", {"title": "", "product_ids": [CARDS], "product_title": "p"}),
            (b"x", {"title": "🎉" * 2_001, "product_ids": [CARDS], "product_title": "p"}),
            (b"x", {"title": "t", "product_ids": [CARDS], "product_title": "p" * 30}),
            (b"x", {"title": "t", "product_ids": [CARDS], "product_title": "p", "tags": ["a"]}),
            (b"", {"title": "t", "product_ids": [CARDS], "product_title": "p"}),
            (tmp_path / "missing.mp4", {"title": "t", "product_ids": [CARDS], "product_title": "p"}),
            ("not an address", {"title": "t"}),
        ]
        for video, more in refused:
            with pytest.raises(TikTokShopValidationError):
                await upload(video, **more)
        with pytest.raises(TikTokShopUnsupportedError):
            await upload("https://videos.example/clip.mp4", "t")
        with pytest.raises(TikTokShopUnsupportedError):
            await upload(b"x" * (10 * 1024 * 1024 + 1), "t", product_ids=[CARDS], product_title="p")
        assert ends.paths == []


async def test_upload_video_by_address_and_delete_video() -> None:
    """The older contract: what was uploaded is found, and is gone once deleted."""
    async with connected(legacy=True) as ends:
        made = await ends.shop.upload_video(
            "https://videos.example/clip.mp4", "Größe", description="d", product_ids=[CARDS], tags=["new"]
        )
        assert (bool(made.id), made.status) == (True, "PROCESSING")
        found = [one.id for one in await ends.shop.get_videos(video_status="PROCESSING")]
        assert made.id in found
        await ends.shop.delete_video(made.id)
        assert made.id not in [one.id for one in await ends.shop.get_videos(video_status="PROCESSING")]
        with pytest.raises(TikTokShopNotFoundError):
            await ends.shop.delete_video(made.id)


async def test_create_post_with_photos() -> None:
    """The platform's own way: each photo is uploaded, then the post is published."""
    async with connected(creator=True) as ends:
        made = await ends.shop.create_post(
            "Neu! 新着", photos=[b"one" * 30_000, b"two"], product_ids=[CARDS], product_title="Cards"
        )
        assert made.id
        assert [path.split("/")[-1] for path in ends.paths] == ["photo_files", "photo_files", "photos"]
        with pytest.raises(TikTokShopValidationError):
            await ends.shop.create_post("text", photos=[b"one"], scheduled_time=1)
        with pytest.raises(TikTokShopUnsupportedError):
            await ends.shop.create_post("text")
        assert len(ends.paths) == 3


async def test_create_post_and_get_posts_and_get_post_and_delete_post() -> None:
    """The older contract: a post is found by list and by id, and is gone once deleted."""
    async with connected(legacy=True) as ends:
        shop = ends.shop
        made = await shop.create_post("Grüße 🎈", tags=["new"], product_ids=[CARDS])
        assert made.status == "PUBLISHED"
        later = await shop.create_post("Later", scheduled_time=datetime(2031, 1, 1, tzinfo=UTC))
        assert later.status == "SCHEDULED"
        post = await shop.get_post(made.id)
        assert (post.id, post.content, post.status) == (made.id, "Grüße 🎈", "PUBLISHED")
        listed = [one.id async for one in shop.iter_posts(page_size=1)]
        assert {made.id, later.id} <= set(listed)
        assert len(listed) == len(set(listed))
        scheduled = [one.id async for one in shop.iter_posts(post_status="SCHEDULED")]
        assert later.id in scheduled
        assert made.id not in scheduled
        await shop.delete_post(made.id)
        with pytest.raises(TikTokShopNotFoundError):
            await shop.get_post(made.id)
        assert made.id not in [one.id async for one in shop.iter_posts()]


async def test_what_has_no_endpoint_is_refused_before_anything_is_sent() -> None:
    """No request to an invented path, and no empty success."""
    async with connected() as ends:
        shop = ends.shop
        for call in (
            lambda: shop.delete_video("1"),
            lambda: shop.get_posts(),
            lambda: shop.get_post("1"),
            lambda: shop.create_post("text"),
            lambda: shop.delete_post("1"),
            lambda: shop.get_analytics(1, 200_000, dimension="post"),
            lambda: shop.get_performance_metrics("post", "1"),
        ):
            with pytest.raises(TikTokShopUnsupportedError):
                await call()
        assert ends.paths == []


# Figures.


async def test_get_analytics() -> None:
    """By day, product and video; figures by their older names; days in the shop's time zone."""
    async with connected(time_zone="America/Los_Angeles") as ends:
        shop = ends.shop
        start, end = date(2026, 11, 1), date(2026, 11, 8)
        by_day = await shop.get_analytics(start, end, metrics=["revenue", "conversions"])
        assert [one.start_date for one in by_day] == [f"2026-11-0{day}" for day in range(1, 8)]
        record = by_day.items[0]
        assert record.metric("revenue") == (record.gmv.amount if record.gmv else None)
        assert record.metric("clicks") is None
        products = await shop.get_analytics(start, end, dimension="product", page_size=1)
        assert products.items[0].id.isdigit()
        assert products.more
        videos = [one.id async for one in shop.iter_analytics(start, end, dimension="video", page_size=1)]
        assert len(videos) == len(set(videos)) > 1
        # 2026-11-01T06:00Z is still October in California, and an end within a day takes the day in
        await shop.get_analytics(datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2026, 11, 2, 20, tzinfo=UTC))
        query = ends.platform.calls[-1].query
        assert (query["start_date_ge"], query["end_date_lt"]) == ("2026-10-31", "2026-11-03")
        with pytest.raises(TikTokShopValidationError):
            await shop.get_analytics(end, start)
        with pytest.raises(TikTokShopValidationError):
            await shop.get_analytics(start, end, metrics=["likes"])
        whole = await shop.get_shop_performance(start, end)
        assert len(whole.intervals) == 1


async def test_get_performance_metrics() -> None:
    """Summed over the days; a rate only where there are views."""
    async with connected() as ends:
        product = await us_product(ends)
        metrics = await ends.shop.get_performance_metrics(
            "product", product.id, date(2026, 11, 1), date(2026, 11, 8), metrics=["views", "conversion_rate"]
        )
        assert len(metrics.intervals) == 7
        assert metrics.views == sum(one.page_views or 0 for one in metrics.intervals)
        assert metrics.conversions == sum(one.orders or 0 for one in metrics.intervals)
        assert metrics.revenue == sum(one.gmv.amount or 0 for one in metrics.intervals if one.gmv)
        if metrics.views:
            assert metrics.conversion_rate == Decimal(metrics.conversions or 0) / metrics.views
        listed = (await ends.shop.get_videos(page_size=1)).items[0]
        video = await ends.shop.get_performance_metrics("video", listed.id)
        assert video.views is not None
        with pytest.raises(TikTokShopNotFoundError):
            await ends.shop.get_performance_metrics("product", NOBODY)
    async with connected(legacy=True) as ends:
        post = await ends.shop.create_post("text")
        old = await ends.shop.get_performance_metrics(
            "post", post.id, date(2026, 11, 1), datetime(2026, 11, 8, tzinfo=UTC), metrics=["views", "revenue"]
        )
        assert old.views is not None
        query = ends.platform.calls[-1].query
        assert (query["start_time"], query["end_time"], query["metrics"]) == (
            "1793491200",
            "1794096000",
            "views,revenue",
        )


# Shops, settings, and everything else.


async def test_several_shops_of_one_app_are_kept_apart() -> None:
    """One token, several ciphers; without a choice nothing is guessed."""
    async with connected(shop=None) as ends:
        with pytest.raises(ConfigError, match="4 shops"):
            await ends.shop.get_products()
        shops = {shop.region: shop for shop in await ends.shop.get_shops()}
        us, jp = ends.shop.for_shop(shops["US"]), ends.shop.for_shop(shops["JP"])
        assert (us.shop_id, jp.shop_id) == (shops["US"].id, shops["JP"].id)
        order = ends.platform.place_order("JP", paid=True)
        assert (await jp.get_order(order.id)).payment.currency == "JPY"
        with pytest.raises(TikTokShopAuthError):
            await us.get_order(order.id)
        us_ids = {one.id async for one in us.iter_products()}
        jp_ids = {one.id async for one in jp.iter_products()}
        assert us_ids
        assert jp_ids
        assert not us_ids & jp_ids
        await jp.aclose()
        assert await us.get_products()


async def test_the_only_shop_needs_no_choice() -> None:
    """Another seller, who has one."""
    async with connected(shop=None) as ends:
        await ends.shop.connect(ends.platform.authorize("GB"))
        assert ends.shop.shop_id == ""
        assert (await ends.shop.get_products()).items
        assert ends.shop.shop_id == ends.platform.shop("GB").id
        assert ends.paths.count("GET /authorization/202309/shops") == 1


async def test_another_shops_cipher_is_refused() -> None:
    """Token and cipher must belong together."""
    async with connected(region="GB") as ends:
        with pytest.raises(TikTokShopAuthError) as raised:
            await ends.shop.get_products()
        assert raised.value.code == 101000


async def test_webhook_settings_are_kept() -> None:
    """Set, read, deleted; deleting twice is a success, as the platform has it."""
    async with connected() as ends:
        await ends.shop.set_webhook("ORDER_STATUS_CHANGE", "http://127.0.0.1:9/hook")
        (setting,) = await ends.shop.get_webhooks()
        assert (setting.event_type, setting.address) == ("ORDER_STATUS_CHANGE", "http://127.0.0.1:9/hook")
        await ends.shop.delete_webhook("ORDER_STATUS_CHANGE")
        await ends.shop.delete_webhook("ORDER_STATUS_CHANGE")
        assert await ends.shop.get_webhooks() == ()


async def test_any_other_endpoint_can_be_called() -> None:
    """Signed the same way."""
    async with connected() as ends:
        data = await ends.shop.call("GET", "/authorization/202309/shops", shop=False)
        assert len(data["shops"]) == 4
        with pytest.raises(TikTokShopValidationError) as raised:
            await ends.shop.call("GET", "/order/202309/nothing")
        assert raised.value.code == 36009009
        for path in ("order/202309/x", "/order?x=1", "/order"):
            with pytest.raises(ConfigError):
                await ends.shop.call("GET", path)


async def test_a_page_holds_at_most_a_hundred_and_that_is_checked_here() -> None:
    """Before the call, for every list."""
    async with connected(legacy=True) as ends:
        shop = ends.shop
        for size in (0, 101, -1, True):
            for call in (shop.get_products, shop.get_orders, shop.get_videos, shop.get_posts):
                with pytest.raises(TikTokShopValidationError, match="page_size"):
                    await call(page_size=size)  # type: ignore[operator]
        with pytest.raises(TikTokShopValidationError, match="page_number"):
            await shop.get_orders(page_number=0)
        with pytest.raises(TikTokShopValidationError, match="not both"):
            await shop.get_orders(page_number=2, page_token="x")
        with pytest.raises(TikTokShopValidationError, match="earlier"):
            await shop.get_orders(start_time=2, end_time=1)
        with pytest.raises(TikTokShopValidationError, match="time zone"):
            await shop.get_orders(start_time=datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
        with pytest.raises(TikTokShopValidationError, match="seconds"):
            await shop.get_orders(start_time=1_700_000_000_000)
        assert ends.paths == []
        hundred = [order async for order in shop.iter_orders(page_size=100)]
        assert hundred


async def test_a_page_token_that_is_used_again_or_with_other_filters_is_refused() -> None:
    """Tokens are true to their list; page numbers survive that, since the list is walked anew."""
    async with connected(readings=("single_use_pages",)) as ends:
        first = await ends.shop.get_orders(page_size=2)
        await ends.shop.get_orders(page_size=2, page_token=first.next_page_token)
        with pytest.raises(TikTokShopValidationError):
            await ends.shop.get_orders(page_size=2, page_token=first.next_page_token)
        other = await ends.shop.get_orders(page_size=2)
        with pytest.raises(TikTokShopValidationError):
            await ends.shop.get_orders(page_size=2, page_token=other.next_page_token, order_status="UNPAID")
        pages = [[order.id for order in await ends.shop.get_orders(2, number)] for number in (3, 2, 3)]
        assert pages[0] == pages[2] != pages[1]


async def test_ids_that_are_none_are_refused_before_they_reach_a_path() -> None:
    """No stranger's text in an address."""
    async with connected(legacy=True) as ends:
        for bad in ("", "../x", "1/2", "1?x=1", "a" * 65, "é"):
            for call in (ends.shop.get_product, ends.shop.get_order, ends.shop.get_video, ends.shop.delete_post):
                with pytest.raises(TikTokShopValidationError):
                    await call(bad)
        assert ends.paths == []


def test_the_table_of_operations_names_methods_of_the_client() -> None:
    """Sixteen, each documented with its path, its version and whose contract it is."""
    assert len(OPERATIONS) == 16
    for operation in OPERATIONS:
        method = getattr(TikTokShop, operation.name)
        text = " ".join((inspect.getdoc(method) or "").split())
        for call in operation.calls:
            path = call.path.replace("{product_id}", "{id}").replace("{video_id}", "{id}")
            assert f"{call.method} {path}" in text, operation.name
        if operation.state == "older contract":
            assert "no such endpoint; older contract" in text
        else:
            assert "official" in text.lower()
    rows = shop_operations().splitlines()[2:]
    assert len(rows) == 16
    assert all(re.search(r"`test_\w+`", row) for row in rows)


async def test_every_refusal_is_of_one_family() -> None:
    """One except clause is enough."""
    async with connected() as ends:
        ends.platform.fail(99999999, status=200)
        with pytest.raises(TikTokShopAPIError) as raised:
            await ends.shop.get_orders()
        assert type(raised.value) is TikTokShopAPIError
        assert raised.value.code == 99999999
        assert raised.value.request_id
