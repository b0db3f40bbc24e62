"""The libraries that users send conversions with today, each as its documentation says.

Imports stand inside the classes: each process has one of them, from an environment without capi_async's dependencies.
Addresses are set by the library's own option where it has one; facebook-business has none, and gets its constant
replaced. Nothing else is touched.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from capi_async.bench.feed import Feed, Row

_SNAP_NAMES: Final = {"purchase": "PURCHASE", "add_to_cart": "ADD_CART"}
_META_NAMES: Final = {"purchase": "Purchase", "add_to_cart": "AddToCart"}
_PRODUCT_NAMES: Final = {"purchase": "Order Completed", "add_to_cart": "Product Added"}


class SnapSdk:
    """snap_business_sdk (Conversions API v2): hashes when an event is made; ``launchpad_url`` sets the address."""

    copies = 1

    def __init__(self, base: str, *, batch: int) -> None:
        self._base, self._batch, self._delivered = base, batch, 0

    def open(self) -> None:
        """Make the client."""
        from snap_business_sdk.public.conversion_api import ConversionApi
        from snap_business_sdk.public.conversion_event import ConversionEvent

        self._event = ConversionEvent
        self._api = ConversionApi(access_token="sink", launchpad_url=f"{self._base}/snap_v2")  # noqa: S106

    def _make(self, row: Row) -> Any:
        fields = {
            "email": row.email,
            "phone_number": row.phone,
            "first_name": row.first_name,
            "last_name": row.last_name,
            "city": row.city,
            "state": row.state,
            "zip": row.zip,
            "ip_address": row.ip,
            "user_agent": row.user_agent,
        }
        return self._event(
            pixel_id="11111111-2222-3333-4444-555555555555",
            event_type=_SNAP_NAMES.get(row.name, row.name.upper()),
            event_conversion_type="WEB",
            timestamp=str(round(row.time * 1_000)),
            client_dedup_id=row.order_id,
            transaction_id=row.order_id,
            page_url=row.url,
            price=row.value,
            currency=row.currency,
            item_ids=";".join([product for product, _, _ in row.items]),
            number_items=str(sum([quantity for _, _, quantity in row.items])),
            **{name: value for name, value in fields.items() if value is not None},
        )

    def send(self, feed: Feed, count: int) -> None:
        """One synchronous call per batch."""
        for rows in feed.batches(count, self._batch):
            answer = self._api.send_events_sync([self._make(row) for row in rows])
            if answer.status != "SUCCESS":
                raise SystemExit(f"void: {answer}")
            self._delivered += len(rows)

    def close(self) -> int:
        """What was answered with success."""
        return self._delivered


class _Meta:
    """What both forms of facebook-business share."""

    copies = 1

    def __init__(self, base: str, *, batch: int) -> None:
        self._base, self._batch, self._delivered = base, batch, 0

    def _load(self) -> None:
        from facebook_business.adobjects.serverside.action_source import ActionSource
        from facebook_business.adobjects.serverside.content import Content
        from facebook_business.adobjects.serverside.custom_data import CustomData
        from facebook_business.adobjects.serverside.event import Event
        from facebook_business.adobjects.serverside.user_data import UserData
        from facebook_business.api import FacebookAdsApi
        from facebook_business.session import FacebookSession

        FacebookSession.GRAPH = f"{self._base}/meta"  # the library has no setting for its address
        FacebookAdsApi.init(access_token="sink", crash_log=False)  # noqa: S106
        self._web = ActionSource.WEBSITE
        self._content, self._custom, self._user, self._event = Content, CustomData, UserData, Event

    def _make(self, row: Row) -> Any:
        fields = {
            "email": row.email,
            "phone": row.phone,
            "first_name": row.first_name,
            "last_name": row.last_name,
            "city": row.city,
            "state": row.state,
            "zip_code": row.zip,
            "country_code": row.country,
            "external_id": row.external_id,
            "client_ip_address": row.ip,
            "client_user_agent": row.user_agent,
        }
        return self._event(
            event_name=_META_NAMES.get(row.name, row.name),
            event_time=int(row.time),
            event_id=row.order_id,
            action_source=self._web,
            event_source_url=row.url,
            user_data=self._user(**{name: value for name, value in fields.items() if value is not None}),
            custom_data=self._custom(
                value=float(row.value),
                currency=row.currency,
                order_id=row.order_id,
                contents=[
                    self._content(product_id=product, quantity=quantity, item_price=float(price))
                    for product, price, quantity in row.items
                ],
            ),
        )

    def _count(self, answer: Any, size: int) -> None:
        if answer.events_received != size:
            raise SystemExit(f"void: {answer.events_received} of {size} received")
        self._delivered += size


class MetaSdk(_Meta):
    """facebook-business, ``EventRequest``."""

    def open(self) -> None:
        """Load the library."""
        from facebook_business.adobjects.serverside.event_request import EventRequest

        self._load()
        self._request = EventRequest

    def send(self, feed: Feed, count: int) -> None:
        """One synchronous request per batch."""
        for rows in feed.batches(count, self._batch):
            self.post(rows)

    def post(self, rows: list[Row]) -> None:
        """One request."""
        answer = self._request(pixel_id="1234567890", events=[self._make(row) for row in rows]).execute()
        self._count(answer, len(rows))

    def close(self) -> int:
        """What was answered as received."""
        return self._delivered


class MetaAsyncSdk(_Meta):
    """facebook-business, ``EventRequestAsync``."""

    async def open(self) -> None:
        """Load the library."""
        from facebook_business.adobjects.serverside.event_request_async import EventRequestAsync

        self._load()
        self._request = EventRequestAsync

    async def send(self, feed: Feed, count: int) -> None:
        """One request after the other."""
        for rows in feed.batches(count, self._batch):
            request = self._request(pixel_id="1234567890", events=[self._make(row) for row in rows])
            self._count(await request.execute(), len(rows))

    async def close(self) -> int:
        """What was answered as received."""
        return self._delivered


def _traits(row: Row) -> dict[str, Any]:
    fields = {
        "email": row.email,
        "phone": row.phone,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "city": row.city,
        "state": row.state,
        "zip": row.zip,
        "country": row.country,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _order(row: Row) -> dict[str, Any]:
    return {
        "order_id": row.order_id,
        "value": float(row.value),
        "currency": row.currency,
        "products": [
            {"product_id": product, "price": float(price), "quantity": quantity}
            for product, price, quantity in row.items
        ],
    }


class _Queued:
    """A library with a queue and a thread of its own: refusals to queue and failed uploads void the run."""

    copies = 1

    def __init__(self, base: str, *, batch: int) -> None:
        self._base, self._batch = base, batch
        self._handed = self._failed = 0

    def on_error(self, _error: Exception, batch: Any = ()) -> None:
        """What the library calls when an upload failed."""
        self._failed += max(1, len(batch))

    def flush(self) -> None:
        """Wait for the library's thread."""
        self.client.flush()

    def close(self) -> int:
        """All that was queued, less what failed; the library keeps no count of its own."""
        self.client.shutdown()
        return self.delivered

    @property
    def delivered(self) -> int:
        """All that was queued so far, less what failed."""
        return self._handed - self._failed

    client: Any


class Segment(_Queued):
    """segment-analytics-python: identifiers travel in clear in ``context.traits``, nothing is hashed."""

    def open(self) -> None:
        """A queue that holds a run (the default of 10,000 would drop events), and requests as large as allowed."""
        from segment.analytics.client import Client

        self.client = Client(
            "sink",
            host=f"{self._base}/segment",
            max_queue_size=1_000_000,
            upload_size=self._batch,
            on_error=self.on_error,
        )

    def send(self, feed: Feed, count: int) -> None:
        """Track all, then wait for the thread."""
        for row in feed.rows(count):
            self.hand_in(row)
        self.flush()

    def hand_in(self, row: Row) -> None:
        """Track one event."""
        queued, _ = self.client.track(
            row.external_id or row.email,
            _PRODUCT_NAMES.get(row.name, row.name),
            _order(row),
            context={"traits": _traits(row), "page": {"url": row.url}, "ip": row.ip, "userAgent": row.user_agent},
            timestamp=datetime.fromtimestamp(row.time, UTC),
            message_id=row.order_id,
        )
        if not queued:
            raise SystemExit("void: the queue was full")
        self._handed += 1


class PostHog(_Queued):
    """posthog: identifiers travel in clear in ``$set``, nothing is hashed."""

    def open(self) -> None:
        """A queue that holds a run, and larger requests than the default's 100 events."""
        from posthog import Posthog

        self.client = Posthog(
            "sink",
            host=f"{self._base}/posthog",
            max_queue_size=1_000_000,
            flush_at=self._batch,
            on_error=self.on_error,
        )

    def send(self, feed: Feed, count: int) -> None:
        """Capture all, then wait for the thread."""
        for row in feed.rows(count):
            self.hand_in(row)
        self.flush()

    def hand_in(self, row: Row) -> None:
        """Capture one event."""
        properties = _order(row)
        properties["$set"] = _traits(row)
        properties["$current_url"] = row.url
        taken = self.client.capture(
            _PRODUCT_NAMES.get(row.name, row.name),
            distinct_id=row.external_id or row.email,
            properties=properties,
            timestamp=datetime.fromtimestamp(row.time, UTC),
        )
        if taken is None:
            raise SystemExit("void: the queue was full")
        self._handed += 1
