"""What a forwarder of orders can be told: which orders count, what of a buyer leaves, how often the shop is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Required, TypeAlias, TypedDict

from msgspec import Struct
from msgspec.structs import force_setattr

from capi_async.errors import ConfigError
from capi_async.event import Consent, Event
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.orders import CountsWhen, ItemId, Share, ValueOf, check_share

Enrich: TypeAlias = Callable[[Order, Event], Event | Awaitable[Event | None] | None]


class ForwarderOptions(TypedDict, total=False):
    """The settings as keyword arguments of a forwarder; :class:`ForwarderSettings` says what each means."""

    share: Required[Collection[Share]]
    counts_when: CountsWhen
    cash_on_delivery: bool
    item_id: ItemId
    value_of: ValueOf
    consent: Consent | None
    to: Sequence[str] | None
    test: bool
    enrich: Enrich | None
    enrich_timeout_s: float
    poll_every_s: float | None
    overlap_s: float
    lookback_s: float
    max_waiting: int


class ForwarderSettings(Struct, frozen=True, kw_only=True):
    """What a forwarder was told.

    Attributes:
        share: What of a buyer may leave, see :data:`~capi_async.sources.tiktok_shop.orders.Share`. There is no default:
            without an identifier most destinations can do nothing with an event and skip it, and with one the seller's
            permission is needed.
        counts_when: ``paid`` (default), or ``confirmed``: when the buyer can no longer cancel at no cost.
        cash_on_delivery: Count an order that is paid at the door when it is placed.
        item_id, value_of, consent, to, test: See :func:`~capi_async.sources.tiktok_shop.orders.order_to_event`.
        enrich: Called, plain or async, with order and event; returns the event to send, such as one with the e-mail
            address that your own records hold, or ``None`` to leave this order out. Its ``event_id`` is kept as it was.
            If it raises, hangs or returns anything else, that attempt has failed, and the order waits.
        enrich_timeout_s: Seconds that one call of an async ``enrich`` may take; then that attempt has failed.
        poll_every_s: Seconds between two polls; ``None`` turns them off, and a webhook that is lost is lost.
        overlap_s: Seconds that a poll looks back behind the one before: clocks differ, and updates appear late.
        lookback_s: How old, at this start, a payment may be to be forwarded, in seconds. A later start with a longer
            one goes back once more: what was left alone as too old is looked at again. Else it goes on where polling
            was.
        max_waiting: Orders of each shop that may wait; beyond it webhooks are answered with 503.

    Raises:
        ConfigError: A setting makes no sense.
    """

    share: Collection[Share]
    counts_when: CountsWhen = "paid"
    cash_on_delivery: bool = False
    item_id: ItemId = "sku_id"
    value_of: ValueOf = "total"
    consent: Consent | None = None
    to: Sequence[str] | None = None
    test: bool = False
    enrich: Enrich | None = None
    enrich_timeout_s: float = 10.0
    poll_every_s: float | None = 300.0
    overlap_s: float = 600.0
    lookback_s: float = 0.0
    max_waiting: int = 100_000

    def __post_init__(self) -> None:
        check_share(self.share)
        # what the caller does to a list of theirs later changes nothing here
        force_setattr(self, "share", frozenset(self.share))
        for name, choices, value in (
            ("counts_when", ("paid", "confirmed"), self.counts_when),
            ("item_id", ("sku_id", "product_id", "seller_sku"), self.item_id),
            ("value_of", ("total", "sub_total"), self.value_of),
        ):
            if value not in choices:
                raise ConfigError(f"forwarder: {name} is one of {', '.join(choices)}")
        if self.poll_every_s is not None and not self.poll_every_s > 0:
            raise ConfigError("forwarder: poll_every_s must be more than 0 seconds, or None")
        if not (self.overlap_s >= 0 and self.lookback_s >= 0 and self.max_waiting >= 1 and self.enrich_timeout_s > 0):
            raise ConfigError(
                "forwarder: overlap_s and lookback_s must be 0 or more, max_waiting at least 1, enrich_timeout_s more "
                "than 0"
            )

    def event_options(self) -> Mapping[str, Any]:
        """The arguments of :func:`~capi_async.sources.tiktok_shop.orders.order_to_event`."""
        return {
            "share": self.share, "item_id": self.item_id, "value_of": self.value_of,
            "consent": self.consent, "to": self.to, "test": self.test,
        }  # fmt: skip
