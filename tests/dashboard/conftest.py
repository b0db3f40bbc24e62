"""A client whose platforms are played by a sandbox, and its page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from capi_async import Client, Event, Page, User
from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import LOCAL, Access
from capi_async.dashboard.client_source import ClientSource
from capi_async.dashboard.site import Dashboard
from capi_async.destinations import Meta, Snap
from capi_async.sandbox import Sandbox
from tests.dashboard.asking import Browser

EMAIL, PHONE, IP, AGENT = "jane.doe@example.com", "+14155550123", "203.0.113.7", "Mozilla/5.0 (Jane's own)"
TOKEN = "sandbox-token"


def purchase(order_id: str = "1001", **changes: Any) -> Event:
    """An event that every platform of these tests takes."""
    given = {
        "order_id": order_id, "value": "72.39", "currency": "EUR",
        "user": User(email=EMAIL, phone=PHONE, ip=IP, user_agent=AGENT, external_id="customer-77"),
        "page": Page(url="https://shop.example/thanks?session=very-private"),
    }  # fmt: skip
    return Event("purchase", **(given | changes))


def accounts(sandbox: Sandbox) -> list[Any]:
    return [
        Meta(pixel_id="1000000000000001", access_token=TOKEN, base_url=sandbox.url("meta")),
        Snap(
            pixel_id="00000000-0000-4000-8000-000000000001", access_token=TOKEN, base_url=sandbox.url("snap")
        ),
    ]  # fmt: skip


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as it:
        yield it


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    async with Client(accounts(sandbox), linger_s=0) as it:
        yield it


@pytest.fixture
def browser(client: Client) -> Browser:
    return Browser(site_of(client))


def site_of(client: Client, *, token: str | None = None) -> Dashboard:
    """The page of a client, as on this machine's own address."""
    access = Access(token, hosts=LOCAL, clock=SYSTEM_CLOCK)
    return Dashboard(ClientSource(client, 500), access, durable=client.durable)


async def until(true: Callable[[], bool]) -> None:
    """Return once it is; the deadline only bounds what hangs."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for is not ours to signal
            await asyncio.sleep(0.01)
