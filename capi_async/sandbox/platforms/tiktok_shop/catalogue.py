"""Operations on products and stock."""

from __future__ import annotations

from typing import Any

from capi_async.sandbox.platforms.tiktok_shop.asking import Ask
from capi_async.sandbox.platforms.tiktok_shop.envelope import Failure, parameter
from capi_async.sandbox.platforms.tiktok_shop.world import Product

PAGE, PAGE_SIZE, BAD_INPUT = 12019108, 12019109, 12052910
NO_PRODUCT, NOT_YOUR_PRODUCT, NOT_ACTIVE = 12019150, 12052048, 12052901
NEEDS_SKU, NO_SKU, NAME_WAREHOUSES, OUT_OF_BOUNDS, NO_WAREHOUSE = 12052036, 12052556, 12019028, 12052055, 12052097
CHECK_FAILED = 12052990
MAX_QUANTITY = 99_999

STATUSES = (
    "ALL",
    "DRAFT",
    "PENDING",
    "FAILED",
    "ACTIVATE",
    "SELLER_DEACTIVATED",
    "PLATFORM_DEACTIVATED",
    "FREEZE",
    "DELETED",
)
_HIDDEN = ("FREEZE", "DELETED")
_LISTED = ("id", "title", "status", "skus", "sales_regions", "create_time", "update_time")


def search_products(ask: Ask) -> dict[str, Any]:
    """``POST /product/202502/products/search``."""
    status = ask.body.get("status", "ALL")
    if status not in STATUSES:
        raise Failure(BAD_INPUT, "status is not one of the product statuses")
    seller_skus, sku_ids = ask.texts("seller_skus", 10), ask.texts("sku_ids", 10)
    bounds = [
        (name, ask.number(f"{name}_ge"), ask.number(f"{name}_le")) for name in ("create_time", "update_time")
    ]  # inclusive here, exclusive for orders
    found = [
        product
        for product in ask.world.products.values()
        if product.shop_id == ask.shop.id
        and (status == "ALL" or product.raw["status"] == status)
        and (not seller_skus or any(sku["seller_sku"] in seller_skus for sku in product.raw["skus"]))
        and (not sku_ids or any(sku["id"] in sku_ids for sku in product.raw["skus"]))
        and all(
            (low is None or product.raw[name] >= low) and (high is None or product.raw[name] <= high)
            for name, low, high in bounds
        )
    ]
    page, beside = ask.page(
        found, lambda product: (product.raw["create_time"], product.id), size_code=PAGE_SIZE, token_code=PAGE
    )
    return {"products": [{name: product.raw[name] for name in _LISTED} for product in page], **beside}


def get_product(ask: Ask) -> dict[str, Any]:
    """``GET /product/202309/products/{product_id}``: the product itself, prices and stock per SKU."""
    return _product(ask).raw


def update_inventory(ask: Ask) -> dict[str, Any]:
    """``POST /product/202309/products/{product_id}/inventory/update``: SKUs that fail are named under code 0."""
    product = _product(ask)
    if product.raw["status"] != "ACTIVATE":
        raise Failure(NOT_ACTIVE, "product status does not allow this")
    skus = ask.body.get("skus")
    if not isinstance(skus, list) or not skus or not all(isinstance(sku, dict) for sku in skus):
        raise parameter("body.skus", "is missing")
    # All are looked at before any is set: a refusal changes nothing.
    checked = [_checked(product, sku) for sku in skus]
    errors = [one for one in checked if isinstance(one, dict)]
    for one in checked:
        if isinstance(one, list):
            for row, quantity in one:
                row["quantity"] = quantity
    if len(errors) < len(skus):
        product.raw["update_time"] = int(ask.now)
    return {"errors": errors} if errors else {}


def search_inventory(ask: Ask) -> dict[str, Any]:
    """``POST /product/202309/inventory/search``: a POST that only reads."""
    product_ids, sku_ids = ask.texts("product_ids", 100), ask.texts("sku_ids", 600)
    if not product_ids and not sku_ids:
        raise parameter("body.product_ids", "is missing")
    found = []
    for product in ask.world.products.values():
        if product.shop_id != ask.shop.id:
            continue
        skus = [
            _stock(product, sku)
            for sku in product.raw["skus"]
            if (sku["id"] in sku_ids if sku_ids else product.id in product_ids)
        ]
        if skus:
            found.append({"product_id": product.id, "skus": skus})
    return {"inventory": found}


def _product(ask: Ask) -> Product:
    product = ask.world.products.get(ask.parts["product_id"])
    if product is None or product.raw["status"] in _HIDDEN:
        raise Failure(NO_PRODUCT, "product not found")
    if product.shop_id != ask.shop.id:
        raise Failure(NOT_YOUR_PRODUCT, "the product does not belong to the current shop")
    return product


def _checked(product: Product, wanted: dict[str, Any]) -> dict[str, Any] | list[tuple[dict[str, Any], int]]:
    """What to set for one SKU, or why it alone fails; raises what refuses the whole call."""
    sku_id = wanted.get("id")
    if not sku_id:
        raise Failure(NEEDS_SKU, "sku id is required")
    sku = product.sku(sku_id) if isinstance(sku_id, str) else None
    if sku is None:
        raise Failure(NO_SKU, "sku not found in this product")
    rows = wanted.get("inventory")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise parameter("body.skus.inventory", "is missing")
    houses = {row["warehouse_id"]: row for row in sku["inventory"]}
    # It may be left out where there is only one.
    only = next(iter(houses)) if len(houses) == 1 else ""
    named = [str(row.get("warehouse_id") or only) for row in rows]
    strange = [house for house in named if house and house not in houses]
    if strange:
        extra = [
            {"warehouse_id": house, "code": NO_WAREHOUSE, "message": "The warehouse does not exist"}
            for house in strange
        ]
        detail = {"sku_id": sku_id, "extra_errors": extra}
        return {"code": CHECK_FAILED, "message": "Check failed", "detail": detail}
    if set(named) != set(houses):
        raise Failure(NAME_WAREHOUSES, "list every warehouse of the sku")
    quantities = [row.get("quantity") for row in rows]
    if not all(type(one) is int and 0 <= one <= MAX_QUANTITY for one in quantities):
        raise Failure(OUT_OF_BOUNDS, f"quantity must be between 0 and {MAX_QUANTITY}")
    return [(houses[house], int(row["quantity"])) for house, row in zip(named, rows, strict=True)]


def _stock(product: Product, sku: dict[str, Any]) -> dict[str, Any]:
    available = sum(row["quantity"] for row in sku["inventory"])
    committed = product.committed.get(sku["id"], 0)
    return {
        "id": sku["id"],
        "seller_sku": sku["seller_sku"],
        "total_available_quantity": available,
        "total_committed_quantity": committed,
        "warehouse_inventory": [
            {
                "warehouse_id": row["warehouse_id"],
                "available_quantity": row["quantity"],
                "committed_quantity": committed if index == 0 else 0,
            }
            for index, row in enumerate(sku["inventory"])
        ],
        "total_available_inventory_distribution": {
            "campaign_inventory": [],
            "creator_inventory": [],
            "in_shop_inventory": {"quantity": available},
        },
    }
