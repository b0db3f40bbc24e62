"""The same client without an event loop: a plain script, a Celery task, a Django view.

Run it with ``python examples/02_script.py``.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from anyio.from_thread import start_blocking_portal

from capi_async import Event, Page, SyncClient, User
from capi_async.destinations import CutMeShort, TikTok
from capi_async.sandbox import Sandbox


@contextmanager
def local_sandbox() -> Generator[Sandbox, None, None]:
    """The sandbox on an event loop in a thread of its own; a script for real accounts has no need of this."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Sandbox()) as sandbox:
        yield sandbox


def main() -> None:
    with local_sandbox() as sandbox:
        destinations = [
            TikTok(pixel_code="CEXAMPLE0000000000AB", access_token="sandbox-token", base_url=sandbox.url("tiktok")),
            CutMeShort(token="sandbox-token", base_url=sandbox.url("cutmeshort")),
        ]
        with SyncClient(destinations) as client:
            receipts = [
                client.send(
                    Event(
                        "purchase",
                        user=User(email=f"customer{number}@shop.example", external_id=f"customer-{number}"),
                        value="19.90",
                        currency="EUR",
                        order_id=f"A-{number}",
                        page=Page(url="https://shop.example/thanks"),
                    )
                )
                for number in range(3)
            ]
            # Each send() returned as soon as its event was accepted; the three leave together.
            for receipt in receipts:
                outcomes = receipt.outcomes(timeout_s=10)
                print(receipt.event_id, {name: outcome.kind for name, outcome in outcomes.items()})


if __name__ == "__main__":
    main()
