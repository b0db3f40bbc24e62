"""TikTok Shop: videos, photo posts, figures, and the retired paths for what has no successor."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import aiohttp
import pytest

from capi_async.sandbox.platforms.tiktok_shop import CREATOR_TOKEN, Line
from capi_async.sandbox.platforms.tiktok_shop.signing import retired_sign
from tests.sandbox.shop import EXAMPLE, Caller, sign

FILES = "/affiliate_creator/202505/videos/video_files"
VIDEOS = "/affiliate_creator/202607/videos"
PICTURES, PHOTOS = "/affiliate_creator/202511/photos/photo_files", "/affiliate_creator/202607/photos"
SHOWN = "/analytics/202409/shop_videos"
BINDER, SOCKS = "1729582718312380123", "1729592969712207008"


def day(clock, shift: int) -> str:
    """A date in the first shop's time zone, 8 hours behind UTC."""
    return (datetime.fromtimestamp(clock.now, UTC) - timedelta(hours=8) + timedelta(shift)).date().isoformat()


@pytest.fixture
def creator(caller) -> Caller:
    """A caller with a creator's token, who has no shop."""
    caller.token = CREATOR_TOKEN
    return caller


async def upload(creator: Caller, path: str, name: str, content: bytes, field: str = "data"):
    """One file, as a form; its bytes are not signed."""
    form = aiohttp.FormData()
    form.add_field(field, io.BytesIO(content), filename=name, content_type="application/octet-stream")
    form.add_field("note", "beside it")
    payload = form()
    query = creator.query(shop_cipher=...)
    query["sign"] = sign(creator.secret, path, query)
    url = f"{creator.sender.sandbox.url('tiktok_shop')}{path}?" + "&".join(f"{k}={v}" for k, v in query.items())
    headers = {"x-tts-access-token": creator.token, "Content-Type": payload.content_type}
    return await creator.sender.ask("POST", url, data=payload, headers=headers)


# A creator's uploads.


async def test_uploaded_video_is_published_and_shows_figures(creator):
    """File, post, status, and then among the shop's videos."""
    content = b"\x00\x01 \r\n--not-a-boundary\r\n\xff"
    file = (await upload(creator, FILES, "clip.MP4", content)).body["data"]["video_file"]
    assert file["md5"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
    body = {
        "video_info": {"file_id": file["id"], "title": "ソックス ♥"},
        "product_link_info": {"product_id": SOCKS, "title": "Socks"},
    }
    made = await creator.data("POST", VIDEOS, body, shop_cipher=...)
    assert made["quota"] == "3/day"
    video_id = made["video"]["id"]
    path = f"/affiliate_creator/202509/videos/{video_id}/status"
    states = [(await creator.data("GET", path, shop_cipher=...))["video"]["post_status"] for _ in range(2)]
    assert states == ["PROCESSING", "SUCCESS"]
    creator.token = "sandbox-token"
    found = await creator.data("GET", f"{SHOWN}/performance", start_date_ge="2026-01-01", end_date_lt="2026-02-01")
    assert [one["title"] for one in found["videos"] if one["id"] == video_id] == ["ソックス ♥"]


@pytest.mark.parametrize(
    ("name", "content", "field", "status", "code"),
    [
        ("clip.txt", b"x", "data", 415, 36009022),
        ("clip.mp4", b"", "data", 415, 36009022),
        ("clip.mp4", b"x" * 10_000_001, "data", 413, 36009021),
        ("clip.mp4", b"x", "file", 400, 36009004),
    ],
    ids=["type", "empty", "large", "field"],
)
async def test_files_that_do_not_fit_are_refused(creator, name, content, field, status, code):
    """Above 10 MB a chunked upload is asked for."""
    reply = await upload(creator, FILES, name, content, field)
    assert (reply.status, reply.body["code"]) == (status, code)
    json = await creator.ask("POST", FILES, {}, shop_cipher=...)
    assert json.body["code"] in (106001, 36009022)


@pytest.mark.parametrize(
    ("info", "link", "code"),
    [
        ({"file_id": "nothing"}, {"product_id": SOCKS}, 98001004),
        (None, {"product_id": SOCKS}, 36009004),
        ({"title": "x" * 4_001}, {"product_id": SOCKS}, 36009004),
        ({}, {"product_id": "1"}, 36009004),
        ({}, {"product_id": SOCKS, "title": "x" * 30}, 36009004),
    ],
)
async def test_video_without_its_parts_is_not_published(creator, info, link, code):
    """Nothing of it appears."""
    file_id = (await upload(creator, FILES, "a.mov", b"x")).body["data"]["video_file"]["id"]
    before = len(creator.shop.world.videos)
    body = {"video_info": None if info is None else {"file_id": file_id, **info}, "product_link_info": link}
    assert (await creator.post(VIDEOS, body, shop_cipher=...)).body["code"] == code
    assert len(creator.shop.world.videos) == before
    (any_video, *_) = creator.shop.world.videos
    path = f"/affiliate_creator/202509/videos/{any_video}/status"
    assert (await creator.get(path, shop_cipher=...)).body["code"] == 170001016


async def test_photos_become_a_post(creator):
    """Which the retired list shows."""
    uri = (await upload(creator, PICTURES, "p.webp", b"x")).body["data"]["photo_file"]["photo_uri"]
    links = {"post_type": 1, "links": [{"product_id": BINDER, "link_title": "Binder"}]}
    body = {"photos_info": [{"photo_file_uris": uri}], "title": "New", "link_info": links}
    post_id = (await creator.data("POST", PHOTOS, body, shop_cipher=...))["photo"]["photo_post_id"]
    post = await creator.data("GET", "/api/content/post/detail", shop_cipher=..., post_id=post_id)
    assert (post["content"], post["media"], post["product_tags"]) == ("New", [uri], [BINDER])
    for wrong, code in (({"photos_info": []}, 36009004), ({"photos_info": [{"photo_file_uris": "x"}]}, 98001004)):
        assert (await creator.post(PHOTOS, {**body, **wrong}, shop_cipher=...)).body["code"] == code


async def test_seller_may_not_create_nor_creator_sell(caller):
    """The user type of the token decides."""
    assert (await caller.post(VIDEOS, shop_cipher=...)).body["code"] == 101000
    caller.token = CREATOR_TOKEN
    assert (await caller.get(f"{SHOWN}/performance")).body["code"] == 101000


# Figures.


async def test_videos_are_listed_with_figures_and_without_drafts(caller, clock):
    """Paged, sorted, in the shop's currency or in dollars."""
    dates = {"start_date_ge": day(clock, -10), "end_date_lt": day(clock, 1)}
    data = await caller.data("GET", f"{SHOWN}/performance", **dates)
    assert {video["title"] for video in data["videos"]} == {"Unboxing: card binder", "靴下を3秒で — socks in 3 s"}
    money = [Decimal(video["gmv"]["amount"]) for video in data["videos"]]
    assert money == sorted(money, reverse=True)
    assert data["latest_available_date"] == day(clock, -1)
    first = data["videos"][0]
    assert {"id", "username", "gmv", "sku_orders", "units_sold", "views", "click_through_rate", "products"} < set(first)
    assert len(first["video_post_time"]) == 19
    ascending = await caller.data(
        "GET", f"{SHOWN}/performance", **dates, sort_field="views", sort_order="ASC", page_size="1"
    )
    rest = await caller.data(
        "GET", f"{SHOWN}/performance", **dates, sort_field="views", sort_order="ASC", page_size="1",
        page_token=ascending["next_page_token"],
    )  # fmt: skip
    assert ascending["videos"][0]["views"] < rest["videos"][0]["views"]
    one = await caller.data("GET", f"{SHOWN}/{first['id']}/performance", **dates, granularity="1D")
    assert len(one["performance"]["intervals"]) == 11
    assert one["performance"]["engagement_data"]["total_views"] == first["views"]
    reply = await caller.get(f"{SHOWN}/1/performance", **dates)
    assert (reply.status, reply.body["code"]) == (200, 12052048)


async def test_money_of_the_figures_is_that_of_the_orders(caller, clock):
    """By the day of the shop's own time zone, the end exclusive."""
    dates = {"start_date_ge": day(clock, -2), "end_date_lt": day(clock, 1)}
    path = "/analytics/202405/shop/performance"
    before = (await caller.data("GET", path, **dates))["performance"]["intervals"]
    assert len(before) == 1
    caller.shop.place_order(value="100.00", paid=True)
    (after,) = (await caller.data("GET", path, **dates))["performance"]["intervals"]
    assert Decimal(after["gmv"]["amount"]) - Decimal(before[0]["gmv"]["amount"]) == 100
    assert after["orders"] == before[0]["orders"] + 1
    days = (await caller.data("GET", path, **dates, granularity="1D"))["performance"]["intervals"]
    assert [one["start_date"] for one in days] == [day(clock, -2), day(clock, -1), day(clock, 0)]
    assert sum(Decimal(one["gmv"]["amount"]) for one in days) == Decimal(after["gmv"]["amount"])
    assert after["gmv"]["currency"] == "USD"


async def test_yen_have_no_decimals_and_become_dollars_when_asked(caller, clock):
    """LOCAL is the default."""
    caller.cipher = caller.shop.shop("JP").cipher
    dates = {"start_date_ge": day(clock, -5), "end_date_lt": day(clock, 2)}
    path = "/analytics/202405/shop_products/performance"
    local = (await caller.data("GET", path, **dates))["products"]
    assert isinstance(local[0]["id"], int)
    assert {"." in one["gmv"]["amount"] for one in local} == {False}
    assert {
        one["gmv"]["currency"] for one in (await caller.data("GET", path, **dates, currency="USD"))["products"]
    } == {"USD"}
    amounts = [int(one["gmv"]["amount"]) for one in local]
    assert amounts == sorted(amounts, reverse=True)


async def test_product_has_figures_of_its_own(caller, clock):
    """Unknown ones a code."""
    caller.shop.place_order(lines=[Line("2729382476852921560", 2)], paid=True)
    dates = {"start_date_ge": day(clock, 0), "end_date_lt": day(clock, 1)}
    data = await caller.data("GET", f"/analytics/202405/shop_products/{BINDER}/performance", **dates)
    (interval,) = data["performance"]["intervals"]
    assert (interval["gmv"]["amount"], interval["orders"], interval["units_sold"]) == ("40.00", 1, 2)
    assert interval["page_views"] > 0
    reply = await caller.get("/analytics/202405/shop_products/1/performance", **dates)
    assert reply.body["code"] == 28001007


@pytest.mark.parametrize(
    ("dates", "code"),
    [
        ({"start_date_ge": "2026-01-02"}, 36009004),
        ({"start_date_ge": "2026-01-02", "end_date_lt": "2026-01-02"}, 28001022),
        ({"start_date_ge": "1790000000", "end_date_lt": "2026-01-02"}, 28001022),
        ({"start_date_ge": "0001-01-01", "end_date_lt": "9999-01-02"}, 28001022),
        ({"start_date_ge": "2026-01-01", "end_date_lt": "2026-01-02", "granularity": "1H"}, 36009004),
        ({"start_date_ge": "2026-01-01", "end_date_lt": "2026-01-02", "currency": "EUR"}, 36009004),
    ],
)
async def test_wrong_dates_are_refused(caller, dates, code):
    """Dates, not seconds."""
    assert (await caller.get("/analytics/202405/shop/performance", **dates)).body["code"] == code


# The retired paths.


async def retired(caller: Caller, method: str, path: str, body=None, **query: str):
    """As the seed's client calls: token in the query, its own signature, no cipher."""
    params = caller.query(shop_cipher=..., access_token=caller.token, **query)
    digest = retired_sign(caller.secret, path, params.items())
    query |= {"shop_cipher": ..., "access_token": caller.token}
    return await caller.ask(method, path, body, signed=digest, headers={"x-tts-access-token": ""}, **query)


@pytest.mark.parametrize("style", ["retired", "official"])
async def test_created_post_is_listed_and_deleted_post_is_gone(caller, style):
    """With either signature, the token in the query or in the header."""

    async def call(method, path, body=None, **query):
        if style == "retired":
            return await retired(caller, method, path, body, **query)
        return await caller.ask(method, path, body, shop_cipher=..., **query)

    before = (await call("GET", "/api/content/posts")).body["data"]
    body = {
        "content": "Ünïcode ✨",
        "product_ids": [BINDER],
        "tags": ["new"],
        "media_urls": ["https://a.example/1.jpg"],
    }
    made = (await call("POST", "/api/content/post/create", body)).body["data"]
    assert made["status"] == "PUBLISHED"
    after = (await call("GET", "/api/content/posts")).body["data"]
    assert after["total"] == before["total"] + 1
    assert after["posts"][0]["post_id"] == made["post_id"]
    post = (await call("GET", "/api/content/post/detail", post_id=made["post_id"])).body["data"]
    assert (post["content"], post["tags"], post["product_tags"]) == ("Ünïcode ✨", ["new"], [BINDER])
    assert (await call("DELETE", "/api/content/post/delete", post_id=made["post_id"])).body["data"]["deleted"]
    gone = await call("GET", "/api/content/post/detail", post_id=made["post_id"])
    assert (gone.status, gone.body["code"]) == (404, 40004)
    assert (await call("GET", "/api/content/posts")).body["data"]["total"] == before["total"]


async def test_post_can_be_scheduled(caller, clock):
    """For a time to come."""
    body = {"content": "soon", "scheduled_time": int(clock.now) + 60}
    made = await caller.data("POST", "/api/content/post/create", body)
    assert made["status"] == "SCHEDULED"
    listed = await caller.data("GET", "/api/content/posts", post_status="SCHEDULED")
    assert [post["scheduled_time"] for post in listed["posts"]] == [int(clock.now) + 60]
    for wrong in ({"content": ""}, {"content": "x" * 2_001}, {"content": "x", "scheduled_time": 1},
                  {"content": "x", "tags": "new"}):  # fmt: skip
        reply = await caller.post("/api/content/post/create", wrong)
        assert (reply.status, reply.body["code"]) == (400, 40001)
    assert (await caller.post("/api/content/post/create", {"content": "x", "product_ids": ["1"]})).status == 404


async def test_uploaded_video_is_processed_and_can_be_deleted(caller):
    """By its address alone."""
    body = {"video_url": "https://cdn.example/a.mp4", "title": "Socks", "product_ids": [SOCKS]}
    made = await caller.data("POST", "/api/content/video/upload", body)
    assert made["status"] == "PROCESSING"
    query = {"video_id": made["video_id"]}
    states = [(await caller.data("GET", "/api/content/video/detail", **query))["status"] for _ in range(2)]
    assert states == ["PROCESSING", "PUBLISHED"]
    listed = await caller.data("GET", "/api/content/videos", video_status="PUBLISHED", page_size="2")
    assert (listed["total"], listed["more"], len(listed["videos"])) == (3, True, 2)
    assert listed["videos"][0]["video_id"] == made["video_id"]
    await caller.data("DELETE", "/api/content/video/delete", **query)
    assert (await caller.ask("DELETE", "/api/content/video/delete", **query)).body["code"] == 40004
    for wrong in ({"title": "x" * 151}, {"title": ""}, {"video_url": "a.mp4"}, {"description": "x" * 1_001}):
        assert (await caller.post("/api/content/video/upload", {**body, **wrong})).body["code"] == 40001


async def test_retired_reads_share_the_state_of_the_current_ones(caller, clock):
    """Products, orders and stock."""
    found = await caller.data("GET", "/api/products/search", status="ACTIVE", search_query="CARD", page_size="10")
    assert [(one["id"], found["total"], found["more"]) for one in found["products"]] == [(BINDER, 1, False)]
    product = await caller.data("GET", "/api/products/details", product_id=SOCKS)
    assert product["title"] == "Short Boat Invisible Socks"
    body = {"product_id": SOCKS, "sku_id": "1729592969712207012", "available_quantity": 5}
    updated = await caller.data("POST", "/api/products/inventory/update", body)
    read = await caller.data("GET", "/api/products/inventory", product_id=SOCKS)
    assert updated == read
    assert read["sku_inventory"][0]["available_quantity"] == 5
    current = await caller.data("POST", "/product/202309/inventory/search", {"product_ids": [SOCKS]})
    assert current["inventory"][0]["skus"][0]["total_available_quantity"] == 5
    order = await caller.data("GET", "/api/orders/detail", order_id=EXAMPLE)
    assert (order["order_status"], len(order["items"])) == ("AWAITING_SHIPMENT", 4)
    window = {"start_time": str(int(clock.now) - 2 * 86_400), "end_time": str(int(clock.now))}
    page = await caller.data("GET", "/api/orders/search", order_status="AWAITING_SHIPMENT", page_number="1", **window)
    assert EXAMPLE in [one["order_id"] for one in page["orders"]]
    assert (await caller.data("GET", "/api/orders/search", page_number="99"))["orders"] == []


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/api/products/search", {"status": "ACTIVATE"}, 40001),
        ("/api/products/search", {"page_size": "101"}, 40001),
        ("/api/products/search", {"page_number": "0"}, 40001),
        ("/api/products/details", {"product_id": "1"}, 40004),
        ("/api/orders/detail", {"order_id": "1"}, 40004),
        ("/api/orders/search", {"start_time": "2", "end_time": "1"}, 40001),
        ("/api/orders/search", {"start_time": "x"}, 40001),
        ("/api/content/posts", {"post_status": "GONE"}, 40001),
        ("/api/data/analytics", {}, 40001),
        ("/api/data/analytics", {"start_time": "1", "end_time": "2", "dimension": "moon"}, 40001),
        ("/api/data/performance", {"resource_type": "moon"}, 40001),
        ("/api/data/performance", {"resource_type": "post", "resource_id": "1"}, 40004),
    ],
)
async def test_retired_paths_refuse_in_their_own_codes(caller, path, query, code):
    """Which the current API does not use."""
    reply = await caller.get(path, **query)
    assert (reply.status, reply.body["code"]) == ({40001: 400, 40004: 404}[code], code)


async def test_stock_of_several_skus_needs_one_named(caller):
    """The retired call may leave it out only where there is one."""
    path = "/api/products/inventory/update"
    assert (await caller.post(path, {"product_id": SOCKS, "available_quantity": 1})).body["code"] == 40001
    assert (await caller.post(path, {"product_id": BINDER, "available_quantity": -1})).body["code"] == 40001
    assert (await caller.post(path, {"product_id": BINDER, "available_quantity": 1, "sku_id": "1"})).body[
        "code"
    ] == 40004
    assert (await caller.data("POST", path, {"product_id": BINDER, "available_quantity": 1}))["available_quantity"] == 1


@pytest.mark.parametrize("dimension", ["daily", "product", "video", "post"])
async def test_retired_figures_are_grouped_and_chosen(caller, clock, dimension):
    """By day, product, video or post; only the metrics asked for."""
    window = {"start_time": str(int(clock.now) - 3 * 86_400), "end_time": str(int(clock.now))}
    data = await caller.data("GET", "/api/data/analytics", dimension=dimension, metrics="views,revenue", **window)
    assert data["total"] >= 2
    for row in data["analytics"]:
        assert {"views"} <= set(row)
        assert not {"clicks", "conversions", "conversion_rate"} & set(row)
    if dimension == "product":
        name = "product_id"
        first = data["analytics"][0]
        one = await caller.data(
            "GET", "/api/data/performance", resource_type="product", resource_id=first[name], **window
        )
        assert one["metrics"]["revenue"] == first["revenue"]
    elif dimension != "daily":
        first = data["analytics"][0]
        resource = {"resource_type": dimension, "resource_id": first[f"{dimension}_id"]}
        one = await caller.data("GET", "/api/data/performance", **resource)
        assert one["metrics"]["views"] == first["views"]
