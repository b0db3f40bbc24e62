"""Figures: money and units from the orders that the sandbox holds, views from a hash, so that both can be checked."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from capi_async.sandbox.platforms.tiktok_shop.asking import Ask
from capi_async.sandbox.platforms.tiktok_shop.envelope import Failure, parameter
from capi_async.sandbox.platforms.tiktok_shop.model import Shop, money
from capi_async.sandbox.platforms.tiktok_shop.orders import CANCELLED, Order

BAD_DATES, NO_PRODUCT, NOT_YOUR_VIDEO = 28001022, 28001007, 12052048
# How far back the platform goes is not documented; the sandbox counts day by day.
MAX_DAYS = 366

# US dollars for one unit, so that the currency parameter shows.
_DOLLARS = {"USD": "1", "GBP": "1.27", "JPY": "0.0067", "IDR": "0.000062", "VND": "0.00004"}
_VIDEO_SORTS = ("gmv", "sku_orders", "units_sold", "views", "click_through_rate")
_PRODUCT_SORTS = ("gmv", "order_count", "unit_sold_count", "click_through_rate")


class Span(Struct, frozen=True):
    """Days of the shop's own calendar, the end exclusive."""

    start: date
    end: date

    def days(self) -> list[Span]:
        """Each day on its own."""
        return [
            Span(self.start + timedelta(n), self.start + timedelta(n + 1)) for n in range((self.end - self.start).days)
        ]


class Sales(Struct):
    """What was sold within a span, in the shop's currency."""

    gmv: Decimal
    orders: int
    units: int
    buyers: int
    refunds: Decimal
    reversed: int


def shop_day(shop: Shop, seconds: float) -> date:
    """The day in the shop's time zone."""
    return (datetime.fromtimestamp(seconds, UTC) + timedelta(hours=shop.utc_offset_h)).date()


def sales(orders: Iterable[Order], shop: Shop, span: Span, *, product_id: str = "") -> Sales:
    """Orders paid within the span; those that were given back later count too, as on the platform."""
    chosen = [
        order
        for order in orders
        if order.shop.id == shop.id
        and order.raw.get("paid_time")
        and span.start <= shop_day(shop, order.raw["paid_time"]) < span.end
    ]
    lines = [
        (order, line)
        for order in chosen
        for line in order.raw["line_items"]
        if not product_id or line["product_id"] == product_id
    ]
    counted = {order.id: order for order, _ in lines}
    gone = [order for order in counted.values() if order.status == CANCELLED]
    total = (
        sum((Decimal(line["sale_price"]) for _, line in lines), Decimal(0))
        if product_id
        else sum((Decimal(order.total_amount) for order in counted.values()), Decimal(0))
    )
    return Sales(
        gmv=total,
        orders=len(counted),
        units=len(lines),
        buyers=len({order.raw["user_id"] for order in counted.values()}),
        refunds=sum((Decimal(order.total_amount) for order in gone), Decimal(0)),
        reversed=len(gone),
    )


def views(*of: object) -> int:
    """A steady number between 100 and 999 for anything."""
    return 100 + zlib.crc32(":".join(map(str, of)).encode()) % 900


def shop_performance(ask: Ask) -> dict[str, Any]:
    """``GET /analytics/202405/shop/performance``."""
    span = _span(ask)
    intervals = []
    for one in _intervals(ask, span):
        sold = sales(ask.world.orders.values(), ask.shop, one)
        seen = sum(views(ask.shop.id, day.start) for day in one.days())
        intervals.append(
            {
                **_dates(one),
                "gmv": _amount(ask, sold.gmv),
                "gmv_breakdowns": [{"type": "PRODUCT_CARD", **_amount(ask, sold.gmv)}],
                "orders": sold.orders,
                "sku_orders": sold.orders,
                "units_sold": sold.units,
                "avg_order_value": _amount(ask, sold.gmv / sold.orders if sold.orders else Decimal(0)),
                "buyers": sold.buyers,
                "product_impressions": seen * 9,
                "product_page_views": seen,
                "avg_product_page_visitors": seen // 2,
                "refunds": _amount(ask, sold.refunds),
                "cancellations_and_returns": sold.reversed,
            }
        )
    return {"performance": {"intervals": intervals}, "latest_available_date": _latest(ask)}


def product_list(ask: Ask) -> dict[str, Any]:
    """``GET /analytics/202405/shop_products/performance``; ids are JSON numbers here."""
    span = _span(ask)
    sort = ask.text("sort_field", _PRODUCT_SORTS, "gmv")
    descending = ask.text("sort_order", ("ASC", "DESC"), "DESC") == "DESC"
    rows = []
    for product in ask.world.products.values():
        if product.shop_id != ask.shop.id or product.raw["status"] != "ACTIVATE":
            continue
        sold = sales(ask.world.orders.values(), ask.shop, span, product_id=product.id)
        seen = sum(views(product.id, day.start) for day in span.days())
        rows.append((int(product.id), sold, seen))
    keys: dict[str, Any] = {
        "gmv": lambda row: (row[1].gmv, row[0]),
        "order_count": lambda row: (row[1].orders, row[0]),
        "unit_sold_count": lambda row: (row[1].units, row[0]),
        "click_through_rate": lambda row: (_rate(row[1].orders, row[2]), row[0]),
    }
    page, beside = ask.page(
        rows, keys[sort], filters=(sort, span.start, span.end), default_size=10, descending=descending
    )
    products = [
        {
            "id": product_id,
            "gmv": _amount(ask, sold.gmv),
            "orders": sold.orders,
            "units_sold": sold.units,
            "click_through_rate": _rate(sold.orders, seen),
        }
        for product_id, sold, seen in page
    ]
    return {"products": products, "latest_available_date": _latest(ask), **beside}


def product_performance(ask: Ask) -> dict[str, Any]:
    """``GET /analytics/202405/shop_products/{product_id}/performance``."""
    product = ask.world.products.get(ask.parts["product_id"])
    if product is None or product.shop_id != ask.shop.id:
        raise Failure(NO_PRODUCT, "product not found")
    intervals = []
    for one in _intervals(ask, _span(ask)):
        sold = sales(ask.world.orders.values(), ask.shop, one, product_id=product.id)
        seen = sum(views(product.id, day.start) for day in one.days())
        intervals.append(
            {
                **_dates(one),
                "gmv": _amount(ask, sold.gmv),
                "orders": sold.orders,
                "units_sold": sold.units,
                "impressions": seen * 9,
                "page_views": seen,
                "avg_page_visitors": seen // 2,
                "click_through_rate": _rate(sold.orders, seen),
            }
        )
    return {"performance": {"intervals": intervals}, "latest_available_date": _latest(ask)}


def video_list(ask: Ask) -> dict[str, Any]:
    """``GET /analytics/202409/shop_videos/performance``: published ones only."""
    span = _span(ask)
    sort = ask.text("sort_field", _VIDEO_SORTS, "gmv")
    descending = ask.text("sort_order", ("ASC", "DESC"), "DESC") == "DESC"
    shown = [_video_row(ask, video, span) for video in ask.world.videos.values() if _published(ask, video)]

    def key(row: dict[str, Any]) -> tuple[Decimal, str]:
        value = row["gmv"]["amount"] if sort == "gmv" else row[sort]
        return Decimal(value), row["id"]

    page, beside = ask.page(shown, key, filters=(sort, span.start, span.end), default_size=10, descending=descending)
    return {"videos": page, "latest_available_date": _latest(ask), **beside}


def video_performance(ask: Ask) -> dict[str, Any]:
    """``GET /analytics/202409/shop_videos/{video_id}/performance``: figures, neither title nor address."""
    video = ask.world.videos.get(ask.parts["video_id"])
    if video is None or not _published(ask, video):
        raise Failure(NOT_YOUR_VIDEO, "the video does not belong to the current shop")
    intervals = [
        {
            **_dates(one),
            "gmv": _amount(ask, _video_sales(ask, video, one)),
            "click_through_rate": _rate(video["likes"], video["views"]),
            "daily_avg_buyers": "0.5",
            "views": sum(views(video["id"], day.start) for day in one.days()),
        }
        for one in _intervals(ask, _span(ask))
    ]
    performance = {
        "intervals": intervals,
        "video_post_time": _wall_text(ask.shop, video["time"]),
        "engagement_data": {
            "total_likes": video["likes"],
            "total_shares": video["likes"] // 5,
            "total_comments": video["likes"] // 9,
            "total_views": video["views"],
        },
    }
    return {"performance": performance, "latest_available_date": _latest(ask)}


def _video_row(ask: Ask, video: dict[str, Any], span: Span) -> dict[str, Any]:
    titles = {one: ask.world.products[one].raw["title"] for one in video["product_ids"] if one in ask.world.products}
    sold = [sales(ask.world.orders.values(), ask.shop, span, product_id=one) for one in titles]
    return {
        "id": video["id"],
        "title": video["title"],
        "username": video["username"],
        "gmv": _amount(ask, sum((one.gmv for one in sold), Decimal(0))),
        "sku_orders": sum(one.orders for one in sold),
        "units_sold": sum(one.units for one in sold),
        "views": video["views"],
        "click_through_rate": _rate(video["likes"], video["views"]),
        "products": [{"id": one, "name": title} for one, title in titles.items()],
        "video_post_time": _wall_text(ask.shop, video["time"]),
    }


def _video_sales(ask: Ask, video: dict[str, Any], span: Span) -> Decimal:
    orders = ask.world.orders.values()
    return sum((sales(orders, ask.shop, span, product_id=one).gmv for one in video["product_ids"]), Decimal(0))


def _published(ask: Ask, video: dict[str, Any]) -> bool:
    return bool(video["shop_id"] == ask.shop.id and video["status"] == "PUBLISHED")


def _span(ask: Ask) -> Span:
    ask.text("currency", ("USD", "LOCAL"))
    days = []
    for name in ("start_date_ge", "end_date_lt"):
        text = ask.query.get(name, "")
        if not text:
            raise parameter(name, "is missing")
        try:
            days.append(date.fromisoformat(text))
        except ValueError:
            raise Failure(BAD_DATES, f"{name} is not a date of the form YYYY-MM-DD") from None
    if days[0] >= days[1]:
        raise Failure(BAD_DATES, "start_date_ge must be before end_date_lt")
    if (days[1] - days[0]).days > MAX_DAYS:
        raise Failure(BAD_DATES, f"the dates lie more than {MAX_DAYS} days apart")
    return Span(days[0], days[1])


def _intervals(ask: Ask, span: Span) -> list[Span]:
    return span.days() if ask.text("granularity", ("ALL", "1D"), "ALL") == "1D" else [span]


def _dates(span: Span) -> dict[str, str]:
    return {"start_date": span.start.isoformat(), "end_date": span.end.isoformat()}


def _amount(ask: Ask, amount: Decimal) -> dict[str, str]:
    currency = ask.shop.currency
    if ask.query.get("currency") == "USD":
        amount, currency = amount * Decimal(_DOLLARS[currency]), "USD"
    return {"amount": money(amount, currency), "currency": currency}


def _rate(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "0"


def _latest(ask: Ask) -> str:
    return (shop_day(ask.shop, ask.now) - timedelta(1)).isoformat()


def _wall_text(shop: Shop, seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(hours=shop.utc_offset_h)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
