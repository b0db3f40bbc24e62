"""Two accounts at one platform: each order goes to the account of its country, a ledger tells them apart.

Run it with ``python examples/04_many_accounts.py``.
"""

from __future__ import annotations

import asyncio

from capi_async import Client, Event, Page, User
from capi_async.destinations import Pinterest, Snap
from capi_async.sandbox import Sandbox

ORDERS = [
    ("1001", "US", "49.00", "USD"),
    ("1002", "DE", "35.00", "EUR"),
    ("1003", "US", "12.50", "USD"),
    ("1004", "FR", "20.00", "EUR"),
]

#: Country to destinations. None means all of them, and an empty list none.
ROUTES = {"US": ["snap_us", "pinterest"], "DE": ["snap_de", "pinterest"]}


async def main() -> None:
    async with Sandbox() as sandbox:
        destinations = [
            # The name is what `to`, the outcomes and the ledger call an account. It has queue, batches, rate limit
            # and retries of its own, so a refused token for Germany changes nothing for the United States.
            Snap(
                name="snap_us",
                pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100",
                access_token="sandbox-token",
                base_url=sandbox.url("snap"),
            ),
            Snap(
                name="snap_de",
                pixel_id="1f1e1d1c-1b1a-4918-8716-151413121110",
                access_token="sandbox-token",
                base_url=sandbox.url("snap"),
            ),
            Pinterest(ad_account_id="549700000001", access_token="sandbox-token", base_url=sandbox.url("pinterest")),
        ]
        async with Client(destinations) as client:
            for order_id, country, total, currency in ORDERS:
                await client.send(
                    Event(
                        "purchase",
                        order_id=order_id,
                        value=total,
                        currency=currency,
                        user=User(email=f"customer{order_id}@shop.example", country=country),
                        page=Page(url="https://shop.example/thanks"),
                        to=ROUTES.get(country, ["pinterest"]),
                    )
                )
            await client.flush()
            for name, counts in client.ledger().items():
                # every account counts every event: what was not addressed to it is skipped there
                print(f"{name:10} delivered {counts.delivered}, skipped {counts.skipped}, of {counts.accepted}")
        for arrival in sandbox.arrivals("snap"):
            print(f"pixel {arrival.account[:8]} received {arrival.event['event_id']}")


if __name__ == "__main__":
    asyncio.run(main())
