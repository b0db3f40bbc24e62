"""Videos, posts and figures, as structs; read as leniently as :mod:`~capi_async.sources.tiktok_shop.models`.

Source: Partner Center, the pages of the operations, copies of 2025-12 and 2026.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from capi_async.early import ready
from capi_async.sources.tiktok_shop.models import Amount, Id, Model

# Videos and posts.


class ProductRef(Model, frozen=True, kw_only=True):
    """A product that is shown somewhere."""

    id: Id = ""
    name: str = ""


class Video(Model, frozen=True, kw_only=True):
    """A published video and what it sold.

    Attributes:
        click_through_rate: 0.0528 is 5.28 %.
        video_post_time: ``YYYY-MM-DD hh:mm:ss``, in a zone that the platform does not name.
        status, url, description: Only of the older contract.
    """

    id: Id = ""
    title: str = ""
    username: str = ""
    gmv: Amount = Amount()
    sku_orders: int = 0
    units_sold: int = 0
    views: int = 0
    click_through_rate: Decimal | None = None
    products: tuple[ProductRef, ...] = ()
    video_post_time: str = ""
    status: str = ""
    url: str = ""
    description: str = ""

    def metric(self, name: str) -> Decimal | int | None:
        """A figure by its older name: ``views``, ``conversions``, ``conversion_rate``, ``revenue`` or ``clicks``."""
        return _metric(name, self.views, self.sku_orders, self.gmv.amount)


@ready
class Post(Model, frozen=True, kw_only=True):
    """A post, by the older contract: the platform of today has no endpoint that reads one.

    Attributes:
        status: ``PUBLISHED``, ``DRAFT`` or ``SCHEDULED``.
    """

    id: Id = msgspec.field(default="", name="post_id")
    content: str = ""
    status: str = ""
    media_urls: tuple[str, ...] = ()
    product_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    created_time: int = 0
    scheduled_time: int = 0
    url: str = ""


class Published(Model, frozen=True, kw_only=True):
    """A video or post that was handed over.

    Attributes:
        quota: What the account may publish, such as ``3/day``.
        status: By the older contract; a creator's video is asked for with ``video_status()``.
    """

    id: Id = ""
    status: str = ""
    quota: str = ""


class VideoStatus(Model, frozen=True, kw_only=True):
    """What became of a video that was handed over.

    Attributes:
        post_status: ``SUCCESS``, ``FAIL`` or ``PROCESSING``.
    """

    id: Id = ""
    post_status: str = ""
    post_time: int = 0


# Analytics.


class Breakdown(Model, frozen=True, kw_only=True):
    """Sales of one kind of content.

    Attributes:
        type: ``LIVE``, ``VIDEO`` or ``PRODUCT_CARD``.
    """

    type: str = ""
    amount: Decimal | None = None
    currency: str = ""


class Interval(Model, frozen=True, kw_only=True):
    """Figures of some days; each endpoint fills the fields that it has, the others stay ``None``.

    Attributes:
        start_date, end_date: ``YYYY-MM-DD`` in the shop's time zone, the end exclusive.
        click_through_rate: 0.0528 is 5.28 %.
    """

    start_date: str = ""
    end_date: str = ""
    gmv: Amount | None = None
    gmv_breakdowns: tuple[Breakdown, ...] = ()
    orders: int | None = None
    sku_orders: int | None = None
    units_sold: int | None = None
    avg_order_value: Amount | None = None
    buyers: int | None = None
    daily_avg_buyers: Decimal | None = None
    views: int | None = None
    impressions: int | None = None
    page_views: int | None = None
    avg_page_visitors: Decimal | None = None
    product_impressions: int | None = None
    product_page_views: int | None = None
    avg_product_page_visitors: Decimal | None = None
    click_through_rate: Decimal | None = None
    refunds: Amount | None = None
    cancellations_and_returns: int | None = None

    def metric(self, name: str) -> Decimal | int | None:
        """A figure by its older name: ``views``, ``conversions``, ``conversion_rate``, ``revenue`` or ``clicks``."""
        views = self.product_page_views if self.product_page_views is not None else self.page_views
        revenue = self.gmv.amount if self.gmv else None
        return _metric(name, self.views if views is None else views, self.orders, revenue)


class Engagement(Model, frozen=True, kw_only=True):
    """How people reacted to a video."""

    total_likes: int = 0
    total_shares: int = 0
    total_comments: int = 0
    total_views: int = 0


class Performance(Model, frozen=True, kw_only=True):
    """Figures of a shop, a product or a video, day by day or in one piece.

    Attributes:
        id: Of the video; empty for others.
        latest_available_date: The platform knows nothing newer; a day old at best.
        engagement_data, video_post_time: Of videos only.
    """

    id: Id = ""
    intervals: tuple[Interval, ...] = ()
    comparison_intervals: tuple[Interval, ...] = ()
    latest_available_date: str = ""
    video_post_time: str = ""
    engagement_data: Engagement | None = None

    @property
    def view_count(self) -> int | None:
        """A video's views."""
        return self.engagement_data.total_views if self.engagement_data else None

    @property
    def like_count(self) -> int | None:
        """A video's likes."""
        return self.engagement_data.total_likes if self.engagement_data else None


class ProductPerformance(Model, frozen=True, kw_only=True):
    """Figures of one product in a list of them."""

    id: Id = ""
    gmv: Amount = Amount()
    orders: int = 0
    units_sold: int = 0
    click_through_rate: Decimal | None = None

    def metric(self, name: str) -> Decimal | int | None:
        """A figure by its older name; of a product in a list there are ``conversions`` and ``revenue``."""
        return _metric(name, None, self.orders, self.gmv.amount)


def _metric(name: str, views: int | None, conversions: int | None, revenue: Decimal | None) -> Decimal | int | None:
    match name:
        case "views":
            return views
        case "conversions":
            return conversions
        case "revenue":
            return revenue
        case "conversion_rate":
            # without views there is no rate, rather than one of 0
            return Decimal(conversions) / Decimal(views) if conversions is not None and views else None
        case "clicks":
            # the platform gives a rate only
            return None
        case _:
            raise ValueError(f"no figure {name!r}; there are views, clicks, conversions, conversion_rate, revenue")


class Metrics(Model, frozen=True, kw_only=True):
    """Figures summed over the time asked for; ``None`` where the platform gives no such figure.

    Attributes:
        revenue: In major units of ``currency``.
        conversion_rate: ``conversions / views``; ``None`` without views.
        clicks: Always ``None`` today: the platform gives a rate only.
        intervals: What was summed.
    """

    resource_type: str = ""
    resource_id: Id = ""
    views: int | None = None
    clicks: int | None = None
    conversions: int | None = None
    conversion_rate: Decimal | None = None
    revenue: Decimal | None = None
    currency: str = ""
    intervals: tuple[Interval, ...] = ()
