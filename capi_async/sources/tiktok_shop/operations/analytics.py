"""What a shop sold, by day, product or video. Figures are a day old at best."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal, overload

from msgspec import Struct
from msgspec.structs import replace

from capi_async.early import ready
from capi_async.sources.tiktok_shop import endpoints
from capi_async.sources.tiktok_shop.endpoints import checked_id
from capi_async.sources.tiktok_shop.errors import TikTokShopValidationError
from capi_async.sources.tiktok_shop.figures import Interval, Metrics, Performance, ProductPerformance, Video
from capi_async.sources.tiktok_shop.models import Paged
from capi_async.sources.tiktok_shop.operations.base import (
    Asking,
    Instant,
    Listed,
    any_of,
    as_instant,
    check_page,
    days,
    decode,
    epoch,
    every,
    page_of,
    query_text,
    unsupported,
)

Resource = Literal["product", "video", "post"]
#: The figures that both contracts name; the platform always sends all that it has.
METRICS: Final = ("views", "clicks", "conversions", "conversion_rate", "revenue")


@ready
class _Figures(Struct, frozen=True):
    performance: Performance = Performance()
    latest_available_date: str = ""


@ready
class _Products(Listed, frozen=True):
    products: tuple[ProductPerformance, ...] = ()


@ready
class _Videos(Listed, frozen=True):
    videos: tuple[Video, ...] = ()


class _OldMetrics(Struct, frozen=True):
    views: int | None = None
    clicks: int | None = None
    conversions: int | None = None
    conversion_rate: Decimal | None = None
    revenue: Decimal | None = None


@ready
class _OldFigures(Struct, frozen=True):
    metrics: _OldMetrics = _OldMetrics()


class AnalyticsOperations(Asking):
    """What a shop sold."""

    @overload
    async def get_analytics(
        self, start_time: Instant | date, end_time: Instant | date, metrics: Sequence[str] | None = None,
        dimension: Literal["daily"] | None = None, page_size: int = 20, page_number: int = 1, *, page_token: str = "",
        currency: str | None = None,
    ) -> Paged[Interval]: ...  # fmt: skip

    @overload
    async def get_analytics(
        self, start_time: Instant | date, end_time: Instant | date, metrics: Sequence[str] | None = None, *,
        dimension: Literal["product"], page_size: int = 20, page_number: int = 1, page_token: str = "",
        currency: str | None = None,
    ) -> Paged[ProductPerformance]: ...  # fmt: skip

    @overload
    async def get_analytics(
        self, start_time: Instant | date, end_time: Instant | date, metrics: Sequence[str] | None = None, *,
        dimension: Literal["video"], page_size: int = 20, page_number: int = 1, page_token: str = "",
        currency: str | None = None,
    ) -> Paged[Video]: ...  # fmt: skip

    @overload
    async def get_analytics(
        self, start_time: Instant | date, end_time: Instant | date, metrics: Sequence[str] | None = None,
        dimension: str | None = None, page_size: int = 20, page_number: int = 1, *, page_token: str = "",
        currency: str | None = None,
    ) -> Paged[Any]: ...  # fmt: skip

    async def get_analytics(
        self,
        start_time: Instant | date,
        end_time: Instant | date,
        metrics: Sequence[str] | None = None,
        dimension: str | None = None,
        page_size: int = 20,
        page_number: int = 1,
        *,
        page_token: str = "",
        currency: str | None = None,
    ) -> Paged[Any]:
        """Figures by day, product or video.

        Official: ``GET /analytics/202405/shop/performance`` (``daily``, in one page, one
        :class:`~capi_async.sources.tiktok_shop.models.Interval` per day), ``GET
        /analytics/202405/shop_products/performance`` (``product``), ``GET /analytics/202409/shop_videos/performance``
        (``video``). By post the platform has no figures.

        Args:
            start_time, end_time: Days, or instants that are widened to days of the shop's time zone; the end exclusive.
            metrics: Checked for names that do not exist; the platform sends all figures whatever is asked. Each record
                gives them by name: ``record.metric("revenue")``.
            dimension: ``daily`` (default), ``product`` or ``video``.
            page_size: 1 to 100.
            currency: ``LOCAL`` (default) or ``USD``.

        Raises:
            TikTokShopUnsupportedError: By post; nothing was sent.
            TikTokShopAPIError: As for every operation.
        """
        check_page(page_size, page_number, page_token)
        _check_metrics(metrics)
        chosen = dimension or "daily"
        any_of(chosen, "dimension", ("daily", "product", "video", "post"))
        if chosen == "post":
            raise unsupported("counts by post")
        first, last = days(start_time, end_time, self.time_zone, self.now())
        span = {"start_date_ge": first, "end_date_lt": last, "currency": currency}
        if chosen == "daily":
            return await self._by_day(span, page_number, page_token)
        paged = {**span, "page_size": page_size}
        key = (chosen, *paged.values())

        async def fetch(token: str) -> Paged[Any]:
            query = query_text({**paged, "page_token": token})
            if chosen == "product":
                answer = await self._ask(endpoints.PRODUCTS_FIGURES, query=query)
                products = decode(answer, _Products)
                return page_of(products.products, products, answer)
            answer = await self._ask(endpoints.VIDEOS, query=query)
            videos = decode(answer, _Videos)
            return page_of(videos.videos, videos, answer)

        return await (fetch(page_token) if page_number == 1 else self._pages.turn_to(key, page_number, fetch))

    def iter_analytics(
        self, start_time: Instant | date, end_time: Instant | date, *, dimension: str, page_size: int = 100, **more: Any
    ) -> AsyncIterator[Any]:
        """All records, page by page; arguments as :meth:`get_analytics`."""

        async def fetch(token: str) -> Paged[Any]:
            page: Paged[Any] = await self.get_analytics(
                start_time, end_time, dimension=dimension, page_size=page_size, page_token=token, **more
            )
            return page

        return every(fetch)

    async def get_shop_performance(
        self,
        start_time: Instant | date,
        end_time: Instant | date,
        *,
        granularity: str = "ALL",
        with_comparison: bool = False,
        currency: str | None = None,
    ) -> Performance:
        """The whole shop's figures. Official: ``GET /analytics/202405/shop/performance``.

        Args:
            granularity: ``ALL`` (one interval) or ``1D`` (one per day).
            with_comparison: Also the span of equal length before.

        Raises:
            TikTokShopAPIError: As for every operation.
        """  # fmt: skip
        first, last = days(start_time, end_time, self.time_zone, self.now())
        span = {"start_date_ge": first, "end_date_lt": last, "currency": currency}
        return await self._shop_figures(span, granularity, with_comparison=with_comparison)

    async def get_performance_metrics(
        self,
        resource_type: Resource,
        resource_id: str,
        start_time: Instant | date | None = None,
        end_time: Instant | date | None = None,
        metrics: Sequence[str] | None = None,
    ) -> Metrics:
        """The figures of one product or video, summed up. Official: ``GET
        /analytics/202405/shop_products/{id}/performance`` and ``GET /analytics/202409/shop_videos/{id}/performance``.
        Of a post: older contract only, ``GET /api/data/performance`` at ``legacy_base_url``.

        Args:
            resource_type: ``product``, ``video`` or ``post``.
            start_time, end_time: As for :meth:`get_analytics`; default: the last 28 days.
            metrics: Checked for names that do not exist.

        Raises:
            TikTokShopNotFoundError: No such product or video.
            TikTokShopUnsupportedError: Of a post, and no ``legacy_base_url``; nothing was sent.
            TikTokShopAPIError: As for every operation.
        """
        any_of(resource_type, "resource_type", ("product", "video", "post"))
        _check_metrics(metrics)
        if resource_type == "post":
            return await self._of_post(resource_id, start_time, end_time, metrics)
        first, last = days(start_time, end_time, self.time_zone, self.now())
        query = query_text({"start_date_ge": first, "end_date_lt": last, "granularity": "1D"})
        if resource_type == "product":
            answer = await self._ask(endpoints.PRODUCT_FIGURES, ids={"product_id": resource_id}, query=query)
        else:
            answer = await self._ask(endpoints.VIDEO, ids={"video_id": resource_id}, query=query)
        return summed(decode(answer, _Figures).performance, resource_type, resource_id)

    async def _shop_figures(
        self, span: Mapping[str, str | None], granularity: str, *, with_comparison: bool
    ) -> Performance:
        query = query_text({**span, "granularity": granularity, "with_comparison": with_comparison or None})
        found = decode(await self._ask(endpoints.SHOP_FIGURES, query=query), _Figures)
        return replace(
            found.performance,
            latest_available_date=found.performance.latest_available_date or found.latest_available_date,
        )

    async def _by_day(self, span: Mapping[str, str | None], page_number: int, page_token: str) -> Paged[Interval]:
        if page_token:
            raise TikTokShopValidationError("page_token: by day there is one page only")
        if page_number > 1:
            return Paged()
        intervals = (await self._shop_figures(span, "1D", with_comparison=False)).intervals
        return Paged(items=intervals, total=len(intervals))

    async def _of_post(
        self,
        post_id: str,
        start_time: Instant | date | None,
        end_time: Instant | date | None,
        metrics: Sequence[str] | None,
    ) -> Metrics:
        if not self.legacy:
            raise unsupported("counts by post", "set legacy_base_url if something of yours speaks the older contract")
        query = query_text(
            {
                "resource_type": "post",
                "resource_id": checked_id("resource_id", post_id),
                "start_time": epoch(as_instant(start_time), "start_time"),
                "end_time": epoch(as_instant(end_time), "end_time"),
                "metrics": list(metrics) if metrics else None,
            }
        )
        found = decode(await self._ask(endpoints.LEGACY_FIGURES, query=query), _OldFigures).metrics
        return Metrics(
            resource_type="post",
            resource_id=post_id,
            views=found.views,
            clicks=found.clicks,
            conversions=found.conversions,
            conversion_rate=found.conversion_rate,
            revenue=found.revenue,
        )


def summed(performance: Performance, resource_type: str, resource_id: str) -> Metrics:
    """The intervals' figures in one; a figure that no interval has stays ``None``."""
    intervals = performance.intervals
    views = _sum(one.page_views if resource_type == "product" else one.views for one in intervals)
    conversions = _sum(one.orders if one.orders is not None else one.sku_orders for one in intervals)
    amounts = [one.gmv for one in intervals if one.gmv is not None and one.gmv.amount is not None]
    return Metrics(
        resource_type=resource_type,
        resource_id=resource_id,
        views=views if views is not None else performance.view_count,
        conversions=conversions,
        conversion_rate=Decimal(conversions) / Decimal(views) if conversions is not None and views else None,
        revenue=sum((one.amount or Decimal(0) for one in amounts), Decimal(0)) if amounts else None,
        currency=amounts[0].currency if amounts else "",
        intervals=intervals,
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _check_metrics(metrics: Sequence[str] | None) -> None:
    for name in metrics or ():
        any_of(name, "metrics", METRICS)
