"""Snap Conversions API v2, the legacy dialect: flat events of texts, to Snap itself or to an advertiser's Launchpad.

Source: developers.snap.com (v2 pages), snap_business_sdk 1.0.0, Snap's Launchpad relay, read 2026-11.

Snap announced the end of v2 for 2025; whether it still takes traffic is not known, so :class:`Snap` (v3) is the one
to choose. Undocumented or contradictory, and chosen here:

- limited use: ``data_use`` as the list ``["lmu"]`` of an SDK's sample, though its type is text (``limited_use``);
- greatest age: 37 days, though older integrations say 28 (``max_age_s``);
- ``timestamp`` in milliseconds; birthday parts as two digits; the vendor id lower-cased before hashing;
- ``brands`` joined with ``;`` like ids and categories; ``att_status``, which no SDK has, is not sent;
- from where ``record_indexes`` count: what fits one reading only is taken at its word, else the batch is split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from msgspec.structs import force_setattr

from capi_async.destinations.base import ODD_PAGE, is_web
from capi_async.destinations.cart import amount_text
from capi_async.destinations.snap import followup as readback
from capi_async.destinations.snap.account import NO_ASSET, SnapAccount, lacking, plain, texts
from capi_async.destinations.snap.answers import (
    decode_v2,
    positions,
    speaks_of_token,
    unsuccessful,
    unsuccessful_raw,
)
from capi_async.destinations.snap.names import ACTION_SOURCES
from capi_async.destinations.snap.wire import SnapV2AnyEvent, SnapV2Event, SnapV2Head
from capi_async.errors import ConfigError
from capi_async.event import Event, Item
from capi_async.outcome import ACCEPTED, UNREADABLE, Response, Verdict, ambiguous, rejected, retry
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import DAY, Limits, Refusal, Request, decode_head, encode_head, json_slices

_SOUNDEX: Final = (
    "first_name_soundex", "middle_name_soundex", "last_name_soundex", "city_soundex", "state_soundex",
)  # fmt: skip
_IDENTIFIERS: Final = (
    "email", "phone_digits", "mobile_ad_id", "ip_hashed", "user_agent", "idfv_hashed", "first_name_plain",
    "middle_name_plain", "last_name_plain", "city_plain", "state_plain", "zip_plain", "dob_month", "dob_day",
    "page_url",
)  # fmt: skip


class SnapV2(SnapAccount, frozen=True, kw_only=True):
    """Snap Conversions API v2 (legacy).

    Attributes:
        pixel_id: Asset of web and offline events.
        access_token: Long-lived Conversions API token, or a callable for OAuth tokens; sent in a header.
        launchpad_url: Where your Launchpad, Snap's relay, is hosted; events then go there instead of to Snap.
            One in its log mode reads phone numbers from a key of its own, which is not sent.
        snap_app_id: Asset of app events; without it they are skipped.
        soundex: Send Soundex codes of names, city and state too. They are not hashes: each shows the first
            letter, so this is off unless asked for.
        partner: Sent as ``integration``; off by default.
        limited_use: ``data_use`` for people who opted out of the sale of their data: a list or one text.

    OAuth tokens are limited to 10 requests per second (20 per app): set ``requests_per_s`` for them.

    Raises:
        ConfigError: ``base_url`` and ``launchpad_url`` name two places, or what every account refuses.
    """

    type: ClassVar[str] = "snap_v2"
    wire: ClassVar[str] = "snap/2"
    default_base_url: ClassVar[str] = "https://tr.snapchat.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=2_000,
        max_batch_bytes=2_000_000,
        requests_per_s=1_000.0,
        burst=50.0,
        max_age_s=37 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = _IDENTIFIERS + _SOUNDEX
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pixel_id": ("SNAP_PIXEL_ID",),
        "access_token": ("SNAP_ACCESS_TOKEN",),
        "launchpad_url": ("SNAP_LAUNCHPAD_URL",),
        "snap_app_id": ("SNAP_APP_ID",),
    }
    dedup_key: ClassVar[str] = "client_dedup_id"
    # the documented ones that no canonical field fills; v2 has no place for others
    properties_at: ClassVar[str] = ""
    property_keys: ClassVar[frozenset[str]] = frozenset({"level", "event_tag"})
    of_the_account: ClassVar[frozenset[str]] = frozenset({"pixel_id", "snap_app_id"})
    documented: ClassVar = SnapV2AnyEvent
    docs: ClassVar[str] = "snap_business_sdk 1.0.0 and developers.snap.com (v2), read 2026-11"

    launchpad_url: str | None = None
    soundex: bool = False
    limited_use: str | Sequence[str] = ("lmu",)

    def __post_init__(self) -> None:
        if self.launchpad_url is not None:
            there = self.launchpad_url.strip().rstrip("/") if isinstance(self.launchpad_url, str) else ""
            if not there:
                raise ConfigError(f"{self.name or self.type}: launchpad_url is blank; leave it out to send to Snap")
            if self.base_url and self.base_url.rstrip("/") != there:
                raise ConfigError(f"{self.name or self.type}: give either base_url or launchpad_url")
            force_setattr(self, "launchpad_url", there)
            force_setattr(self, "base_url", there)
        super().__post_init__()
        tokens = self.limited_use
        listed = [tokens] if isinstance(tokens, str) else list(tokens or ())
        if not listed or not all(isinstance(token, str) and token.strip() for token in listed):
            raise ConfigError(f"{self.name}: limited_use needs a text or a list of texts")
        if not isinstance(tokens, str):
            force_setattr(self, "limited_use", tuple(tokens))

    def identifiers_of(self) -> tuple[str, ...]:
        # an account that sends no Soundex codes does not have them computed either
        return _IDENTIFIERS + _SOUNDEX if self.soundex else _IDENTIFIERS

    def readback_request(self, what: str, asset_id: str, token: str) -> Request:
        return readback.read_request_v2(self.base_url, what, asset_id, token, launchpad=bool(self.launchpad_url))

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        if self.assets[event.source] is None:
            return NO_ASSET
        return _TEST_HEAD if test else _LIVE_HEAD

    def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> SnapV2Event:
        source, url = ACTION_SOURCES[event.source], ids.page_url
        if url is not None and source != "WEB" and not is_web(url):
            url = None
            warnings.append(ODD_PAGE)
        click, items, consent, value, pieces = event.click, event.items, event.consent, event.value, event.num_items
        # by position and in the struct's order: this runs per event, and keywords cost more
        made = SnapV2Event(
            name,
            source,
            str(round(at * 1000)),
            event.event_id,
            url,
            event.order_id,
            ids.email[0] if ids.email else None,
            ids.phone_digits[0] if ids.phone_digits else None,
            ids.mobile_ad_id,
            ids.ip_hashed,
            ids.user_agent,
            ids.idfv_hashed,
            click.sc_cookie1,
            click.sc_click_id,
            ids.first_name_plain,
            ids.middle_name_plain,
            ids.last_name_plain,
            ids.city_plain,
            ids.state_plain,
            ids.zip_plain,
            ids.dob_month,
            ids.dob_day,
            None if value is None else amount_text(value),
            event.currency,
            event.content_category,
            None if pieces is None else str(pieces),
            event.description,
            event.search_string,
            event.method,
            self.partner,
        )
        if source == "MOBILE_APP":
            made.snap_app_id, made.app_id = self.snap_app_id, event.app.id if event.app else None
        else:
            made.pixel_id = self.pixel_id
        if items:
            _lay_items(made, items)
        if consent and consent.sale_opt_out:
            made.data_use = self.limited_use
        if self.soundex:
            _lay_soundex(made, ids)
        return made

    def lay_properties(self, body: dict[str, Any], event: Event, warnings: list[str]) -> Refusal | None:
        facts = plain({key: value for key, value in event.properties.items() if key in self.property_keys})
        if isinstance(facts, Refusal):
            return facts
        said = texts(facts)
        if isinstance(said, Refusal):
            return said
        body.update(said)
        return None

    def lacks(self, body: SnapV2Event, event: Event, warnings: list[str]) -> Refusal | None:
        return lacking(
            body.event_type, body.event_conversion_type, body.page_url, body.app_id, _NOT_ASKED, body.price,
            body.currency, body.hashed_email, body.hashed_phone_number, body.hashed_ip_address, body.user_agent,
            body.hashed_mobile_ad_id,
        )  # fmt: skip

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        path = "conversion/validate" if decode_head(head, SnapV2Head).test else "conversion"
        return Request(
            "POST",
            f"{self.base_url}/v2/{path}",
            {"Authorization": f"Bearer {token}", **_HEADERS},
            json_slices(b"[", bodies, b"]"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        try:
            answer = decode_v2(response.body)
        except UNREADABLE:
            return unsuccessful_raw(response, count)
        status = response.status
        of_events = False
        if status in (200, 400):
            reasons = answer.by_index()
            # a token refused once for each event is still the token
            of_events = bool(answer.errors) and len(reasons) < count
            if reasons and (of_events or not speaks_of_token(answer.words)):
                if verdicts := _named(reasons, count, stored=status == 200):
                    return verdicts
            elif status == 200 and not answer.errors:
                if answer.status == "SUCCESS":
                    return [ACCEPTED] * count
                if answer.status is None:
                    return [ambiguous("HTTP 200 without a status in its body")] * count
        return unsuccessful(response, count, answer.words, of_events=of_events)


_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


def _named(reasons: Mapping[int, str], count: int, *, stored: bool) -> list[Verdict] | None:
    """Verdicts where it is certain which events the answer names, else ``None``.

    That the neighbours of a refused event were stored is only plain with a 200; after a 400 they are sent
    once more, which their ``client_dedup_id`` absorbs.
    """
    places = positions(reasons, count)
    if places is None:
        return None
    other = ACCEPTED if stored else retry("another event of the request was refused", after_s=0.0)
    verdicts = [other] * count
    for index, reason in reasons.items():
        verdicts[places[index]] = rejected(reason)
    return verdicts


def _lay_items(made: SnapV2Event, items: Sequence[Item]) -> None:
    ids, categories, brands, total = [], [], [], 0
    for item in items:
        ids.append(item.id)
        total += item.quantity
        if item.category:
            categories.append(item.category)
        if item.brand:
            brands.append(item.brand)
    made.item_ids = ";".join(ids)
    if brands:
        made.brands = ";".join(dict.fromkeys(brands))
    if categories and made.item_category is None:
        made.item_category = ";".join(dict.fromkeys(categories))
    if made.number_items is None:
        made.number_items = str(total)


def _lay_soundex(made: SnapV2Event, ids: Identifiers) -> None:
    made.hashed_first_name_sdx = ids.first_name_soundex
    made.hashed_middle_name_sdx = ids.middle_name_soundex
    made.hashed_last_name_sdx = ids.last_name_soundex
    made.hashed_city_sdx = ids.city_soundex
    made.hashed_state_sdx = ids.state_soundex


_LIVE_HEAD: Final = encode_head(SnapV2Head(test=False))
_TEST_HEAD: Final = encode_head(SnapV2Head(test=True))
#: v2 does not ask for the device's system.
_NOT_ASKED: Final = True
