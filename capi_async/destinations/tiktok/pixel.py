"""TikTok's legacy pixel endpoints (Events API 1.0), web events only.

Source: github.com/tiktok/tiktok-business-api-sdk (models of ``/pixel/track/`` and ``/pixel/batch/``), read 2026-11.
TikTok announced their end and still ships them; once they are switched off, code 41001 pauses this destination.
Undocumented and chosen here, each a setting: the greatest age (7 days) and bytes per request (1 MB). That a
second copy is known by its event id, as in 2.0, is taken over from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import ClassVar, Final

from capi_async.destinations import refusals
from capi_async.destinations.base import page_of
from capi_async.destinations.tiktok.account import CURRENCIES, WEB_IDENTITY, TikTokAccount, unlisted
from capi_async.destinations.tiktok.answers import read_answer
from capi_async.destinations.tiktok.names import PIXEL_EVENTS, PIXEL_NAMES, checked_name
from capi_async.destinations.tiktok.wire import (
    PixelAd,
    PixelAnyEvent,
    PixelContent,
    PixelContext,
    PixelEvent,
    PixelHead,
    PixelPage,
    PixelProperties,
    PixelRoot,
    PixelUser,
)
from capi_async.event import Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import DAY, ENCODER, Limits, Refusal, Request, decode_head, encode_head, json_slices

#: The place of ``status`` is UNVERIFIED (here or in each item): a free property stands here, and ``Event.extra`` can
#: say the items anew, with it in them.
PROPERTIES: Final = frozenset({"contents", "currency", "value", "description", "query", "status"})


class TikTokPixel(TikTokAccount, frozen=True, kw_only=True):
    """TikTok's legacy pixel endpoints, for accounts that depend on them; new ones take :class:`TikTok`.

    Events travel to ``/pixel/batch/``; a test event alone to ``/pixel/track/``, the only one known to take the code.

    Attributes:
        pixel_code: As in Events Manager.
        access_token: From Events Manager, or a callable for OAuth tokens; without ``Bearer``.
        test_event_code: From Events Manager, Test Events. Every event of this destination then carries it
            and stays out of the reports. Without one, events with ``test=True`` are skipped.
        partner_name: Only a name agreed with TikTok is taken; off by default.
        api_version: Part of every address.
    """

    type: ClassVar[str] = "tiktok_pixel"
    wire: ClassVar[str] = "tiktok_pixel/1"
    default_base_url: ClassVar[str] = "https://business-api.tiktok.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=50,
        max_batch_bytes=1_000_000,
        requests_per_s=500.0,
        burst=50.0,
        max_age_s=7 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email", "phone_e164", "external_id", "ip", "user_agent", "page_url", "page_referrer",
    )  # fmt: skip
    own_names: ClassVar[frozenset[str]] = PIXEL_EVENTS
    standard_names: ClassVar[Mapping[str, str | None]] = PIXEL_NAMES
    # limited data use has no field here, so an event that asks for it stays
    consents: ClassVar[tuple[str, ...]] = ("ad_storage", "ad_user_data", "ad_personalization", "sale_opt_out")
    property_keys: ClassVar[frozenset[str]] = PROPERTIES
    documented: ClassVar = PixelAnyEvent
    docs: ClassVar[str] = "github.com/tiktok/tiktok-business-api-sdk (pixel track and batch), read 2026-11"

    @cached_property
    def usual_names(self) -> Mapping[str, str]:
        return {name: there for name, there in self.names.items() if there in PIXEL_EVENTS}

    @cached_property
    def _live_head(self) -> bytes:
        return encode_head(PixelHead(self.pixel_code, self.partner_name))

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        return checked_name(self, event, PIXEL_EVENTS, warnings)

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        if event.source != "website":
            return _WEB_ONLY
        if not (test or self.test_event_code):
            return self._live_head
        # one of a kind: past the cache
        return ENCODER.encode(
            PixelHead(self.pixel_code, self.partner_name, self.test_event_code, f"{event.name}:{event.event_id}")
        )

    def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> PixelEvent | Refusal:
        try:
            timestamp = datetime.fromtimestamp(int(at), UTC)
        except (ValueError, OverflowError):  # the first or last hours of the calendar, in a far offset
            return Refusal("rejected", "time", "is no date in UTC", "check the event's time")
        if (currency := event.currency) is not None and currency not in CURRENCIES:
            warnings.append(unlisted(currency))
        click, url, referrer = event.click, page_of(ids.page_url, warnings), ids.page_referrer
        user = PixelUser(
            hashed[0] if (hashed := ids.external_id) else None,
            hashed[0] if (hashed := ids.email) else None,
            hashed[0] if (hashed := ids.phone_e164) else None,
            click.ttp,
        )
        return PixelEvent(
            name,
            event.event_id,
            timestamp,
            PixelContext(
                PixelAd(click.ttclid) if click.ttclid else None,
                PixelPage(url, referrer) if url or referrer else None,
                user if user != _NO_USER else None,
                ids.user_agent,
                ids.ip,
            ),
            _properties(event),
            None if event.test or self.test or self.test_event_code else "track",
        )

    def lacks(self, body: PixelEvent, event: Event, warnings: list[str]) -> Refusal | None:
        context = body.context
        user = context.user
        if (
            (user and (user.email or user.phone_number or user.external_id or user.ttp))
            or (context.ad and context.ad.callback)
            or (context.ip and context.user_agent)
        ):
            return None
        return _NOBODY

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        to = decode_head(head, PixelHead)
        root = ENCODER.encode(PixelRoot(to.pixel_code, to.partner_name or None, to.test_event_code))[:-1]
        if to.test_event_code:
            path, body = "track", json_slices(root + b",", [bodies[0][1:]], b"")
        else:
            path, body = "batch", json_slices(root + b',"batch":[', bodies, b"]}")
        return Request(
            "POST",
            # without the last slash TikTok finds no such address
            f"{self.base_url}/open_api/{self.api_version}/pixel/{path}/",
            {"Access-Token": token, "Content-Type": "application/json"},
            body,
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return read_answer(response, count, (self.pixel_code,))


_WEB_ONLY: Final = Refusal("skipped", "source", "these endpoints take web events only", "use destination type 'tiktok'")
_NOBODY: Final = refusals.nobody(*WEB_IDENTITY)
_NO_USER: Final = PixelUser()
_NO_PROPERTIES: Final = PixelProperties()


def _properties(event: Event) -> PixelProperties | None:
    # required in each item; an item's id is a product's unless the caller says otherwise
    content_type = event.content_type or "product"
    data = PixelProperties(
        [
            PixelContent(
                item.id,
                content_type,
                item.quantity,
                item.price,  # type: ignore[arg-type]  # a made item holds Decimals
                item.name or None,
                item.category or None,
                item.brand or None,
            )
            for item in event.items
        ]
        if event.items
        else None,
        event.currency,
        event.value,  # type: ignore[arg-type]  # as above
        event.description,
        event.search_string,
    )
    return None if data == _NO_PROPERTIES else data
