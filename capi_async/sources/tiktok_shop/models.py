"""What TikTok Shop answers, as structs. Read leniently: it is somebody else's format and it grows.

Unknown fields are ignored, every status is plain text (a new one is no error), ids are text even where the platform
sends numbers, amounts are ``Decimal`` in major units (JPY, IDR and VND come without decimals), times are seconds
since the Unix epoch, ``None`` or 0 where absent. A value that cannot be read counts as absent; only a list of orders
that is no list is an error.

Source: Partner Center, the pages of the operations, copies of 2025-12 and 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from capi_async.outcome import UNREADABLE
from capi_async.sources.tiktok_shop.lenient import amount, amount_of, instant, mended_json

if TYPE_CHECKING:
    Id: TypeAlias = str
    Time: TypeAlias = int
else:
    #: Beyond 2^53, and sent as a number by some endpoints; always text once it is read.
    Id = str | int
    #: Whole seconds since the epoch once it is read, whichever unit it came in; 0 if it is absent or no time.
    Time = int | float | str

T = TypeVar("T")


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what is read. Its repr shows ids and states, and nothing of a person."""

    def __post_init__(self) -> None:
        """Make text of ids that came as numbers, seconds of times; amounts that are none are absent."""
        ids, times, amounts = _kinds(type(self))
        for name in ids:
            value = getattr(self, name)
            if type(value) is int:
                force_setattr(self, name, str(value))
        for name in times:
            value = getattr(self, name)
            if value != 0 or type(value) is not int:
                force_setattr(self, name, instant(value))
        for name in amounts:
            value = getattr(self, name)
            if value is not None and amount(value) is None:
                force_setattr(self, name, None)

    def __repr__(self) -> str:
        shown = [
            f"{name}={value!r}" for name in _SHOWN if isinstance(value := getattr(self, name, None), str) and value
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


_SHOWN: Final = ("id", "status", "currency")


@lru_cache(maxsize=256)
def _kinds(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of the fields that hold ids, times and amounts."""
    fields = msgspec.structs.fields(kind)
    return (
        tuple([field.name for field in fields if field.type == Id]),
        tuple([field.name for field in fields if field.type == Time]),
        tuple([field.name for field in fields if field.type == Decimal | None]),
    )


class Amount(Model, frozen=True, kw_only=True):
    """An amount of money.

    Attributes:
        amount: In major units of ``currency``.
    """

    amount: Decimal | None = None
    currency: str = ""


class Shop(Model, frozen=True, kw_only=True):
    """A shop that the seller has opened to the app.

    Attributes:
        cipher: What selects this shop in a request; it belongs to the shop, not to the token.
        code: The shop's public code.
        seller_type: ``LOCAL`` or ``CROSS_BORDER``.
    """

    id: Id = ""
    name: str = ""
    region: str = ""
    seller_type: str = ""
    cipher: str = ""
    code: str = ""


# Products and stock.


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


# Orders.


class Payment(Model, frozen=True, kw_only=True):
    """What the buyer pays, in major units of ``currency``."""

    currency: str = ""
    total_amount: Decimal | None = None
    sub_total: Decimal | None = None
    shipping_fee: Decimal | None = None
    original_shipping_fee: Decimal | None = None
    original_total_product_price: Decimal | None = None
    seller_discount: Decimal | None = None
    platform_discount: Decimal | None = None
    shipping_fee_seller_discount: Decimal | None = None
    shipping_fee_platform_discount: Decimal | None = None
    tax: Decimal | None = None
    product_tax: Decimal | None = None
    shipping_fee_tax: Decimal | None = None
    retail_delivery_fee: Decimal | None = None
    buyer_service_fee: Decimal | None = None
    handling_fee: Decimal | None = None
    small_order_fee: Decimal | None = None
    shipping_insurance_fee: Decimal | None = None
    item_insurance_fee: Decimal | None = None


class District(Model, frozen=True, kw_only=True):
    """One level of an address; ``L0`` is the country, and which of the others is the city differs by country."""

    address_level: str = ""
    address_level_name: str = ""
    address_name: str = ""


class RecipientAddress(Model, frozen=True, kw_only=True):
    """Where the goods go; often masked with ``*``, and absent before an order awaits shipment.

    Attributes:
        first_name: In BR and MX the whole name.
        region_code: ISO 3166-1 alpha-2.
    """

    name: str = ""
    first_name: str = ""
    last_name: str = ""
    phone_number: str = ""
    region_code: str = ""
    postal_code: str = ""
    full_address: str = ""
    address_detail: str = ""
    address_line1: str = ""
    address_line2: str = ""
    address_line3: str = ""
    address_line4: str = ""
    district_info: tuple[District, ...] = ()


class LineItem(Model, frozen=True, kw_only=True):
    """One unit of one SKU: there is no quantity, two pieces are two line items.

    Attributes:
        sale_price: What the buyer pays for this unit.
        seller_sku: The seller's own id; may be empty.
        display_status: As an order's status, and at times a word of its own.
    """

    id: Id = ""
    product_id: Id = ""
    product_name: str = ""
    sku_id: Id = ""
    sku_name: str = ""
    seller_sku: str = ""
    sku_image: str = ""
    sku_type: str = ""
    currency: str = ""
    sale_price: Decimal | None = None
    original_price: Decimal | None = None
    seller_discount: Decimal | None = None
    platform_discount: Decimal | None = None
    is_gift: bool = False
    display_status: str = ""
    cancel_reason: str = ""
    cancel_user: str = ""
    package_id: Id = ""
    package_status: str = ""


class Order(Model, frozen=True, kw_only=True):
    """An order.

    Attributes:
        status: ``UNPAID``, ``ON_HOLD``, ``AWAITING_SHIPMENT``, ``PARTIALLY_SHIPPING``, ``AWAITING_COLLECTION``,
            ``IN_TRANSIT``, ``DELIVERED``, ``COMPLETED``, ``CANCELLED``, or what the platform invents next.
        create_time, update_time, paid_time, cancel_time: Seconds since the epoch; 0 where there is none (``paid_time``:
            until it is paid). Milliseconds and text are understood.
        user_id: TikTok Shop's id of the buyer.
        buyer_email: A relay alias of the platform; it identifies nobody elsewhere.
        recipient_address: ``None`` in ``UNPAID`` and ``ON_HOLD``.
        order_type: ``NORMAL``, ``ZERO_LOTTERY``, ``PRE_ORDER``, ``MADE_TO_ORDER``, ``BACK_ORDER``, ...
        commerce_platform: ``TIKTOK_SHOP`` or ``TOKOPEDIA``.
    """

    id: Id = ""
    status: str = ""
    user_id: Id = ""
    create_time: Time = 0
    update_time: Time = 0
    paid_time: Time = 0
    cancel_time: Time = 0
    cancel_reason: str = ""
    cancellation_initiator: str = ""
    buyer_email: str = ""
    payment: Payment = Payment()
    line_items: tuple[LineItem, ...] = ()
    recipient_address: RecipientAddress | None = None
    is_cod: bool = False
    is_on_hold_order: bool = False
    is_sample_order: bool = False
    is_replacement_order: bool = False
    is_exchange_order: bool = False
    is_buyer_request_cancel: bool = False
    order_type: str = ""
    commerce_platform: str = ""
    fulfillment_type: str = ""
    shipping_type: str = ""
    delivery_option_name: str = ""
    payment_method_name: str = ""
    warehouse_id: Id = ""

    @property
    def order_status(self) -> str:
        """Another name of ``status``."""
        return self.status

    @property
    def items(self) -> tuple[LineItem, ...]:
        """Another name of ``line_items``."""
        return self.line_items


class RefundAmount(Model, frozen=True, kw_only=True):
    """What a cancellation or a return gives back."""

    currency: str = ""
    refund_total: Decimal | None = None
    refund_subtotal: Decimal | None = None
    refund_shipping_fee: Decimal | None = None
    refund_tax: Decimal | None = None


class Cancellation(Model, frozen=True, kw_only=True):
    """A cancelled order or part of one."""

    cancel_id: Id = ""
    order_id: Id = ""
    cancel_status: str = ""
    cancel_type: str = ""
    role: str = ""
    create_time: int = 0
    update_time: int = 0
    refund_amount: RefundAmount = RefundAmount()


class Return(Model, frozen=True, kw_only=True):
    """A return, a refund or a replacement."""

    return_id: Id = ""
    order_id: Id = ""
    return_status: str = ""
    return_type: str = ""
    role: str = ""
    create_time: int = 0
    update_time: int = 0
    refund_amount: RefundAmount = RefundAmount()


class Paged(Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list.

    Attributes:
        next_page_token: Asks for the next page, with all else unchanged; empty on the last.
        total: Of all pages; ``None`` if the platform did not say.
        request_id: The platform's id of the request.
    """

    items: tuple[T, ...] = ()
    next_page_token: str = ""
    total: int | None = None
    request_id: str = ""

    @property
    def more(self) -> bool:
        """Whether another page follows."""
        return bool(self.next_page_token)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Paged({len(self.items)} items, total={self.total}, more={self.more})"


# Tokens.


class TokenSet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One authorization. Its repr shows no token.

    Attributes:
        access_expires_at, refresh_expires_at: Seconds since the epoch.
        user_type: 0 seller, 1 creator, 3 partner, 4 and 5 global selling.
        granted_scopes: What the seller agreed to.
        obtained_at: Seconds since the epoch, by this machine's clock.
    """

    access_token: str
    refresh_token: str
    access_expires_at: int
    refresh_expires_at: int = 0
    open_id: str = ""
    seller_name: str = ""
    seller_base_region: str = ""
    user_type: int = 0
    granted_scopes: tuple[str, ...] = ()
    obtained_at: int = 0

    def expires_in(self, now: float) -> float:
        """Seconds for which the access token is good; 0 if it is not."""
        return max(0.0, self.access_expires_at - now)

    def __repr__(self) -> str:
        return f"TokenSet(open_id={self.open_id!r}, access_expires_at={self.access_expires_at})"


# Reading.

_ABSENT: Final = object()


def read(data: bytes | Mapping[str, Any], kind: type[T]) -> T:
    """JSON, or what was decoded from it, as a struct; within a :class:`Model`, what cannot be read counts as absent.

    Raises:
        msgspec.MsgspecError: It is no JSON, or not even roughly of this kind.
    """
    if isinstance(data, Mapping):
        return _read(data, kind)
    with suppress(*UNREADABLE):
        return _read(data, kind)
    # one text cut in the middle of an emoji must not cost the hundred orders around it
    if (mended := mended_json(data)) is None:
        raise msgspec.DecodeError("not JSON")
    return _read(mended, kind)


def _read(data: bytes | Mapping[str, Any], kind: type[T]) -> T:
    try:
        if not isinstance(data, Mapping):
            decoded: T = _decoder(cast("Any", kind)).decode(data)
            return decoded
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        # amounts must stay exact on this way too
        value = data if isinstance(data, Mapping) else _EXACT.decode(data)
        mended = _mended(value, kind)
        return msgspec.convert(value if mended is _ABSENT else mended, kind, strict=False)


_EXACT: Final = msgspec.json.Decoder(float_hook=Decimal)


@lru_cache(maxsize=64)
def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind, strict=False)


def _mended(value: Any, kind: Any) -> Any:
    """What of a decoded value can be read as ``kind``, or ``_ABSENT``."""
    arguments = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Struct):
        if not isinstance(value, Mapping):
            return _ABSENT
        found = {}
        for field in msgspec.structs.fields(kind):
            raw = value.get(field.encode_name, _ABSENT)
            part = _mended(raw, field.type)
            if part is _ABSENT and raw not in (_ABSENT, None) and not issubclass(kind, Model):
                # an answer whose very list is none must not pass for an empty one
                part = raw if get_origin(field.type) is tuple else part
            if part is not _ABSENT:
                found[field.encode_name] = part
        return found
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return [part for item in value if (part := _mended(item, arguments[0])) is not _ABSENT]
    if type(None) in arguments:
        return None if value is None else _mended(value, next(one for one in arguments if one is not type(None)))
    if kind is str and type(value) is int:
        return str(value)
    if kind is Decimal and isinstance(value, str):
        found_amount = amount_of(value)
        return _ABSENT if found_amount is None else found_amount
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return _ABSENT
