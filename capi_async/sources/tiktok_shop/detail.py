"""Reading orders' detail: which could be read, which the shop does not know, and whether it is the shop's fault.

An outage is never a verdict on an order. A call that is refused as a whole is divided until the orders that cannot be
read stand alone; if nothing at all can be read, the shop is in trouble, whatever the refusal is called: a version that
was retired, a scope that was withdrawn, a gateway's page, all come as "not found" or "bad input" too.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from capi_async.errors import CapiError
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopNotFoundError,
    TikTokShopServerError,
    TikTokShopValidationError,
)
from capi_async.sources.tiktok_shop.lane import OrderSource
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.state.base import Waiting

#: Calls that may fail, one after another and none having succeeded, before the shop is taken to be in trouble.
_MAX_FAILURES = 8
#: Another seller's order; no permission for it: said of the whole call, meant of one order.
_NOT_YOURS = frozenset((21008111, 10006402))


class Reading(Struct, kw_only=True):
    """What came of it.

    Attributes:
        found: Orders with their detail.
        unknown: Orders that the shop does not know: its answer listed others.
        unread: Orders that cannot be read, each with the reason, while others can.
        silent: Orders that an answer left out which listed no other either; it says nothing about them.
        trouble: Why the shop cannot be read at all.
        postponed: Orders that were not read on its account.
    """

    found: list[tuple[Waiting, Order]] = []
    unknown: list[Waiting] = []
    unread: list[tuple[Waiting, CapiError]] = []
    silent: list[Waiting] = []
    trouble: CapiError | None = None
    postponed: list[Waiting] = []


class DetailReader:
    """Reads the detail of one shop's orders."""

    def __init__(self, source: OrderSource) -> None:
        self._source = source
        #: An order that could be read: asked for again, it tells the shop's trouble from an order's.
        self._readable = ""

    async def read(self, waiting: Sequence[Waiting]) -> Reading:
        """Detail of up to 50 orders, in as few calls as it takes."""
        reading = Reading()
        parts = [list(waiting)]
        refused: list[tuple[Waiting, CapiError]] = []
        failures, well = 0, False
        while parts:
            part = parts.pop(0)
            try:
                listed = await self._ask([one.order_id for one in part])
            except CapiError as error:
                failures += 1
                reading.trouble = error
                if not _may_be_an_orders(error) or (failures >= _MAX_FAILURES and not well):
                    reading.postponed += part
                    break
                if len(part) == 1:
                    refused.append((part[0], error))
                else:
                    # by turns: while one half cannot be read, the other may tell that the shop is well
                    half = len(part) // 2
                    parts += [part[:half], part[half:]]
                continue
            answers = {order.id: order for order in listed}
            mine = [one for one in part if one.order_id in answers]
            reading.found += [(one, answers[one.order_id]) for one in mine]
            missing = [one for one in part if one.order_id not in answers]
            if mine:
                well = True
                self._readable = mine[0].order_id
                reading.unknown += missing
            elif missing:
                reading.silent += missing
        reading.postponed += [one for part in parts for one in part]
        return await self._judged(reading, refused, well=well)

    async def _judged(self, reading: Reading, refused: list[tuple[Waiting, CapiError]], *, well: bool) -> Reading:
        """Whose fault it is."""
        if not well and (refused or reading.silent) and not reading.postponed:
            well = await self._is_well([one.order_id for one in reading.silent])
        if not well:
            reading.postponed += [one for one, _ in refused]
            return reading
        for one, error in refused:
            if isinstance(error, TikTokShopServerError):
                reading.unread.append((one, error))
            else:
                reading.unknown.append(one)
        reading.unknown += reading.silent
        reading.silent = []
        if not reading.postponed:
            reading.trouble = None
        return reading

    async def _is_well(self, others: Sequence[str]) -> bool:
        """Whether an order that could be read before can be read now, in one answer with these."""
        known = self._readable
        if not known or known in others:
            return False
        try:
            listed = await self._ask([*others[:49], known])
        except CapiError:
            return False
        return any(order.id == known for order in listed)

    async def _ask(self, order_ids: Sequence[str]) -> Sequence[Order]:
        return await self._source.get_orders_by_id(order_ids)


def _may_be_an_orders(error: CapiError) -> bool:
    """Whether one order of several may be what this is about; nobody says which."""
    if isinstance(error, TikTokShopAuthError):
        return error.code in _NOT_YOURS
    return isinstance(error, TikTokShopNotFoundError | TikTokShopValidationError | TikTokShopServerError)


def words_of(error: CapiError) -> str:
    """The error in words that hold nothing of the request; of the platform's words, what it redacts."""
    return str(error) if isinstance(error, TikTokShopAPIError) else type(error).__name__
