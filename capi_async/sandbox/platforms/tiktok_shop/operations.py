"""The table of operations: path, versions, scope, and who may ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from capi_async.sandbox.platforms.tiktok_shop import analytics, catalogue, content, retired, selling
from capi_async.sandbox.platforms.tiktok_shop.asking import Ask
from capi_async.sandbox.platforms.tiktok_shop.model import CREATOR, SELLER


class Operation(Struct, frozen=True):
    """One method of one path.

    Attributes:
        versions: Those that answer; empty for paths that carry none.
        scope: What the token needs.
        cipher: Takes ``shop_cipher``, and needs it.
        user_type: Of the token.
        multipart: Takes a form with a file instead of JSON.
        retired: A path of the retired style, which today's platform refuses; takes either style's signature, and the
            token in the header or as ``access_token``.
    """

    method: str
    pattern: re.Pattern[str]
    versions: tuple[str, ...]
    scope: str
    run: Callable[[Ask], Any]
    cipher: bool = True
    user_type: int = SELLER
    multipart: bool = False
    retired: bool = False


def _at(method: str, path: str, versions: str, scope: str, run: Callable[[Ask], Any], **options: Any) -> Operation:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path).replace("(?P<version>[^/]+)", r"(?P<version>[0-9]{6})")
    return Operation(method, re.compile(rf"{pattern}\Z"), tuple(versions.split()), scope, run, **options)


_AUTH, _READ, _WRITE = "seller.authorization.info", "seller.product.basic", "seller.product.write"
_ORDER, _REFUND = "seller.order.info", "seller.return_refund.basic"
_FIGURES, _CREATE = "data.shop_analytics.public.read", "creator.video.write"
_CREATOR: dict[str, Any] = {"cipher": False, "user_type": CREATOR}

_CURRENT = (
    _at("GET", "/authorization/{version}/shops", "202309", _AUTH, selling.authorized_shops, cipher=False),
    _at("GET", "/event/{version}/webhooks", "202309", _AUTH, selling.list_webhooks),
    _at("PUT", "/event/{version}/webhooks", "202309", _AUTH, selling.set_webhook),
    _at("DELETE", "/event/{version}/webhooks", "202309", _AUTH, selling.delete_webhook),
    _at("POST", "/product/{version}/products/search", "202309 202312 202502", _READ, catalogue.search_products),
    _at("POST", "/product/{version}/inventory/search", "202309", _READ, catalogue.search_inventory),
    _at("GET", "/product/{version}/products/{product_id}", "202309", _READ, catalogue.get_product),
    _at(
        "POST",
        "/product/{version}/products/{product_id}/inventory/update",
        "202309",
        _WRITE,
        catalogue.update_inventory,
    ),
    _at("POST", "/order/{version}/orders/search", "202309", _ORDER, selling.search_orders),
    _at("GET", "/order/{version}/orders", "202309 202507", _ORDER, selling.get_orders),
    _at("POST", "/return_refund/{version}/returns/search", "202309", _REFUND, selling.search_returns),
    _at("POST", "/return_refund/{version}/cancellations/search", "202309", _REFUND, selling.search_cancellations),
)

_FOR_CREATORS = (
    _at(
        "POST",
        "/affiliate_creator/{version}/videos/video_files",
        "202505",
        _CREATE,
        content.upload_video_file,
        multipart=True,
        **_CREATOR,
    ),
    _at("POST", "/affiliate_creator/{version}/videos", "202607", _CREATE, content.publish_video, **_CREATOR),
    _at(
        "GET",
        "/affiliate_creator/{version}/videos/{video_id}/status",
        "202509",
        _CREATE,
        content.video_status,
        **_CREATOR,
    ),
    _at(
        "POST",
        "/affiliate_creator/{version}/photos/photo_files",
        "202511",
        _CREATE,
        content.upload_photo_file,
        multipart=True,
        **_CREATOR,
    ),
    _at("POST", "/affiliate_creator/{version}/photos", "202607", _CREATE, content.publish_photos, **_CREATOR),
)

_ANALYTICS = tuple(
    _at("GET", f"/analytics/{{version}}/{path}", versions, _FIGURES, run)
    for path, versions, run in (
        ("shop/performance", "202405 202509", analytics.shop_performance),
        ("shop_products/performance", "202405", analytics.product_list),
        ("shop_products/{product_id}/performance", "202405", analytics.product_performance),
        ("shop_videos/performance", "202409 202509 202605", analytics.video_list),
        ("shop_videos/{video_id}/performance", "202409 202509 202605", analytics.video_performance),
    )
)

_RETIRED = tuple(
    _at(method, f"/api/{path}", "", "", run, cipher=False, retired=True)
    for method, path, run in (
        ("GET", "products/search", retired.search_products),
        ("GET", "products/details", retired.product_details),
        ("GET", "products/inventory", retired.get_inventory),
        ("POST", "products/inventory/update", retired.update_inventory),
        ("GET", "orders/search", retired.search_orders),
        ("GET", "orders/detail", retired.order_detail),
        ("GET", "content/videos", retired.list_videos),
        ("GET", "content/video/detail", retired.video_detail),
        ("POST", "content/video/upload", retired.upload_video),
        ("DELETE", "content/video/delete", retired.delete_video),
        ("GET", "content/posts", retired.list_posts),
        ("GET", "content/post/detail", retired.post_detail),
        ("POST", "content/post/create", retired.create_post),
        ("DELETE", "content/post/delete", retired.delete_post),
        ("GET", "data/analytics", retired.analytics),
        ("GET", "data/performance", retired.performance),
    )
)

OPERATIONS: tuple[Operation, ...] = (*_CURRENT, *_FOR_CREATORS, *_ANALYTICS, *_RETIRED)
