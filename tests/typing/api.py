"""Uses the public names as a user would; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from capi_async import Client, Consent, Event, Hashed, Item, Outcome, Page, Receipt, SyncClient, User
from capi_async.destinations import CutMeShort, Meta, Pinterest, Snap, SnapV2, TikTok, TikTokPixel


async def token() -> str:
    return "t"


async def main() -> None:
    destinations = [
        Snap(pixel_id="p", access_token="t"),
        SnapV2(pixel_id="p", access_token=token),
        Pinterest(ad_account_id="1", access_token="t"),
        TikTok(pixel_code="C", access_token="t"),
        TikTokPixel(pixel_code="C", access_token="t"),
        CutMeShort(token="t"),
        Meta(pixel_id="1", access_token="t"),
    ]
    async with Client(destinations, overflow="fail", consent="require") as client:
        event = Event(
            "purchase",
            user=User(
                email=["a@b.example", Hashed("0" * 64)],
                phone="+14155552671",
                date_of_birth=[date(1997, 12, 26), "1998-01-02"],
                city=["Rome", Hashed("0" * 64, "city_joined")],
            ),
            value=12.5,
            predicted_ltv=Decimal(3),
            currency="USD",
            time=datetime.now(UTC),
            page=Page(url="https://shop.example/"),
            items=[Item(id="1", price="2.50")],
            consent=Consent(ad_storage=True),
            to=("snap",),
        )
        receipt: Receipt = await client.send(event, timeout_s=1)
        outcomes: dict[str, Outcome] = await receipt.outcomes(timeout_s=1)
        assert outcomes["snap"].kind == "delivered"
        many: list[Receipt] = await client.send_many([event])
        client.enqueue(event)
        again: Mapping[str, int] = await client.replay(
            destination="snap", kind="dead", since=datetime.now(UTC), permitted=lambda event_id: bool(event_id)
        )
        assert many
        assert again


def script() -> None:
    with SyncClient.from_env() as client:
        client.send(Event("lead"))
