"""Fields that one platform alone takes: where they stand on the wire, who wins, and how a misfit is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from capi_async.destinations import (
    CutMeShort,
    Destination,
    Meta,
    Pinterest,
    Snap,
    TikTok,
    destination_class,
    destination_types,
)
from capi_async.errors import EventError
from capi_async.event import App, ClickIds, Consent, Device, Event, Page, User
from capi_async.platform_fields import (
    PLATFORM_FIELDS,
    CutMeShortFields,
    MetaFields,
    OriginalEvent,
    PinterestFields,
    SnapFields,
    TikTokFields,
)
from capi_async.testing.mapping import body, refusal

NOW = datetime.now(UTC)
PERSON = User(email="jo@shop.example", external_id="u-1", ip="203.0.113.7", user_agent="Mozilla/5.0")
DESTINATIONS: Mapping[str, Destination] = {
    "meta": Meta(pixel_id="1234567890", access_token="t"),
    "snap": Snap(pixel_id="11111111-2222-3333-4444-555555555555", snap_app_id="app-1", access_token="t"),
    "pinterest": Pinterest(ad_account_id="549755885175", access_token="t"),
    "tiktok": TikTok(pixel_code="CEXAMPLE0000000000AA", crm_event_set_id="7", app_id="9", access_token="t"),
    "cutmeshort": CutMeShort(token="t"),
}
FIELDS: Mapping[str, Any] = {
    "meta": MetaFields(
        lead_id="123456789012345", fb_login_id=77, ctwa_clid="ARA", whatsapp_business_account_id="1", page_id="2",
        page_scoped_user_id="3", ig_account_id="4", ig_sid="5", messaging_channel="whatsapp",
        original_event=OriginalEvent(name="Purchase", time=NOW, order_id="9", event_id="8"),
        attribution_data={"scope": "click", "ad_id": "6"}, customer_segmentation="customer_in_loyalty_program",
        net_revenue="12.50", campaign_ids="c1", installer_package="com.android.vending", url_schemes=["shop"],
        windows_attribution_id="w1",
    ),
    "snap": SnapFields(
        lead_id="l1", download_id="d1", partner_id="p1", campaign_ids="c1", installer_package="com.android.vending",
        url_schemes=("shop",), windows_attribution_id="w1", processing_country=1, processing_state="1000",
    ),
    "pinterest": PinterestFields(
        partner_id="p1", customer_type="new", network_type="cellular_5g", wifi=False, form_factor="cellphone",
        device_type="phone", os_name="Android", os_release_name="Q", kernel_version="5.4", languages=["en"],
        battery_level=50, app_store="google_play",
    ),
    "tiktok": TikTokFields(
        lead_id="l1", lead_event_source="hubspot", ad_callback="E.C.P.1", campaign_id="c1", ad_id="a1",
        creative_id="cr1", is_retargeting=False, attributed=True, attribution_type="click",
        attribution_provider="mmp", shop_id="s1",
    ),
    "cutmeshort": CutMeShortFields(mode="deferred", customer_avatar="https://shop.example/jo.png"),
}  # fmt: skip


APP = App(id="1", version="1", att_status="authorized")
DEVICE = Device(os="ios", os_version="17", model="iPhone")


def event(platform: str, **changes: Any) -> Event:
    """A lead that the platform takes, with all fields of its own."""
    fields: dict[str, Any] = {
        "event_id": "lead-1",
        "user": PERSON,
        "page": Page(url="https://shop.example/thanks"),
        "click": ClickIds(cms_rf="id_123"),
        platform: FIELDS[platform],
        **changes,
    }
    if platform in ("snap", "meta") and "source" not in fields:  # which take facts of an app with an app event only
        fields |= {"source": "app", "app": APP, "device": DEVICE}
    return Event("lead", time=NOW - timedelta(minutes=5), **fields)


def at(made: Any, place: str) -> Any:
    """What stands at a dotted path."""
    for step in place.split("."):
        made = made[step]
    return made


@pytest.mark.parametrize("platform", DESTINATIONS)
def test_every_field_has_its_documented_place_on_the_wire(platform: str) -> None:
    """None is left out, and each is written as it was given."""
    destination, given = DESTINATIONS[platform], FIELDS[platform]
    made = body(destination, event(platform))
    assert set(destination.own_fields) == set(PLATFORM_FIELDS[platform].__struct_fields__)
    for field, place in destination.own_fields.items():
        there, value = at(made, place), getattr(given, field)
        if field == "original_event":
            assert there == {
                "event_name": "Purchase", "event_time": int(NOW.timestamp()), "order_id": "9", "event_id": "8",
            }  # fmt: skip
        elif field == "net_revenue":
            assert there == 12.5
        else:
            assert there == (list(value) if isinstance(value, tuple) else value), field


@pytest.mark.parametrize("platform", DESTINATIONS)
def test_what_is_beside_them_stays(platform: str) -> None:
    """They are laid into the objects of the event, and replace none."""
    made, without = (
        body(DESTINATIONS[platform], event(platform)),
        body(DESTINATIONS[platform], event(platform, **{platform: None})),
    )
    for key, value in without.items():
        assert made[key] == ({**made[key], **value} if isinstance(value, dict) else value)


@pytest.mark.parametrize("platform", DESTINATIONS)
def test_extra_wins_over_a_field_of_the_platforms_own(platform: str) -> None:
    """It is the last word of the caller."""
    destination = DESTINATIONS[platform]
    field, value = {
        "meta": ("ctwa_clid", "other"),
        "snap": ("lead_id", "other"),
        "pinterest": ("partner_id", "other"),
        "tiktok": ("lead_id", "other"),
        "cutmeshort": ("customer_avatar", "https://shop.example/other.png"),
    }[platform]
    *objects, key = destination.own_fields[field].split(".")
    extra: dict[str, Any] = {key: value}
    for one in reversed(objects):
        extra = {one: extra}
    made = body(destination, event(platform, extra={platform: extra}))
    assert at(made, destination.own_fields[field]) == value
    others = [name for name in destination.own_fields if name != field]
    assert all(at(made, destination.own_fields[name]) is not None for name in others)


@pytest.mark.parametrize("platform", DESTINATIONS)
def test_fields_of_another_platform_leave_no_trace(platform: str) -> None:
    """One event goes to all; each takes its own."""
    others = {name: value for name, value in FIELDS.items() if name != platform}
    bare = event(platform, **{platform: None})
    full = event(platform, **{platform: None}, **others)
    assert {**body(DESTINATIONS[platform], full), "timestamp": 0} == {
        **body(DESTINATIONS[platform], bare),
        "timestamp": 0,
    }


@pytest.mark.parametrize("type_name", destination_types())
def test_a_destination_names_no_field_that_its_platform_does_not_have(type_name: str) -> None:
    """The table of a destination and the struct of the event cannot drift apart."""
    kind = destination_class(type_name)
    if kind.own:
        assert set(kind.own_fields) == set(PLATFORM_FIELDS[kind.own].__struct_fields__)
    else:
        assert not kind.own_fields


def test_a_lead_id_identifies_at_meta() -> None:
    """Meta matches the lead to the person who filled in the form."""
    bare = User(gender="f")
    refused = refusal(DESTINATIONS["meta"], event("meta", source="website", user=bare, meta=None))
    assert refused.kind == "skipped"
    assert body(
        DESTINATIONS["meta"], event("meta", source="website", user=bare, meta=MetaFields(lead_id=123456789012345))
    )


def test_a_lead_id_identifies_a_crm_event_at_tiktok() -> None:
    """Elsewhere it does not."""
    crm = {"user": User(ip="203.0.113.7"), "source": "crm"}
    assert refusal(DESTINATIONS["tiktok"], event("tiktok", **crm, tiktok=None)).fix.count("tiktok.lead_id") == 1
    assert body(DESTINATIONS["tiktok"], event("tiktok", **crm))


def test_a_field_that_does_not_fit_the_call_is_named_by_its_own_name() -> None:
    """A sale cannot be deferred, and nobody wrote "extra"."""
    sale = Event(
        "purchase", time=NOW, value=1, currency="EUR", order_id="1", user=PERSON,
        cutmeshort=CutMeShortFields(mode="deferred"),
    )  # fmt: skip
    refused = refusal(DESTINATIONS["cutmeshort"], sale)
    assert refused.field == "cutmeshort.mode"
    assert "extra" not in refused.fix


def test_a_fact_of_an_app_on_a_web_event_is_named_by_its_own_name() -> None:
    """Snap takes the object only whole, which a web event has not."""
    refused = refusal(DESTINATIONS["snap"], event("snap", source="website", snap=SnapFields(campaign_ids="c1")))
    assert (refused.kind, refused.field, refused.fix) == ("rejected", "snap.campaign_ids", "leave campaign_ids out")


def test_a_value_beyond_the_platforms_limit_is_named_by_its_own_name() -> None:
    """Pinterest takes a hundred characters, and refuses the whole request for one more."""
    refused = refusal(DESTINATIONS["pinterest"], event("pinterest", pinterest=PinterestFields(os_name="x" * 101)))
    assert refused.field == "pinterest.os_name"
    refused = refusal(DESTINATIONS["pinterest"], event("pinterest", pinterest=PinterestFields(languages=["english"])))
    assert refused.field == "pinterest.languages"


def test_denied_consent_keeps_them_away_with_the_event() -> None:
    """They identify a person as the rest does."""
    for platform, destination in DESTINATIONS.items():
        assert refusal(destination, event(platform, consent=Consent(ad_user_data=False))).kind == "skipped", platform


def test_an_app_event_keeps_its_facts_beside_those_of_the_platform() -> None:
    """Meta's and Snap's app objects hold both."""
    for platform in ("meta", "snap"):
        made = body(
            DESTINATIONS[platform],
            event(
                platform, source="app", app=App(id="1", version="1", att_status="authorized"),
                device=DEVICE,
            ),
        )  # fmt: skip
        assert made["app_data"]["extinfo"], platform
        assert made["app_data"]["campaign_ids"] == "c1"


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (lambda: MetaFields(lead_id="12a"), "meta.lead_id"),
        (lambda: MetaFields(lead_id=-1), "meta.lead_id"),
        (lambda: MetaFields(lead_id=True), "meta.lead_id"),
        (lambda: MetaFields(messaging_channel="sms"), "meta.messaging_channel"),
        (lambda: MetaFields(net_revenue="1,5"), "meta.net_revenue"),
        (lambda: MetaFields(attribution_data={"colour": 1}), "meta.attribution_data"),
        (lambda: MetaFields(original_event={"name": "x"}), "meta.original_event"),
        (lambda: MetaFields(original_event=OriginalEvent(time="now")), "meta.original_event.time"),
        (lambda: MetaFields(url_schemes="shop"), "meta.url_schemes"),
        (lambda: SnapFields(download_id=5), "snap.download_id"),
        (lambda: SnapFields(url_schemes=["a", ""]), "snap.url_schemes"),
        (lambda: PinterestFields(battery_level=101), "pinterest.battery_level"),
        (lambda: PinterestFields(wifi="yes"), "pinterest.wifi"),
        (lambda: TikTokFields(is_retargeting=1), "tiktok.is_retargeting"),
        (lambda: CutMeShortFields(mode="Deferred"), "cutmeshort.mode"),
        (lambda: CutMeShortFields(customer_avatar="ftp://x"), "cutmeshort.customer_avatar"),
        (lambda: Event("lead", meta={"lead_id": 1}), "meta"),
        (lambda: Event("lead", tiktok=MetaFields()), "tiktok"),
        (lambda: Event.from_json('{"name":"lead","meta":{"lead_id":"x1"}}'), "meta.lead_id"),
        (lambda: Event.from_json('{"name":"lead","meta":{"led_id":1}}'), "meta.led_id"),
        (lambda: Event.from_dict({"name": "lead", "snap": {"lead_id": 1}}), "snap.lead_id"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_where_it_is_written(made: Any, field: str) -> None:
    """By the field's own name, and without the value."""
    with pytest.raises(EventError) as caught:
        made()
    assert caught.value.field == field


@pytest.mark.parametrize("platform", DESTINATIONS)
def test_no_value_is_shown(platform: str) -> None:
    """Most of them identify a person."""
    given = FIELDS[platform]
    names = ", ".join(f"{field}=…" for field in given.__struct_fields__)
    assert repr(given) == f"{type(given).__name__}({names})"


def test_they_come_out_of_json_as_they_went_in() -> None:
    """A spool, a queue of one's own or a file loses none."""

    made = Event("lead", event_id="1", **FIELDS)
    assert Event.from_json(msgspec.json.encode(made)) == made
