"""Uses a TikTok Shop as a user would; checked by mypy, never run."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from capi_async.sources.tiktok_shop import (
    EncryptedFileTokens,
    MemoryTokens,
    Metrics,
    Order,
    Paged,
    Product,
    Shop,
    TikTokShop,
    TikTokShopAPIError,
    TikTokShopRateLimitError,
    TokenSet,
    new_state,
    read_callback,
)
from capi_async.sources.tiktok_shop.figures import Interval, Performance, ProductPerformance, Video


def show(*values: object) -> None:
    """Whatever a user does with them."""


class OwnStore:
    """Two methods are enough."""

    async def load(self) -> TokenSet | None:
        return None

    async def save(self, tokens: TokenSet) -> None:
        pass


async def main() -> None:
    TikTokShop("key", "secret", tokens=OwnStore())
    TikTokShop("key", lambda: "secret", tokens=EncryptedFileTokens("tokens.bin", ["key"]))
    TikTokShop.from_env(tokens=MemoryTokens(), rates={"analytics": 1})
    async with TikTokShop("key", "secret", service_id="7", time_zone="Asia/Tokyo") as app:
        state = new_state()
        app.authorize_url(state)
        tokens: TokenSet = await app.connect(read_callback({"code": "c", "state": state}, expected_state=state))
        show(tokens.seller_name)
        shops: tuple[Shop, ...] = await app.get_shops()
        shop = app.for_shop(shops[0])
        page: Paged[Product] = await shop.get_products(page_size=50, status="ACTIVE")
        show(page.more, page.total, [product.title for product in page])
        async for order in shop.iter_orders(start_time=datetime.now(UTC)):
            amount: Decimal | None = order.payment.total_amount
            show(amount, order.line_items[0].sale_price)
        one: Order = await shop.get_order("1")
        await shop.update_inventory("1", {"7": 5}, one.line_items[0].sku_id)
        by_day: Paged[Interval] = await shop.get_analytics(date(2026, 1, 1), date(2026, 1, 8))
        products: Paged[ProductPerformance] = await shop.get_analytics(1, 2, dimension="product")
        videos: Paged[Video] = await shop.get_analytics(1, 2, dimension="video")
        video: Performance = await shop.get_video(videos.items[0].id)
        metrics: Metrics = await shop.get_performance_metrics("product", products.items[0].id)
        show(by_day, video.view_count, metrics.conversion_rate)
        try:
            await shop.create_post("text", photos=[b"..."])
        except TikTokShopRateLimitError as error:
            wait_s: float | None = error.retry_after
            show(wait_s)
        except TikTokShopAPIError as error:
            show(error.code, error.http_status, error.request_id, error.message)
