"""One event, three platforms.

Run it with ``python examples/01_quickstart.py``.

The sandbox plays the platforms on a local port. For real accounts drop it, leave ``base_url`` out (each platform's own
address is the default), and give your own ids and tokens.
"""

from __future__ import annotations

import asyncio

from capi_async import Client, Event, Item, Page, User
from capi_async.destinations import Meta, Pinterest, Snap
from capi_async.sandbox import Sandbox


async def main() -> None:
    async with Sandbox() as sandbox:
        destinations = [
            Snap(
                pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100",
                access_token="sandbox-token",
                base_url=sandbox.url("snap"),
            ),
            Pinterest(ad_account_id="549700000001", access_token="sandbox-token", base_url=sandbox.url("pinterest")),
            Meta(pixel_id="100000000000001", access_token="sandbox-token", base_url=sandbox.url("meta")),
        ]
        # In a long-running application open one client at the start and share it: it collects what many requests
        # send into batches. Leaving the block flushes.
        async with Client(destinations) as client:
            receipt = await client.send(
                Event(
                    "purchase",
                    # plain values: each platform's own normalisation and hashing is applied on the way out
                    user=User(
                        email="Ada.Lovelace@shop.example",
                        phone="+44 7700 900123",
                        ip="203.0.113.7",  # the visitor's, never your server's
                        user_agent="Mozilla/5.0 (X11; Linux x86_64)",
                    ),
                    value="72.39",  # text or Decimal keeps cents exact
                    currency="GBP",
                    order_id="1001",  # makes the event_id "purchase:1001", so that sending it again counts once
                    items=[Item(id="mug-blue", quantity=3, price="24.13")],
                    page=Page(url="https://shop.example/thanks?order=1001"),
                )
            )
            # send() returned: the event is accepted. Waiting for the platforms' answers is optional.
            for name, outcome in (await receipt.outcomes(timeout_s=10)).items():
                print(f"{name:10} {outcome.kind} {outcome.reason}".rstrip())


if __name__ == "__main__":
    asyncio.run(main())
