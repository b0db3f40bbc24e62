"""Consent: stated with the event, withdrawn while it waits, and erasure on request.

Run it with ``python examples/10_consent.py``.
"""

from __future__ import annotations

import asyncio

from capi_async import Client, Consent, Event, Page, Receipt, User
from capi_async.destinations import Pinterest, Snap
from capi_async.sandbox import Sandbox

GRANTED = Consent(ad_storage=True, ad_user_data=True, ad_personalization=True)


def sign_up(email: str, consent: Consent | None) -> Event:
    return Event(
        "sign_up",
        user=User(email=email),
        consent=consent,
        page=Page(url="https://shop.example/welcome"),
    )


async def show(title: str, receipt: Receipt) -> None:
    print(title)
    for name, outcome in (await receipt.outcomes(timeout_s=10)).items():
        print(f"  {name:10} {outcome.kind} {outcome.reason}".rstrip())


async def main() -> None:
    async with Sandbox() as sandbox:
        destinations = [
            Snap(
                pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100",
                access_token="sandbox-token",
                base_url=sandbox.url("snap"),
            ),
            Pinterest(ad_account_id="549700000001", access_token="sandbox-token", base_url=sandbox.url("pinterest")),
        ]
        # "require": what says nothing about consent is not sent. The default, "vouch", leaves that to the caller.
        # The long linger only gives the example time to change its mind; 1 s is the default.
        async with Client(destinations, consent="require", linger_s=60) as client:
            silent = await client.send(sign_up("silent@shop.example", None))
            denied = await client.send(sign_up("denied@shop.example", Consent(ad_storage=False)))
            # A platform that has a switch for it gets the event with the switch set; one that has none does not get it.
            plain = await client.send(sign_up("plain@shop.example", Consent(ad_storage=True, ad_personalization=False)))
            kept = await client.send(sign_up("kept@shop.example", GRANTED))
            regretted = await client.send(sign_up("regretted@shop.example", GRANTED))
            erased = await client.send(sign_up("erased@shop.example", GRANTED))

            # These reach what still waits here. What a platform already has, only the platform can erase.
            print("withdrawn:", await client.withdraw(User(email="Regretted@shop.example")))
            print("forgotten:", await client.forget(User(email="erased@shop.example")))

            await client.flush()
            await show("nothing stated", silent)
            await show("ads denied", denied)
            await show("personalisation denied", plain)
            await show("granted", kept)
            await show("granted, then withdrawn", regretted)
            await show("granted, then erased", erased)


if __name__ == "__main__":
    asyncio.run(main())
