"""Every endpoint that is called, with its version, written once.

Source: Partner Center; pages of order search (650aa8094a0bb702c06df242), order detail (6894134ba28e5204961601a5),
product search (67b837b685619104a6846369), product (6509d85b4a0bb702c057fdda), update inventory
(6503068fc20ad60284b38858), inventory search (650a9191c16ffe02b8eec161), shops (6507ead7b99d5302be949ba9), webhook
setting (650aa064defece02be6df919), copies of 2025-12; creator and analytics pages, copies of 2025-12 and 2026.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from capi_async.sources.tiktok_shop.errors import TikTokShopValidationError


class Endpoint(Struct, frozen=True, kw_only=True):
    """One call of the platform.

    Attributes:
        path: With ``{names}`` for ids. The six digits are the endpoint's own version.
        scope: What the token needs.
        reads: It changes nothing, whatever its method.
        repeatable: Doing it twice is as good as once.
        shop: It wants ``shop_cipher``; where it does not, the platform refuses one.
        legacy: Of the older contract, spoken only to ``legacy_base_url``.
    """

    method: str
    path: str
    scope: str = ""
    reads: bool = False
    repeatable: bool = False
    shop: bool = True
    legacy: bool = False

    @property
    def category(self) -> str:
        """First step of the path, such as ``order``: rates can be set by it."""
        return self.path.split("/")[1]

    @property
    def version(self) -> str:
        """The endpoint's version; empty for those of the older contract."""
        second = self.path.split("/")[2]
        return second if second.isdigit() else ""

    def at(self, **ids: str) -> str:
        """The path with these ids.

        Raises:
            TikTokShopValidationError: One of them cannot be an id.
        """
        return self.path.format(**{name: checked_id(name, value) for name, value in ids.items()})


_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")


def checked_id(name: str, value: str) -> str:
    """An id as text.

    Raises:
        TikTokShopValidationError: It cannot be one.
    """
    text = str(value)
    if not _ID.fullmatch(text):
        raise TikTokShopValidationError(f"{name}: not an id; it is digits, given as text")
    return text


_PRODUCTS: Final = "seller.product.basic"
_ORDERS: Final = "seller.order.info"
_REFUNDS: Final = "seller.return_refund.basic"
_SHOPS: Final = "seller.authorization.info"
_FIGURES: Final = "data.shop_analytics.public.read"
_CREATOR: Final = "creator.video.write"

SHOPS: Final = Endpoint(method="GET", path="/authorization/202309/shops", scope=_SHOPS, reads=True, shop=False)

PRODUCTS: Final = Endpoint(method="POST", path="/product/202502/products/search", scope=_PRODUCTS, reads=True)
PRODUCT: Final = Endpoint(method="GET", path="/product/202309/products/{product_id}", scope=_PRODUCTS, reads=True)
INVENTORY: Final = Endpoint(method="POST", path="/product/202309/inventory/search", scope=_PRODUCTS, reads=True)
#: Sets an absolute quantity: a repeat does no harm unless stock moved meanwhile.
UPDATE_INVENTORY: Final = Endpoint(
    method="POST",
    path="/product/202309/products/{product_id}/inventory/update",
    scope="seller.product.write",
    repeatable=True,
)

ORDERS: Final = Endpoint(method="POST", path="/order/202309/orders/search", scope=_ORDERS, reads=True)
ORDER: Final = Endpoint(method="GET", path="/order/202507/orders", scope=_ORDERS, reads=True)
CANCELLATIONS: Final = Endpoint(
    method="POST", path="/return_refund/202309/cancellations/search", scope=_REFUNDS, reads=True
)
RETURNS: Final = Endpoint(method="POST", path="/return_refund/202309/returns/search", scope=_REFUNDS, reads=True)

SHOP_FIGURES: Final = Endpoint(method="GET", path="/analytics/202405/shop/performance", scope=_FIGURES, reads=True)
PRODUCTS_FIGURES: Final = Endpoint(
    method="GET", path="/analytics/202405/shop_products/performance", scope=_FIGURES, reads=True
)
PRODUCT_FIGURES: Final = Endpoint(
    method="GET", path="/analytics/202405/shop_products/{product_id}/performance", scope=_FIGURES, reads=True
)
VIDEOS: Final = Endpoint(method="GET", path="/analytics/202409/shop_videos/performance", scope=_FIGURES, reads=True)
VIDEO: Final = Endpoint(
    method="GET", path="/analytics/202409/shop_videos/{video_id}/performance", scope=_FIGURES, reads=True
)

#: A file that nobody refers to is no harm: sent twice it is only stored twice.
VIDEO_FILE: Final = Endpoint(
    method="POST", path="/affiliate_creator/202505/videos/video_files", scope=_CREATOR, shop=False
)
PUBLISH_VIDEO: Final = Endpoint(method="POST", path="/affiliate_creator/202607/videos", scope=_CREATOR, shop=False)
VIDEO_STATUS: Final = Endpoint(
    method="GET", path="/affiliate_creator/202509/videos/{video_id}/status", scope=_CREATOR, reads=True, shop=False
)
PHOTO_FILE: Final = Endpoint(
    method="POST", path="/affiliate_creator/202511/photos/photo_files", scope=_CREATOR, shop=False
)
PUBLISH_PHOTOS: Final = Endpoint(method="POST", path="/affiliate_creator/202607/photos", scope=_CREATOR, shop=False)

WEBHOOKS: Final = Endpoint(method="GET", path="/event/202309/webhooks", scope=_SHOPS, reads=True)
SET_WEBHOOK: Final = Endpoint(method="PUT", path="/event/202309/webhooks", scope=_SHOPS, repeatable=True)
DELETE_WEBHOOK: Final = Endpoint(method="DELETE", path="/event/202309/webhooks", scope=_SHOPS, repeatable=True)

# What the platform has no endpoint for, by the older contract: unversioned paths, refused by the platform since 2025.
LEGACY_VIDEOS: Final = Endpoint(method="GET", path="/api/content/videos", reads=True, shop=False, legacy=True)
LEGACY_UPLOAD_VIDEO: Final = Endpoint(method="POST", path="/api/content/video/upload", shop=False, legacy=True)
LEGACY_DELETE_VIDEO: Final = Endpoint(method="DELETE", path="/api/content/video/delete", shop=False, legacy=True)
LEGACY_POSTS: Final = Endpoint(method="GET", path="/api/content/posts", reads=True, shop=False, legacy=True)
LEGACY_POST: Final = Endpoint(method="GET", path="/api/content/post/detail", reads=True, shop=False, legacy=True)
LEGACY_CREATE_POST: Final = Endpoint(method="POST", path="/api/content/post/create", shop=False, legacy=True)
LEGACY_DELETE_POST: Final = Endpoint(method="DELETE", path="/api/content/post/delete", shop=False, legacy=True)
LEGACY_FIGURES: Final = Endpoint(method="GET", path="/api/data/performance", reads=True, shop=False, legacy=True)


class Operation(Struct, frozen=True):
    """One method of the client, and what stands behind it.

    Attributes:
        state: ``official``: the platform's own. ``creator``: the platform's own, with a creator's tokens.
            ``older contract``: the platform has no such endpoint.
    """

    name: str
    calls: tuple[Endpoint, ...]
    state: str = "official"


#: The sixteen operations, in the order in which they are documented.
OPERATIONS: Final = (
    Operation("get_products", (PRODUCTS,)),
    Operation("get_product", (PRODUCT,)),
    Operation("get_orders", (ORDERS,)),
    Operation("get_order", (ORDER,)),
    Operation("update_inventory", (UPDATE_INVENTORY,)),
    Operation("get_inventory", (INVENTORY,)),
    Operation("get_videos", (VIDEOS,)),
    Operation("get_video", (VIDEO,)),
    Operation("upload_video", (VIDEO_FILE, PUBLISH_VIDEO), "creator"),
    Operation("delete_video", (LEGACY_DELETE_VIDEO,), "older contract"),
    Operation("get_posts", (LEGACY_POSTS,), "older contract"),
    Operation("get_post", (LEGACY_POST,), "older contract"),
    Operation("create_post", (PHOTO_FILE, PUBLISH_PHOTOS), "creator"),
    Operation("delete_post", (LEGACY_DELETE_POST,), "older contract"),
    Operation("get_analytics", (SHOP_FIGURES, PRODUCTS_FIGURES, VIDEOS)),
    Operation("get_performance_metrics", (PRODUCT_FIGURES, VIDEO)),
)
