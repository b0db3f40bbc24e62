"""Fields that one platform alone takes, by name and type: ``Event(..., meta=MetaFields(lead_id=...))``.

What several platforms share stands in :mod:`capi_async.event`; what nobody foresaw goes through ``Event.extra``, which
wins over the fields here. A platform's own ids are never hashed: they are the platform's, and mean nothing elsewhere.
They identify a person all the same, so that the reprs name fields and not values. Which place each has on the wire, the
destination says in its ``own_fields``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import force_setattr

from capi_async.amounts import Amount, amount
from capi_async.errors import EventError
from capi_async.event_checks import TOO_LARGE, kind_of, require_aware, require_one_of, require_text, shown_fields
from capi_async.plain import listed, plain_integer, plain_text

MessagingChannel: TypeAlias = Literal["whatsapp", "messenger", "instagram"]
CustomerSegmentation: TypeAlias = Literal[
    "new_customer_to_business", "new_customer_to_business_line", "new_customer_to_product_area",
    "new_customer_to_medium", "existing_customer_to_business", "existing_customer_to_business_line",
    "existing_customer_to_product_area", "existing_customer_to_medium", "customer_in_loyalty_program",
]  # fmt: skip
CustomerType: TypeAlias = Literal["new", "returning"]
NetworkType: TypeAlias = Literal[
    "wifi", "cellular_2g", "cellular_3g", "cellular_4g", "cellular_5g", "cellular_6g", "ethernet", "unknown"
]
FormFactor: TypeAlias = Literal[
    "desktop", "laptop", "cellphone", "tablet", "smartwatch", "tv", "vr", "console", "other"
]
Mode: TypeAlias = Literal["deferred"]

#: Entries of a list such as ``url_schemes``.
_MAX_LIST: Final = 100
_MAX_ID: Final = 2**63 - 1
_DIGITS: Final = re.compile(r"[0-9]{1,19}").fullmatch
_URN: Final = re.compile(r"urn:li:[A-Za-z]{1,60}:[!-~]{1,400}").fullmatch
_ADDRESS: Final = re.compile(r"https?://\S{1,2040}", re.ASCII).fullmatch


class PlatformFields(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """What the structs below share: how their values are checked, and that their reprs hold none.

    Raises:
        EventError: A value of the wrong type or form; ``field`` names it.
    """

    #: The field of the event that holds it.
    where: ClassVar[str] = ""
    #: Fields that are whole numbers, which may be given as text of digits.
    whole: ClassVar[Mapping[str, int]] = {}
    #: Fields with a choice of texts.
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: Fields that are true or false.
    flags: ClassVar[tuple[str, ...]] = ()
    #: Fields that are lists of texts.
    lists: ClassVar[tuple[str, ...]] = ()
    #: Fields that are checked by the struct itself.
    others: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        apart = {*self.whole, *self.choices, *self.flags, *self.lists, *self.others}
        texts = [name for name in self.__struct_fields__ if name not in apart]
        require_text(self, f"{self.where}.", texts)
        for name in texts:
            text = getattr(self, name)
            if text is not None and text != text.strip():
                force_setattr(self, name, text.strip())
            if text is not None and not text.strip():
                force_setattr(self, name, None)
        for name, most in self.whole.items():
            self._check_whole(name, most)
        for name, known in self.choices.items():
            require_one_of(self, f"{self.where}.", name, (None, *known), f"needs one of {', '.join(known)}")
        for name in self.flags:
            if getattr(self, name) is not None and type(getattr(self, name)) is not bool:
                raise EventError(f"{self.where}.{name}", "needs True, False or None")
        for name in self.lists:
            self._check_list(name)

    def _check_whole(self, name: str, most: int) -> None:
        value: Any = getattr(self, name)
        if value is None:
            return
        text = plain_text(value)
        number: Any = plain_integer(value) if text is None else int(text) if _DIGITS(text.strip()) else None
        if type(number) is not int or not 0 <= number <= most:
            raise EventError(f"{self.where}.{name}", f"needs a whole number from 0 to {most}")
        force_setattr(self, name, number)

    def _check_list(self, name: str) -> None:
        values: Any = getattr(self, name)
        if values is None:
            return
        field = f"{self.where}.{name}"
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or len(values) > _MAX_LIST:
            raise EventError(field, f"needs a list of at most {_MAX_LIST} texts")
        texts = list(map(plain_text, values))
        if not all(texts):
            raise EventError(field, "needs a list of texts that are not empty")
        if sum(len(text) for text in texts if text) > _MAX_LIST * 1_024:
            raise EventError(field, TOO_LARGE)
        force_setattr(self, name, tuple(texts))

    def __repr__(self) -> str:
        return shown_fields(self)


class OriginalEvent(PlatformFields, frozen=True, kw_only=True):
    """The event that a later one refines, as it was sent to Meta.

    Attributes:
        name: Meta's name of it, such as ``Purchase``.
        time: When it happened, aware.
        order_id, event_id: As they were sent.
    """

    where: ClassVar[str] = "meta.original_event"
    others: ClassVar[tuple[str, ...]] = ("time",)

    name: str | None = None
    time: datetime | None = None
    order_id: str | None = None
    event_id: str | None = None

    def __post_init__(self) -> None:
        PlatformFields.__post_init__(self)
        if self.time is not None:
            require_aware(self, "meta.original_event.", "time")


#: What an attribution may say. Source: Meta's Business SDK for Python, ``attribution_data.py``, read 2026-11.
ATTRIBUTION_KEYS: Final = frozenset(
    {
        "scope", "visit_time", "ad_id", "adset_id", "campaign_id", "attribution_share", "attribution_model",
        "attr_window", "attribution_value", "attribution_source", "touchpoint_type", "touchpoint_ts",
        "attribution_method", "decline_reason", "auditing_token", "linkage_key", "touchpoint_id",
        "attribution_setting", "total_credit", "partner_client_id",
    }
)  # fmt: skip


class MetaFields(PlatformFields, frozen=True, kw_only=True):
    """What Meta alone takes. Source: .../conversions-api/parameters, and Meta's Business SDK, read 2026-11.

    Attributes:
        lead_id: Of a lead ad, 15 to 17 digits. Identifies the person.
        fb_login_id: App-scoped id of Facebook Login. Identifies the person.
        ctwa_clid, whatsapp_business_account_id: Click to WhatsApp; they belong together.
        page_id, page_scoped_user_id: Messenger.
        ig_account_id, ig_sid: Instagram messaging.
        messaging_channel: Of an event whose source is ``business_messaging``, where Meta requires it.
        original_event: The event that this one refines.
        attribution_data: For partners that attribute: :data:`ATTRIBUTION_KEYS` to plain values.
        customer_segmentation: What kind of customer it is.
        net_revenue: In major units of the event's currency.
        campaign_ids, installer_package, url_schemes, windows_attribution_id: Of app events.
    """

    where: ClassVar[str] = "meta"
    whole: ClassVar[Mapping[str, int]] = {"lead_id": _MAX_ID, "fb_login_id": _MAX_ID}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "messaging_channel": get_args(MessagingChannel),
        "customer_segmentation": get_args(CustomerSegmentation),
    }
    lists: ClassVar[tuple[str, ...]] = ("url_schemes",)
    others: ClassVar[tuple[str, ...]] = ("original_event", "attribution_data", "net_revenue")

    lead_id: int | str | None = None
    fb_login_id: int | str | None = None
    ctwa_clid: str | None = None
    whatsapp_business_account_id: str | None = None
    page_id: str | None = None
    page_scoped_user_id: str | None = None
    ig_account_id: str | None = None
    ig_sid: str | None = None
    messaging_channel: MessagingChannel | None = None
    original_event: OriginalEvent | None = None
    attribution_data: Mapping[str, Any] | None = None
    customer_segmentation: CustomerSegmentation | None = None
    net_revenue: Amount | None = None
    campaign_ids: str | None = None
    installer_package: str | None = None
    url_schemes: Sequence[str] | None = None
    windows_attribution_id: str | None = None

    def __post_init__(self) -> None:
        PlatformFields.__post_init__(self)
        if self.net_revenue is not None:
            force_setattr(self, "net_revenue", amount(self.net_revenue, "meta.net_revenue"))
        if self.original_event is not None and type(self.original_event) is not OriginalEvent:
            raise EventError("meta.original_event", f"needs OriginalEvent(...), got {kind_of(self.original_event)}")
        data: Any = self.attribution_data
        if data is None:
            return
        if not isinstance(data, Mapping):
            raise EventError("meta.attribution_data", f"needs a mapping, got {kind_of(data)}")
        if unknown := [key for key in data if key not in ATTRIBUTION_KEYS]:
            raise EventError("meta.attribution_data", f"Meta knows no {listed(unknown)} there")


class SnapFields(PlatformFields, frozen=True, kw_only=True):
    """What Snap alone takes, by v3. Source: Snap's Business SDK for Java v3 and its GTM tag, read 2026-11.

    Attributes:
        lead_id: Of a lead ad. Identifies the person.
        download_id, partner_id: As Snap gave them.
        campaign_ids, installer_package, url_schemes, windows_attribution_id: Of app events.
        processing_country, processing_state: Where limited data use applies: 1 is the US and 1000 California, 0 asks
            Snap to place the person by the address. Sent by a large integration; what Snap does with them is
            unverified. They count only with ``consent.sale_opt_out``.
    """

    where: ClassVar[str] = "snap"
    whole: ClassVar[Mapping[str, int]] = {"processing_country": 9_999, "processing_state": 9_999}
    lists: ClassVar[tuple[str, ...]] = ("url_schemes",)

    lead_id: str | None = None
    download_id: str | None = None
    partner_id: str | None = None
    campaign_ids: str | None = None
    installer_package: str | None = None
    url_schemes: Sequence[str] | None = None
    windows_attribution_id: str | None = None
    processing_country: int | str | None = None
    processing_state: int | str | None = None


class PinterestFields(PlatformFields, frozen=True, kw_only=True):
    """What Pinterest alone takes. Source: its API description 5.23.0 (5.31.0 for ``customer_type``), read 2026-11.

    Attributes:
        partner_id: Of a data partner, such as a RampID; for integration partners only. It does not identify alone.
        customer_type: ``new`` or ``returning``. Older servers refuse the whole request for it.
        network_type: ``wifi``, ``cellular_4g``, ``ethernet``, ...
        wifi: The older form of the same.
        form_factor: ``desktop``, ``cellphone``, ...
        device_type, os_name, os_release_name, kernel_version: At most 100 characters each.
        languages: Two letters each.
        battery_level: Per cent.
        app_store: Where the app is from.
    """

    where: ClassVar[str] = "pinterest"
    whole: ClassVar[Mapping[str, int]] = {"battery_level": 100}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "customer_type": get_args(CustomerType),
        "network_type": get_args(NetworkType),
        "form_factor": get_args(FormFactor),
    }
    flags: ClassVar[tuple[str, ...]] = ("wifi",)
    lists: ClassVar[tuple[str, ...]] = ("languages",)

    partner_id: str | None = None
    customer_type: CustomerType | None = None
    network_type: NetworkType | None = None
    wifi: bool | None = None
    form_factor: FormFactor | None = None
    device_type: str | None = None
    os_name: str | None = None
    os_release_name: str | None = None
    kernel_version: str | None = None
    languages: Sequence[str] | None = None
    battery_level: int | str | None = None
    app_store: str | None = None


class TikTokFields(PlatformFields, frozen=True, kw_only=True):
    """What TikTok alone takes, by Events API 2.0. Source: its documentation and Segment's integration, read 2026-11.

    Attributes:
        lead_id, lead_event_source: Of CRM events: the lead, which identifies the person, and where it stands.
        ad_callback: The click id of an app event.
        campaign_id, ad_id, creative_id: Of the advertisement of an app event.
        is_retargeting, attributed, attribution_type, attribution_provider: How an app event was attributed.
        shop_id: Of a shop.
    """

    where: ClassVar[str] = "tiktok"
    flags: ClassVar[tuple[str, ...]] = ("is_retargeting", "attributed")

    lead_id: str | None = None
    lead_event_source: str | None = None
    ad_callback: str | None = None
    campaign_id: str | None = None
    ad_id: str | None = None
    creative_id: str | None = None
    is_retargeting: bool | None = None
    attributed: bool | None = None
    attribution_type: str | None = None
    attribution_provider: str | None = None
    shop_id: str | None = None


class CutMeShortFields(PlatformFields, frozen=True, kw_only=True):
    """What CutMeShort alone takes. Source: PyPI ``cutmeshort`` 1.0.1, read 2026-11.

    Attributes:
        mode: ``deferred`` on a lead that ties a click to a customer; later events of the customer need no click id and
            must not have it.
        customer_avatar: Web address of a picture of the person, which leaves in clear; give it only if you may.
    """

    where: ClassVar[str] = "cutmeshort"
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"mode": get_args(Mode)}

    mode: Mode | None = None
    customer_avatar: str | None = None

    def __post_init__(self) -> None:
        PlatformFields.__post_init__(self)
        if self.customer_avatar is not None and not _ADDRESS(self.customer_avatar):
            raise EventError("cutmeshort.customer_avatar", "needs an http(s) address of at most 2,048 characters")


class LinkedInFields(PlatformFields, frozen=True, kw_only=True):
    """What LinkedIn alone takes. Source: LinkedIn's Conversions API schema, May 2026, read 2026-11.

    Attributes:
        lead: Of a form that was filled in at LinkedIn, such as ``urn:li:leadGenFormResponse:...``. Identifies the
            person.
        acxiom_id: Of the data partner. Identifies the person.
        oracle_moat_id: The same; LinkedIn no longer lists it, and may refuse it.
        company_name, title: Where the person works, and as what. They leave in clear, beside the names of the person
            and not without them, see ``LinkedIn.send_profile``.
    """

    where: ClassVar[str] = "linkedin"

    lead: str | None = None
    acxiom_id: str | None = None
    oracle_moat_id: str | None = None
    company_name: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        PlatformFields.__post_init__(self)
        if self.lead is not None and not _URN(self.lead):
            raise EventError("linkedin.lead", "needs a URN, such as urn:li:leadGenFormResponse:...")


#: Field of the event to the struct that it holds.
PLATFORM_FIELDS: Final[Mapping[str, type[PlatformFields]]] = {
    kind.where: kind
    for kind in (MetaFields, SnapFields, PinterestFields, TikTokFields, CutMeShortFields, LinkedInFields)
}


def on_wire(given: PlatformFields, places: Mapping[str, str], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are set, as nested objects of a platform's event.

    Args:
        places: Field to its place there, as a dotted path.
        extra: Raw fields of the platform, which win.
    """
    made: dict[str, Any] = {}
    for field, place in places.items():
        value = getattr(given, field)
        if value is None:
            continue
        *objects, key = place.split(".")
        there = made
        for one in objects:
            there = there.setdefault(one, {})
        there[key] = _plain(value)
    return _under(made, extra)


def _under(made: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in extra.items():
        below = made.get(key)
        # nothing of the caller's is changed: what is laid into is always an object that was made here
        made[key] = _under(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, OriginalEvent):
        facts = {
            "event_name": value.name,
            "event_time": None if value.time is None else int(value.time.timestamp()),
            "order_id": value.order_id,
            "event_id": value.event_id,
        }
        return {key: fact for key, fact in facts.items() if fact is not None}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
