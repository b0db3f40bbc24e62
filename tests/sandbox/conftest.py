"""A started sandbox on a hand-driven clock, a client for it, and one good request per platform."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from yarl import URL

from capi_async.sandbox import Sandbox
from capi_async.testing import ManualClock
from tests.sandbox.shop import Caller

NOW = 1_790_000_000
PIXEL = "11111111-2222-3333-4444-555555555555"
TOKEN = "sandbox-token"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


EMAIL = digest("jane@example.com")


def new_clock() -> ManualClock:
    """A clock that begins where the sandbox's events were made."""
    return ManualClock(float(NOW), wall=float(NOW))


class Platform:
    """How to send one platform something good, and how to spoil it."""

    def __init__(
        self, name: str, path: str, event: dict[str, Any], wrap: Callable[[list[Any]], Any], headers: dict[str, str]
    ) -> None:
        self.name, self.path, self._event, self.wrap, self.headers = name, path, event, wrap, headers

    def event(self, **changes: Any) -> dict[str, Any]:
        """A good event with some fields replaced; a value of ``...`` removes the field, ``__`` steps into an object."""
        event = copy.deepcopy(self._event)
        for key, value in changes.items():
            *parents, last = key.split("__")
            target = event
            for parent in parents:
                target = target.setdefault(parent, {})
            if value is ...:
                del target[last]
            else:
                target[last] = value
        return event


_BEARER = {"Authorization": f"Bearer {TOKEN}"}

PLATFORMS = {
    it.name: it
    for it in (
        Platform(
            "snap",
            f"/v3/{PIXEL}/events?access_token={TOKEN}",
            {
                "event_name": "PURCHASE",
                "event_time": NOW,
                "event_id": "order-1",
                "action_source": "WEB",
                "event_source_url": "https://shop.example/thanks",
                "user_data": {"em": [EMAIL], "client_ip_address": "203.0.113.7", "client_user_agent": "UA"},
                "custom_data": {
                    "value": 10,
                    "currency": "USD",
                    "contents": [{"id": "1", "quantity": "1", "item_price": "10"}],
                },
            },
            lambda events: {"data": events},
            {},
        ),
        Platform(
            "snap_v2",
            "/v2/conversion",
            {
                "pixel_id": PIXEL,
                "event_type": "PURCHASE",
                "event_conversion_type": "WEB",
                "timestamp": str(NOW * 1000),
                "client_dedup_id": "order-1",
                "page_url": "https://shop.example/thanks",
                "hashed_email": EMAIL,
                "price": "10",
                "currency": "USD",
            },
            lambda events: events,
            _BEARER,
        ),
        Platform(
            "pinterest",
            "/ad_accounts/549755885175/events",
            {
                "event_name": "checkout",
                "action_source": "web",
                "event_time": NOW,
                "event_id": "order-1",
                "user_data": {"em": [EMAIL], "external_id": [digest("user-1")]},
                "custom_data": {
                    "value": "72.39",
                    "currency": "USD",
                    "contents": [{"id": "1", "item_price": "72.39", "quantity": 1}],
                },
            },
            lambda events: {"data": events},
            _BEARER,
        ),
        Platform(
            "tiktok",
            "/open_api/v1.3/event/track/",
            {
                "event": "Purchase",
                "event_time": NOW,
                "event_id": "order-1",
                "user": {"email": [EMAIL], "ip": "2001:db8::10", "user_agent": "UA"},
                "page": {"url": "https://shop.example/thanks"},
                "properties": {
                    "value": 72.39,
                    "currency": "USD",
                    "contents": [
                        {"content_id": "1", "price": 72, "quantity": 1},
                        {"content_id": "2", "price": 0.39, "quantity": 1},
                    ],
                },
            },
            lambda events: {"event_source": "web", "event_source_id": "CEXAMPLE0000000000AA", "data": events},
            {"Access-Token": TOKEN},
        ),
        Platform(
            "tiktok_pixel",
            "/open_api/v1.3/pixel/batch/",
            {
                "type": "track",
                "event": "CompletePayment",
                "event_id": "order-1",
                "timestamp": "2026-09-21T14:13:20Z",
                "context": {"user": {"email": EMAIL}, "ip": "203.0.113.9", "user_agent": "UA"},
                "properties": {"value": 1.5, "currency": "USD", "contents": [{"content_id": "1", "price": 1.5}]},
            },
            lambda events: {"pixel_code": "CEXAMPLE0000000000AA", "batch": events},
            {"Access-Token": TOKEN},
        ),
        Platform(
            "cutmeshort",
            "/track/sale",
            {
                "clickId": "id_1",
                "eventName": "purchase_completed",
                "customerExternalId": "user_1",
                "invoiceId": "order-1",
                "amount": 4999,
                "currency": "USD",
                "timestamp": "2026-09-21T14:13:20.000Z",
            },
            lambda events: events[0],
            _BEARER,
        ),
        Platform(
            "ga4",
            f"/mp/collect?measurement_id=G-SANDBOX001&api_secret={TOKEN}",
            {
                "name": "purchase",
                "timestamp_micros": NOW * 1_000_000,
                "params": {"transaction_id": "order-1", "value": 10, "currency": "USD", "items": [{"item_id": "1"}]},
            },
            lambda events: {"client_id": "1234567890.1687654321", "events": events},
            {},
        ),
        Platform(
            "meta",
            "/v26.0/1234567890/events",
            {
                "event_name": "Purchase",
                "event_time": NOW,
                "event_id": "order-1",
                "action_source": "website",
                "event_source_url": "https://shop.example/thanks",
                "user_data": {"em": [EMAIL], "fbc": "fb.1.1768471200123.IwAR1aBcD"},
                "custom_data": {
                    "value": 99.9,
                    "currency": "usd",
                    "contents": [{"id": "1", "quantity": 2, "item_price": 49.95}],
                    "colour": "red",
                },
            },
            lambda events: {"data": events},
            _BEARER,
        ),
        Platform(
            "google_ads",
            "/events:ingest",
            {
                "destinationReferences": ["purchase"],
                "transactionId": "order-1",
                "eventTimestamp": "2026-09-21T14:13:20Z",
                "eventSource": "WEB",
                "conversionValue": 99.9,
                "currency": "USD",
                "userData": {"userIdentifiers": [{"emailAddress": EMAIL}]},
                "adIdentifiers": {"gclid": "Cj0KCQiA-example"},
                "cartData": {"items": [{"merchantProductId": "1", "quantity": "2", "unitPrice": 49.95}]},
            },
            lambda events: {
                "destinations": [
                    {
                        "reference": "purchase",
                        "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
                        "productDestinationId": "987654321",
                    }
                ],
                "events": events,
                "encoding": "HEX",
            },
            _BEARER,
        ),
        Platform(
            "reddit",
            "/pixels/t2_abc123/conversion_events",
            {
                "event_at": NOW * 1000,
                "action_source": "WEBSITE",
                "event_source_url": "https://shop.example/thanks",
                "type": {"tracking_type": "PURCHASE"},
                "user": {"email": EMAIL, "ip_address": "192.0.2.10", "user_agent": "UA"},
                "metadata": {
                    "conversion_id": "order-1",
                    "value": 99.9,
                    "currency": "USD",
                    "item_count": 2,
                    "products": [{"id": "SKU-1", "name": "Lamp", "item_price": 49.95, "quantity": 2}],
                },
            },
            lambda events: {"data": {"events": events}},
            _BEARER,
        ),
        Platform(
            "linkedin",
            "/conversionEvents",
            {
                "conversion": "urn:lla:llaPartnerConversion:104012",
                "conversionHappenedAt": NOW * 1000,
                "conversionValue": {"currencyCode": "USD", "amount": "99.90"},
                "eventId": "order-1",
                "user": {
                    "userIds": [{"idType": "SHA256_EMAIL", "idValue": EMAIL}],
                    "userInfo": {"firstName": "Anna", "lastName": "Berg", "countryCode": "SE"},
                },
            },
            lambda events: {"elements": events},
            {
                **_BEARER,
                "LinkedIn-Version": "202608",
                "X-Restli-Protocol-Version": "2.0.0",
                "X-RestLi-Method": "BATCH_CREATE",
            },
        ),
    )
}


class Reply:
    """Status, headers and body of an answer."""

    def __init__(self, status: int, headers: Any, body: Any) -> None:
        self.status, self.headers, self.body = status, headers, body


class Sender:
    """Sends to a sandbox over HTTP."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session

    async def ask(self, method: str, url: str, **options: Any) -> Reply:
        url = url if url.startswith("http") else self.sandbox.base_url + url
        options.setdefault("allow_redirects", False)
        async with self.session.request(method, URL(url, encoded=True), **options) as response:
            text = await response.text()
            is_json = response.content_type == "application/json" and text
            return Reply(response.status, response.headers, json.loads(text) if is_json else text)

    async def send(
        self, platform: str, *events: Any, path: str | None = None, headers: Any = None, body: Any = None
    ) -> Reply:
        """POST events to a platform, in its frame and with the right token unless told otherwise."""
        it = PLATFORMS[platform]
        return await self.ask(
            "POST",
            self.sandbox.url(platform) + (it.path if path is None else path),
            json=it.wrap(list(events) or [it.event()]) if body is None else body,
            headers=it.headers if headers is None else headers,
        )


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def start(clock: ManualClock, session: aiohttp.ClientSession) -> AsyncIterator[Callable[..., Any]]:
    """Starts sandboxes with options; all of them end with the test."""
    started: list[Sandbox] = []

    async def start(**options: Any) -> Sender:
        sandbox = Sandbox(clock=clock, **options)
        await sandbox.start()
        started.append(sandbox)
        return Sender(sandbox, session)

    yield start
    for sandbox in started:
        await sandbox.aclose()


@pytest.fixture
async def sender(start: Callable[..., Any]) -> Sender:
    """A sandbox with its defaults."""
    return await start()


@pytest.fixture
async def caller(start: Callable[..., Any]) -> Caller:
    """Somebody who calls the TikTok Shop of a sandbox without a rate."""
    return Caller(await start(rates={"tiktok_shop": None}))


@pytest.fixture
def platforms() -> dict[str, Platform]:
    return PLATFORMS
