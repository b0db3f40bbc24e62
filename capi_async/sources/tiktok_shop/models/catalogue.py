"""Products and their stock."""

from __future__ import annotations

from decimal import Decimal

from capi_async.early import ready
from capi_async.sources.tiktok_shop.models.base import Id, Model


class Price(Model, frozen=True, kw_only=True):
    """A SKU's price.

    Attributes:
        sale_price: What global sellers show.
        tax_exclusive_price: What local and intra-EU sellers show.
    """

    currency: str = ""
    sale_price: Decimal | None = None
    tax_exclusive_price: Decimal | None = None

    @property
    def display(self) -> Decimal | None:
        """The price that buyers see, whichever kind of seller it is."""
        return self.sale_price if self.sale_price is not None else self.tax_exclusive_price


class InventoryItem(Model, frozen=True, kw_only=True):
    """What lies in one warehouse, by product answers."""

    warehouse_id: Id = ""
    quantity: int = 0


class StatusInfo(Model, frozen=True, kw_only=True):
    """A SKU's own status."""

    status: str = ""


class SalesAttribute(Model, frozen=True, kw_only=True):
    """One dimension in which SKUs differ, such as colour."""

    id: Id = ""
    name: str = ""
    value_id: Id = ""
    value_name: str = ""


class Sku(Model, frozen=True, kw_only=True):
    """One variant of a product."""

    id: Id = ""
    seller_sku: str = ""
    price: Price = Price()
    inventory: tuple[InventoryItem, ...] = ()
    sales_attributes: tuple[SalesAttribute, ...] = ()
    status_info: StatusInfo = StatusInfo()


class Category(Model, frozen=True, kw_only=True):
    """One step of a category chain."""

    id: Id = ""
    parent_id: Id = ""
    local_name: str = ""
    is_leaf: bool = False


class Brand(Model, frozen=True, kw_only=True):
    """A product's brand."""

    id: Id = ""
    name: str = ""


class Image(Model, frozen=True, kw_only=True):
    """A product's picture."""

    uri: str = ""
    urls: tuple[str, ...] = ()
    thumb_urls: tuple[str, ...] = ()
    width: int = 0
    height: int = 0


@ready
class Product(Model, frozen=True, kw_only=True):
    """A product; the list of products leaves out what stands from ``description`` on.

    Attributes:
        status: ``DRAFT``, ``PENDING``, ``FAILED``, ``ACTIVATE``, ``SELLER_DEACTIVATED``, ``PLATFORM_DEACTIVATED``,
            ``FREEZE``, ``DELETED``, or what the platform invents next.
        skus: Price and stock stand here; a product has none of its own.
        description: HTML.
    """

    id: Id = ""
    title: str = ""
    status: str = ""
    skus: tuple[Sku, ...] = ()
    sales_regions: tuple[str, ...] = ()
    create_time: int = 0
    update_time: int = 0
    description: str = ""
    category_chains: tuple[Category, ...] = ()
    brand: Brand | None = None
    main_images: tuple[Image, ...] = ()


class WarehouseStock(Model, frozen=True, kw_only=True):
    """What lies in one warehouse, by stock answers."""

    warehouse_id: Id = ""
    available_quantity: int = 0
    committed_quantity: int = 0


class SkuStock(Model, frozen=True, kw_only=True):
    """The stock of one SKU."""

    id: Id = ""
    seller_sku: str = ""
    total_available_quantity: int = 0
    total_committed_quantity: int = 0
    warehouse_inventory: tuple[WarehouseStock, ...] = ()


@ready
class Inventory(Model, frozen=True, kw_only=True):
    """The stock of one product."""

    product_id: Id = ""
    skus: tuple[SkuStock, ...] = ()

    @property
    def available_quantity(self) -> int:
        """What can be sold, over all SKUs."""
        return sum(sku.total_available_quantity for sku in self.skus)

    @property
    def reserved_quantity(self) -> int:
        """What orders have taken, over all SKUs."""
        return sum(sku.total_committed_quantity for sku in self.skus)
