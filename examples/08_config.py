"""Accounts and settings from ``capi.toml`` and the environment, nothing in the code.

Run it with ``python examples/08_config.py``.

Where variables are all you need, ``Client.from_env()`` does without a file: it opens every destination whose variables
are set, such as SNAP_PIXEL_ID and SNAP_ACCESS_TOKEN.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from capi_async import Client, ConfigError, Consent, Event, Page, User
from capi_async.sandbox import Sandbox

CONFIG = Path(__file__).with_name("capi.toml")


async def main() -> None:
    try:
        Client.from_config(CONFIG)
    except ConfigError as error:
        # raised before any I/O, so that a deployment fails at its start and not at the first conversion
        print(f"not yet: {error}")

    async with Sandbox() as sandbox:
        # what a deployment would set; values that are set already are left alone
        for name, value in {
            "PINTEREST_ACCESS_TOKEN": "sandbox-token",
            "PINTEREST_BASE_URL": sandbox.url("pinterest"),
            "SNAP_DE_ACCESS_TOKEN": "sandbox-token",
            "SNAP_BASE_URL": sandbox.url("snap"),
        }.items():
            os.environ.setdefault(name, value)

        # options given here win over the file's
        async with Client.from_config(CONFIG, linger_s=0) as client:
            print(client)
            receipt = await client.send(
                Event(
                    "newsletter",
                    user=User(email="ada@shop.example", phone="030 23125 000"),
                    page=Page(url="https://shop.example/newsletter"),
                    consent=Consent(ad_storage=True, ad_user_data=True),
                )
            )
            for name, outcome in (await receipt.outcomes(timeout_s=10)).items():
                print(f"{name:10} {outcome.kind} {outcome.reason}".rstrip())


if __name__ == "__main__":
    asyncio.run(main())
