"""Orders, and what was taken back of them."""

from __future__ import annotations

from decimal import Decimal

from capi_async.early import ready
from capi_async.sources.tiktok_shop.models.base import Id, Model, Time


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


@ready
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


@ready
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


@ready
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
