"""TikTok Shop on a bad day: pages by position, parts of the API that are out, orders told oddly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from capi_async.sandbox.platforms.tiktok_shop import Order
from capi_async.sandbox.platforms.tiktok_shop.oddities import ODDITIES, OUTAGES
from capi_async.sources.tiktok_shop import TikTokShopAPIError
from capi_async.sources.tiktok_shop.orders import order_to_event, purchase_verdict
from tests.sandbox.test_tiktok_shop_admin import BASE
from tests.sources.connected import connected


@pytest.mark.parametrize("by_position", [False, True])
async def test_a_page_by_position_loses_what_moves_and_one_by_key_does_not(by_position: bool) -> None:
    """The platform does not say which its tokens are; a client has to live with either."""
    async with connected(readings=("pages_by_position",) if by_position else ()) as ends:
        placed = [ends.platform.place_order("US", paid=True) for _ in range(6)]
        for number, order in enumerate(placed):
            order.raw["update_time"] = 2_000_000_000 + number
        asked: dict[str, Any] = {
            "page_size": 3, "sort_field": "update_time", "sort_order": "ASC", "update_time_ge": 2_000_000_000,
        }  # fmt: skip
        first = await ends.shop.get_orders(**asked)
        placed[0].raw["update_time"] = 2_000_000_099
        second = await ends.shop.get_orders(**asked, page_token=first.next_page_token)
        seen = {order.id for order in [*first, *second]}
        assert (placed[3].id in seen) is not by_position
        assert first.total == 6


@pytest.mark.parametrize("part", ["search", "detail"])
@pytest.mark.parametrize("kind", OUTAGES)
async def test_a_part_of_the_api_goes_out_alone(kind: Any, part: Any) -> None:
    """And comes back."""
    async with connected() as ends:
        order = ends.platform.place_order("US", paid=True)

        async def found(what: str) -> bool:
            if what == "search":
                return order.id in {one.id for one in await ends.shop.get_orders(page_size=100)}
            return bool(await ends.shop.get_orders_by_id([order.id]))

        ends.platform.outage(part, kind)
        other = "detail" if part == "search" else "search"
        assert await found(other)
        if kind == "empty":
            assert not await found(part)
        else:
            with pytest.raises(TikTokShopAPIError):
                await found(part)
        ends.platform.clear_failures()
        assert await found(part)


@pytest.mark.parametrize("kind", ODDITIES)
async def test_an_order_told_oddly_is_read_with_its_neighbours(kind: Any) -> None:
    """Whichever way, what is needed of it is understood, or absent; the others are untouched."""
    async with connected() as ends:
        before, order, after = [ends.platform.place_order("US", paid=True, value="59.39") for _ in range(3)]
        order.make_odd(kind)
        ids = [before.id, order.id, after.id]
        found = {one.id: one for one in await ends.shop.get_orders_by_id(ids)}
        assert set(found) == set(ids)
        told = found[order.id]
        assert purchase_verdict(told) == ("counts", "")
        assert told.paid_time == order.raw["paid_time"]
        if kind in ("no_payment", "total_is_no_number"):
            assert told.payment.total_amount is None
        else:
            event = order_to_event(told, shop_id="1")
            assert str(event.value) == "59.39"
        listed = {one.id for one in await ends.shop.get_orders(page_size=100)}
        assert set(ids) <= listed


async def test_an_oddity_passes_after_so_many_readings() -> None:
    """Or when it is taken back."""
    async with connected() as ends:
        order = ends.platform.place_order("US", paid=True).make_odd("no_payment", readings=2)
        totals = [(await ends.shop.get_order(order.id)).payment.total_amount for _ in range(3)]
        assert [total is None for total in totals] == [True, True, False]
        order.make_odd("no_payment").make_odd(None)
        assert (await ends.shop.get_order(order.id)).payment.total_amount is not None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda platform, order: order.make_odd("purple"),
        lambda platform, order: platform.outage("kitchen"),
        lambda platform, order: platform.outage("search", "holiday"),
    ],
)
async def test_what_there_is_not_is_refused(wrong: Callable[[Any, Order], object]) -> None:
    """By naming what there is."""
    async with connected() as ends:
        order = ends.platform.place_order("US")
        with pytest.raises(ValueError, match="one of"):
            wrong(ends.platform, order)


async def test_bad_days_are_steered_from_outside(caller: Any) -> None:
    """For whoever runs in another process."""

    async def steer(path: str, body: Any, status: int) -> Any:
        reply = await caller.sender.ask("POST", f"{BASE}/{path}", json=body)
        assert reply.status == status, reply.body
        return reply.body

    order = caller.shop.place_order(paid=True)
    await steer(f"orders/{order.id}/odd", {"oddity": "milliseconds"}, 200)
    data = await caller.data("GET", "/order/202507/orders", ids=order.id)
    assert data["orders"][0]["paid_time"] == order.raw["paid_time"] * 1_000
    await steer("outages", {"part": "detail", "kind": "retired"}, 204)
    reply = await caller.ask("GET", "/order/202507/orders", ids=order.id)
    answer = reply.body if isinstance(reply.body, dict) else json.loads(reply.body)
    assert answer["code"] == 36009014
