"""The unversioned paths of the retired style, as a public client of them calls them.

Today's platform refuses all of them. They are kept for operations that have no successor, and for clients in that
mode: page numbers, ``total`` and ``more``, and codes of their own (40001 bad input, 40004 not found).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from capi_async.sandbox.platforms.tiktok_shop.analytics import MAX_DAYS, Sales, Span, sales, shop_day, views
from capi_async.sandbox.platforms.tiktok_shop.asking import Ask
from capi_async.sandbox.platforms.tiktok_shop.envelope import Failure
from capi_async.sandbox.platforms.tiktok_shop.pages import MAX_PAGE_SIZE
from capi_async.sandbox.platforms.tiktok_shop.world import Product

BAD_INPUT, NOT_FOUND = 40001, 40004
MAX_VIDEO_TITLE, MAX_DESCRIPTION, MAX_POST = 150, 1_000, 2_000

_PRODUCT_STATUS = {
    "ACTIVE": ("ACTIVATE",),
    "INACTIVE": ("SELLER_DEACTIVATED", "PLATFORM_DEACTIVATED"),
    "DRAFT": ("DRAFT",),
}
_VIDEO_STATUS = ("PUBLISHED", "DRAFT", "PROCESSING", "FAILED")
_POST_STATUS = ("PUBLISHED", "DRAFT", "SCHEDULED")
_RESOURCES = ("product", "video", "post")


def search_products(ask: Ask) -> dict[str, Any]:
    """``GET /api/products/search``."""
    statuses = _PRODUCT_STATUS.get(ask.query["status"], ()) if "status" in ask.query else None
    if statuses == ():
        raise _bad("status")
    wanted = ask.query.get("search_query", "").casefold()
    found = [
        product.raw
        for product in ask.world.products.values()
        if product.shop_id == ask.shop.id
        and (statuses is None or product.raw["status"] in statuses)
        and wanted in product.raw["title"].casefold()
    ]
    return _listed(ask, "products", found)


def product_details(ask: Ask) -> dict[str, Any]:
    """``GET /api/products/details``."""
    return _product(ask, ask.query.get("product_id", "")).raw


def search_orders(ask: Ask) -> dict[str, Any]:
    """``GET /api/orders/search``: times are of creation, the end exclusive."""
    status, fits = ask.query.get("order_status"), _window(ask)
    found = [
        {**order.shown(), "order_id": order.id, "order_status": order.status}
        for order in ask.world.orders.values()
        if order.shop.id == ask.shop.id and status in (None, order.status) and fits(order.raw["create_time"])
    ]
    found.sort(key=lambda order: (-order["create_time"], order["id"]))
    return _listed(ask, "orders", found)


def order_detail(ask: Ask) -> dict[str, Any]:
    """``GET /api/orders/detail``: the order itself, with ``order_status`` and ``items`` beside today's names."""
    order = ask.world.orders.get(ask.query.get("order_id", ""))
    if order is None or order.shop.id != ask.shop.id:
        raise _missing("order")
    return {**order.shown(), "order_status": order.status, "items": order.raw["line_items"]}


def get_inventory(ask: Ask) -> dict[str, Any]:
    """``GET /api/products/inventory``."""
    return _inventory(_product(ask, ask.query.get("product_id", "")))


def update_inventory(ask: Ask) -> dict[str, Any]:
    """``POST /api/products/inventory/update``: of one SKU, or of the only one."""
    product = _product(ask, ask.body.get("product_id", ""))
    quantity, sku_id = ask.body.get("available_quantity"), ask.body.get("sku_id")
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 0:
        raise _bad("available_quantity")
    skus = product.raw["skus"]
    if not sku_id and len(skus) > 1:
        raise _bad("sku_id")
    sku = product.sku(sku_id) if sku_id else skus[0]
    if sku is None:
        raise _missing("sku")
    for row in sku["inventory"][1:]:
        row["quantity"] = 0
    sku["inventory"][0]["quantity"] = quantity
    return _inventory(product)


def list_videos(ask: Ask) -> dict[str, Any]:
    """``GET /api/content/videos``."""
    return _content_list(ask, ask.world.videos, "video", _VIDEO_STATUS)


def video_detail(ask: Ask) -> dict[str, Any]:
    """``GET /api/content/video/detail``."""
    return _told(_content(ask, ask.world.videos, "video"), "video")


def upload_video(ask: Ask) -> dict[str, Any]:
    """``POST /api/content/video/upload``: in process until it has been read once."""
    title, url = ask.body.get("title"), ask.body.get("video_url")
    if not isinstance(title, str) or not 1 <= len(title) <= MAX_VIDEO_TITLE:
        raise _bad("title")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise _bad("video_url")
    description = ask.body.get("description", "")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        raise _bad("description")
    video = ask.world.add_video(
        ask.shop.id, title=title, description=description, status="PROCESSING", product_ids=_products(ask)
    )
    return {"video_id": video["id"], "status": video["status"], "processing_time": 30}


def delete_video(ask: Ask) -> dict[str, Any]:
    """``DELETE /api/content/video/delete``."""
    video = _content(ask, ask.world.videos, "video")
    del ask.world.videos[video["id"]]
    return {"video_id": video["id"], "deleted": True}


def list_posts(ask: Ask) -> dict[str, Any]:
    """``GET /api/content/posts``."""
    return _content_list(ask, ask.world.posts, "post", _POST_STATUS)


def post_detail(ask: Ask) -> dict[str, Any]:
    """``GET /api/content/post/detail``."""
    return _told(_content(ask, ask.world.posts, "post"), "post")


def create_post(ask: Ask) -> dict[str, Any]:
    """``POST /api/content/post/create``: now, or at a time to come."""
    content = ask.body.get("content")
    if not isinstance(content, str) or not 1 <= len(content) <= MAX_POST:
        raise _bad("content")
    scheduled = ask.body.get("scheduled_time")
    if scheduled is not None and (not isinstance(scheduled, int) or scheduled <= ask.now):
        raise _bad("scheduled_time")
    post = ask.world.add_post(
        ask.shop.id,
        content=content,
        status="PUBLISHED" if scheduled is None else "SCHEDULED",
        media=_texts(ask, "media_urls"),
        product_ids=_products(ask),
        tags=_texts(ask, "tags"),
        scheduled_time=scheduled,
    )
    return {"post_id": post["id"], "status": post["status"], "url": f"https://www.tiktok.com/@sandbox/{post['id']}"}


def delete_post(ask: Ask) -> dict[str, Any]:
    """``DELETE /api/content/post/delete``."""
    post = _content(ask, ask.world.posts, "post")
    del ask.world.posts[post["id"]]
    return {"post_id": post["id"], "deleted": True}


def analytics(ask: Ask) -> dict[str, Any]:
    """``GET /api/data/analytics``."""
    span = _span(ask, required=True)
    dimension = ask.query.get("dimension", "daily")
    rows: list[dict[str, Any]] = []
    if dimension == "daily":
        for day in span.days():
            seen = views(ask.shop.id, day.start)
            rows.append({"date": day.start.isoformat(), **_metrics(_sold(ask, day), seen)})
    elif dimension == "product":
        for product in ask.world.products.values():
            if product.shop_id == ask.shop.id:
                seen = views(product.id, span.start)
                rows.append({"product_id": product.id, **_metrics(_sold(ask, span, product.id), seen)})
    elif dimension in ("video", "post"):
        known = ask.world.videos if dimension == "video" else ask.world.posts
        rows = [
            {f"{dimension}_id": one["id"], "views": one["views"], "clicks": one["likes"]}
            for one in known.values()
            if one["shop_id"] == ask.shop.id
        ]
    else:
        raise _bad("dimension")
    return _listed(ask, "analytics", [_chosen(ask, row) for row in rows])


def performance(ask: Ask) -> dict[str, Any]:
    """``GET /api/data/performance``: of one product, video or post; all time unless told otherwise."""
    kind, resource_id = ask.query.get("resource_type", ""), ask.query.get("resource_id", "")
    if kind not in _RESOURCES:
        raise _bad("resource_type")
    span = _span(ask, required=False)
    metrics: dict[str, Any]
    if kind == "product":
        product = _product(ask, resource_id)
        metrics = _metrics(_sold(ask, span, product.id), views(product.id, span.start))
    else:
        known = ask.world.videos if kind == "video" else ask.world.posts
        one = known.get(resource_id)
        if one is None or one["shop_id"] != ask.shop.id:
            raise _missing(kind)
        metrics = {"views": one["views"], "clicks": one["likes"], "conversions": 0, "conversion_rate": "0.0000"}
    wanted = _names(ask)
    return {
        "resource_type": kind,
        "resource_id": resource_id,
        "metrics": {name: value for name, value in metrics.items() if not wanted or name in wanted},
        "period": {"start_date": span.start.isoformat(), "end_date": span.end.isoformat()},
    }


def _bad(name: str) -> Failure:
    return Failure(BAD_INPUT, f"invalid parameter: {name}", status=400)


def _missing(what: str) -> Failure:
    return Failure(NOT_FOUND, f"{what} not found", status=404)


def _listed(ask: Ask, name: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    size, number = ask.query.get("page_size", "20"), ask.query.get("page_number", "1")
    if not size.isdecimal() or not 1 <= int(size) <= MAX_PAGE_SIZE:
        raise _bad("page_size")
    if not number.isdecimal() or int(number) < 1:
        raise _bad("page_number")
    start = int(size) * (int(number) - 1)
    end = start + int(size)
    return {name: found[start:end], "total": len(found), "more": len(found) > end}


def _product(ask: Ask, product_id: object) -> Product:
    product = ask.world.products.get(product_id) if isinstance(product_id, str) else None
    if product is None or product.shop_id != ask.shop.id:
        raise _missing("product")
    return product


def _inventory(product: Product) -> dict[str, Any]:
    rows = [
        {
            "sku_id": sku["id"],
            "available_quantity": sum(row["quantity"] for row in sku["inventory"]),
            "reserved_quantity": product.committed.get(sku["id"], 0),
        }
        for sku in product.raw["skus"]
    ]
    total = {name: sum(row[name] for row in rows) for name in ("available_quantity", "reserved_quantity")}
    return {"product_id": product.id, **total, "sku_inventory": rows}


def _content_list(ask: Ask, known: Mapping[str, dict[str, Any]], kind: str, statuses: Sequence[str]) -> dict[str, Any]:
    status, fits = ask.query.get(f"{kind}_status"), _window(ask)
    if status is not None and status not in statuses:
        raise _bad(f"{kind}_status")
    found = [
        _told(one, kind)
        for one in known.values()
        if one["shop_id"] == ask.shop.id and status in (None, one["status"]) and fits(one["time"])
    ]
    found.sort(key=lambda one: (-one["created_time"], one[f"{kind}_id"]))
    return _listed(ask, f"{kind}s", found)


def _content(ask: Ask, known: Mapping[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    one = known.get(ask.query.get(f"{kind}_id", ""))
    if one is None or one["shop_id"] != ask.shop.id:
        raise _missing(kind)
    return one


def _told(one: dict[str, Any], kind: str) -> dict[str, Any]:
    told: dict[str, Any] = {f"{kind}_id": one["id"], "status": one["status"], "created_time": one["time"]}
    if kind == "video":
        told |= {
            "title": one["title"],
            "description": one["description"],
            "url": f"https://www.tiktok.com/@sandbox/video/{one['id']}",
            "duration": 21,
            "view_count": one["views"],
            "like_count": one["likes"],
            "share_count": one["likes"] // 5,
            "product_ids": one["product_ids"],
        }
        if one["status"] == "PROCESSING":
            one["status"] = "PUBLISHED"
    else:
        told |= {
            "content": one["content"],
            "media": one["media"],
            "product_tags": one["product_ids"],
            "tags": one["tags"],
            "engagement": {"likes": one["likes"], "comments": one["likes"] // 9, "shares": one["likes"] // 5},
        }
        if one["scheduled_time"] is not None:
            told["scheduled_time"] = one["scheduled_time"]
    return told


def _texts(ask: Ask, name: str) -> list[str]:
    value = ask.body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _bad(name)
    return value


def _products(ask: Ask) -> list[str]:
    return [_product(ask, product_id).id for product_id in _texts(ask, "product_ids")]


def _window(ask: Ask) -> Callable[[int], bool]:
    low, high = _seconds(ask, "start_time"), _seconds(ask, "end_time")
    if low is not None and high is not None and low >= high:
        raise _bad("start_time")
    return lambda at: (low is None or at >= low) and (high is None or at < high)


def _seconds(ask: Ask, name: str) -> int | None:
    text = ask.query.get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 10:
        raise _bad(name)
    return int(text)


def _span(ask: Ask, *, required: bool) -> Span:
    low, high = _seconds(ask, "start_time"), _seconds(ask, "end_time")
    if required and (low is None or high is None):
        raise _bad("start_time" if low is None else "end_time")
    if low is not None and high is not None and low >= high:
        raise _bad("start_time")
    end = shop_day(ask.shop, ask.now if high is None else high - 1) + timedelta(1)
    start = date(2020, 1, 1) if low is None else shop_day(ask.shop, low)
    if required and (end - start).days > MAX_DAYS:
        raise _bad("start_time")
    return Span(start, end)


def _sold(ask: Ask, span: Span, product_id: str = "") -> Sales:
    return sales(ask.world.orders.values(), ask.shop, span, product_id=product_id)


def _metrics(sold: Sales, seen: int) -> dict[str, Any]:
    return {
        "views": seen,
        "clicks": seen // 3,
        "conversions": sold.orders,
        "conversion_rate": f"{sold.orders / seen:.4f}",
        "revenue": str(sold.gmv),
    }


def _names(ask: Ask) -> list[str]:
    return [name for name in ask.query.get("metrics", "").split(",") if name]


def _chosen(ask: Ask, row: dict[str, Any]) -> dict[str, Any]:
    wanted = _names(ask)
    known = ("views", "clicks", "conversions", "conversion_rate", "revenue")
    return {name: value for name, value in row.items() if not wanted or name not in known or name in wanted}
