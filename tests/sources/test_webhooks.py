"""Webhooks: the sheet's vectors, forgeries, replays, and what a body becomes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.errors import ConfigError
from capi_async.sources.tiktok_shop.events import (
    AuthorizationExpiring,
    CancellationChanged,
    Notification,
    OrderStatusChanged,
    ReturnChanged,
    SellerDeauthorized,
    read_notification,
)
from capi_async.sources.tiktok_shop.webhooks import (
    LEGACY_TOLERANCE_S,
    OFFICIAL_TOLERANCE_S,
    MalformedWebhookError,
    RecentKeys,
    SignatureError,
    StaleWebhookError,
    WebhookVerifier,
    keys_of,
    sign_legacy_webhook,
    sign_webhook,
    verify_legacy_webhook,
    verify_webhook,
)

KEY, SECRET = "68xu9ks5p4i8", "e59af819cc"
W1 = (
    b'{"type":1,"tts_notification_id":"7380066284010030890","shop_id":"7495540735365777507","timestamp":1718305585,'
    b'"data":{"is_on_hold_order":true,"order_id":"576653688135258178","order_status":"UNPAID","update_time":1718305585}}'
)
W2 = (
    b'{"type":1,"shop_id":"7494726673780148744","timestamp":1664095733,"data":{"order_id":"576684019603311365",'
    b'"order_status":"AWAITING_SHIPMENT","update_time":1664095610}}'
)
W3 = (
    b'{"type":1,"tts_notification_id":"7380066284010030891","shop_id":"7495540735365777507","timestamp":1718309185,'
    b'"data":{"is_on_hold_order":false,"order_id":"576461413038785752","order_status":"AWAITING_SHIPMENT",'
    b'"update_time":1718309180}}'
)
W3_DIGEST = "11fec99a99c8436427953c257f2ce26d4f7fef0462055c1b11c71df2310fc47d"
W4 = (
    b'{"type":1,"tts_notification_id":"7380066284010030892","shop_id":"7495540735365777507","timestamp":1718312785,'
    b'"data":{"is_on_hold_order":false,"order_id":"576461413038785752","order_status":"CANCEL",'
    b'"update_time":1718312780}}'
)
S1_DIGEST = "ced474934401818c6d095175d67b745a5dac70b855847f6cd010e7eb8e84efd3"
S2_DIGEST = "ec1d087aa81dde9820d04ceb8d2adc2477fff7c3252b7d7d3ce5158ea5f50260"
S3_DIGEST = "ed8aacc94373316afd32d7312e6d837ea7ae86e9fdfebc8d2f0b99a4351740dd"

MADE_AT = 1718309185


class At:
    """A clock that stands at one wall time."""

    def __init__(self, wall: float) -> None:
        self._wall = wall

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self._wall


def verifier(**options: object) -> WebhookVerifier:
    return WebhookVerifier(KEY, SECRET, **{"clock": At(MADE_AT + 60), **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "secret", "body", "digest"),
    [
        ("abcdef", "123", W1, "5dec0f11ec2f6783b8deee53c9ffbf8d024302f7c7e7fa55a35d17629031ac05"),
        ("fake_app_key", "fake_app_secret", W2, "21109834de72ec53c9959716d8514ae388ce1f123e5ffdcafc46713fcdf62b27"),
        (KEY, SECRET, W3, W3_DIGEST),
        (KEY, SECRET, W4, "f3c41f4b70957f7871c8407db9c5c4392295b0698b767c1ddbba134c5ea896ef"),
    ],
)
def test_official_vectors_verify(key: str, secret: str, body: bytes, digest: str) -> None:
    """W1 to W4 of the sheet; the first is published by the platform itself."""
    assert sign_webhook(body, app_key=key, app_secret=secret) == digest
    assert verify_webhook(body, digest, app_key=key, app_secret=secret)


@pytest.mark.parametrize(("body", "digest"), [(W3, S1_DIGEST), (b'{"type":1}', S2_DIGEST)])
def test_legacy_vectors_verify(body: bytes, digest: str) -> None:
    """S1 and S2 of the sheet."""
    assert sign_legacy_webhook(body, "1718309185", app_secret=SECRET) == digest
    assert verify_legacy_webhook(body, digest, "1718309185", app_secret=SECRET)


def test_an_encoded_again_body_does_not_verify() -> None:
    """W3x: the same JSON with other spaces is other bytes."""
    again = json.dumps(json.loads(W3)).encode()
    wrong = "7a8cd110de11049a839bac769ca71b92b9347e3d9b32e01adbe1a009c55d5d4a"
    assert sign_webhook(again, app_key=KEY, app_secret=SECRET) == wrong
    assert not verify_webhook(again, W3_DIGEST, app_key=KEY, app_secret=SECRET)
    assert not verify_webhook(W3, wrong, app_key=KEY, app_secret=SECRET)


@pytest.mark.parametrize(
    "header",
    [
        "",
        W3_DIGEST.upper(),
        f"Bearer {W3_DIGEST}",
        W3_DIGEST[:-1],
        W3_DIGEST + "0",
        f" {W3_DIGEST}",
        f"{W3_DIGEST}\n",
        W3_DIGEST[:-1] + "é",
        "0" * 64,
        S1_DIGEST,
        S3_DIGEST,
    ],
)
def test_any_other_header_is_refused(header: str) -> None:
    """Wrong case, wrong length, a prefix, text that is no digest, and the digests of the other schemes."""
    assert not verify_webhook(W3, header, app_key=KEY, app_secret=SECRET)
    with pytest.raises(SignatureError) as raised:
        verifier().read(W3, {"Authorization": header})
    assert raised.value.status == 401


@given(at=st.integers(0, len(W3) - 1), bit=st.integers(0, 7))
def test_no_changed_bit_verifies(at: int, bit: int) -> None:
    """One bit of the body, wherever it is."""
    changed = bytearray(W3)
    changed[at] ^= 1 << bit
    assert not verify_webhook(bytes(changed), W3_DIGEST, app_key=KEY, app_secret=SECRET)


@given(st.integers(0, len(W3) - 1))
def test_no_truncated_body_verifies(length: int) -> None:
    """The connection that broke off."""
    with pytest.raises(SignatureError):
        verifier().read(W3[:length], {"Authorization": W3_DIGEST})


def test_an_endpoint_accepts_one_style_only() -> None:
    """Whoever could choose would choose the weaker."""
    legacy = {"X-TikTok-Shop-Signature": S1_DIGEST, "X-TikTok-Shop-Timestamp": str(MADE_AT)}
    official = {"Authorization": W3_DIGEST}
    assert verifier().read(W3, official).id == "7380066284010030891"
    assert verifier(style="legacy").read(W3, legacy).id == "7380066284010030891"
    with pytest.raises(SignatureError):
        verifier().read(W3, legacy)
    with pytest.raises(SignatureError):
        verifier(style="legacy").read(W3, official)


def test_header_names_are_read_in_any_capitalisation_and_once() -> None:
    """Proxies write them as they like; a header given twice is nobody's."""
    assert verifier().read(W3, {"authorization": W3_DIGEST})
    with pytest.raises(SignatureError):
        verifier().read(W3, {"authorization": W3_DIGEST, "Authorization": W3_DIGEST})


@pytest.mark.parametrize(
    ("age_s", "taken"),
    [
        (0, True),
        (12 * 3600 + 3 * 3600 + 1800 + 120, True),
        (OFFICIAL_TOLERANCE_S, True),
        (OFFICIAL_TOLERANCE_S + 1, False),
        (-300, True),
        (-301, False),
    ],
)
def test_the_official_style_is_taken_for_as_long_as_the_platform_repeats(age_s: float, taken: bool) -> None:
    """Its last repeat comes more than fifteen hours after the first; a captured one of last week does not get in."""
    reader = verifier(clock=At(MADE_AT + age_s))
    if taken:
        assert reader.read(W3, {"Authorization": W3_DIGEST})
    else:
        with pytest.raises(StaleWebhookError) as raised:
            reader.read(W3, {"Authorization": W3_DIGEST})
        assert raised.value.status == 401


@pytest.mark.parametrize(("age_s", "taken"), [(LEGACY_TOLERANCE_S, True), (LEGACY_TOLERANCE_S + 1, False)])
def test_the_legacy_style_is_taken_for_minutes(age_s: float, taken: bool) -> None:
    """Its signature covers its time."""
    headers = {"X-TikTok-Shop-Signature": S1_DIGEST, "X-TikTok-Shop-Timestamp": str(MADE_AT)}
    reader = verifier(style="legacy", clock=At(MADE_AT + age_s))
    if taken:
        assert reader.read(W3, headers)
    else:
        with pytest.raises(StaleWebhookError):
            reader.read(W3, headers)


@pytest.mark.parametrize(
    "timestamp", ["", "-1", "1e9", "1718309185.0", "99999999999999", "١٧١٨٣٠٩١٨٥", str(MADE_AT + 1)]
)
def test_a_legacy_timestamp_is_plain_seconds_and_signed(timestamp: str) -> None:
    """No other number, and no other time under the same signature."""
    headers = {"X-TikTok-Shop-Signature": S1_DIGEST, "X-TikTok-Shop-Timestamp": timestamp}
    with pytest.raises(SignatureError):
        verifier(style="legacy").read(W3, headers)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"type":"order"}', b'{"type":1', b"\xff\xfe", b'{"type":1,"data":{}}']
)
def test_a_signed_body_that_is_no_webhook_is_malformed(body: bytes) -> None:
    """Not a webhook at all, or one without a time of its own."""
    headers = {"Authorization": sign_webhook(body, app_key=KEY, app_secret=SECRET)}
    with pytest.raises(MalformedWebhookError) as raised:
        verifier().read(body, headers)
    assert raised.value.status == 400


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
).map(lambda value: json.dumps({"type": 1, "timestamp": MADE_AT, "data": value}).encode()))  # fmt: skip
def test_no_body_breaks_the_reader(body: bytes) -> None:
    """Whatever is signed is a notification or a ``WebhookError``."""
    headers = {"Authorization": sign_webhook(body, app_key=KEY, app_secret=SECRET)}
    try:
        found = verifier().read(body, headers)
    except MalformedWebhookError:
        return
    assert isinstance(found, Notification)


def test_an_order_notification_is_typed() -> None:
    """Ids that came as numbers are text, and exact."""
    found = read_notification(W3.replace(b'"7495540735365777507"', b"7495540735365777507"))
    assert isinstance(found, OrderStatusChanged)
    assert (found.shop_id, found.order_id) == ("7495540735365777507", "576461413038785752")
    assert (found.order_status, found.cancelled, found.timestamp) == ("AWAITING_SHIPMENT", False, MADE_AT)
    cancelled = read_notification(W4)
    assert isinstance(cancelled, OrderStatusChanged)
    assert cancelled.cancelled


@pytest.mark.parametrize(
    ("topic", "data", "kind"),
    [
        (6, {"message": "The seller has deauthorized"}, SellerDeauthorized),
        (7, {"message": "soon", "expiration_time": 1718305585}, AuthorizationExpiring),
        (11, {"order_id": 5, "cancel_id": "9", "cancel_status": "CANCELLATION_REQUEST_COMPLETE"}, CancellationChanged),
        (12, {"order_id": "5", "return_id": "9", "return_status": "AWAITING_BUYER_SHIP"}, ReturnChanged),
    ],
)
def test_other_topics_are_typed(topic: int, data: dict[str, object], kind: type[Notification]) -> None:
    """Those that a source of orders has a use for."""
    body = json.dumps(
        {"type": topic, "tts_notification_id": "1", "shop_id": "2", "timestamp": 3, "data": data}
    ).encode()
    found = read_notification(body)
    assert type(found) is kind
    assert found.data == data


@pytest.mark.parametrize(
    ("topic", "data"), [(99, {"anything": [1]}), (1, {"order_id": "5"}), (12, {"return_id": "5"}), (1, {})]
)
def test_what_is_not_known_stays_generic(topic: int, data: dict[str, object]) -> None:
    """A new topic, or a known one whose fields have gone, is no error."""
    found = read_notification(json.dumps({"type": topic, "timestamp": 3, "data": data}).encode())
    assert type(found) is Notification
    assert (found.type, found.data) == (topic, data)


def test_without_an_id_the_body_is_the_id() -> None:
    """Older senders give none."""
    assert read_notification(W2).id == read_notification(W2).id
    assert read_notification(W2).id.startswith("sha256:")
    assert read_notification(W2).id != read_notification(W2 + b" ").id


def test_copies_are_known_by_id_and_by_status() -> None:
    """The same news under another id is no news."""
    same_news = read_notification(W3.replace(b"7380066284010030891", b"7380066284010039999"))
    next_status = read_notification(W4)
    keys = RecentKeys()
    keys.add(keys_of(read_notification(W3)))
    assert any(key in keys for key in keys_of(same_news))
    assert not any(key in keys for key in keys_of(next_status))


def test_the_memory_of_copies_is_bounded() -> None:
    """The oldest goes first; what is seen again is young again."""
    keys = RecentKeys(max_keys=2)
    for name in ("a", "b", "a", "c"):
        keys.add((name,))
    assert ("a" in keys, "b" in keys, "c" in keys, len(keys)) == (True, False, True, 2)


def test_nothing_secret_or_personal_is_shown() -> None:
    """Neither a repr nor an error's text holds the secret, the signature or the body."""
    shown = [repr(verifier()), repr(read_notification(b'{"type":14,"data":{"content":"call +1 415 555 2671"}}'))]
    for headers in ({}, {"Authorization": W3_DIGEST[::-1]}):
        with pytest.raises(SignatureError) as raised:
            verifier().read(W3, headers)
        shown.append(f"{raised.value!r} {raised.value}")
    for text in shown:
        assert SECRET not in text
        assert "415" not in text
        assert W3_DIGEST not in text


@pytest.mark.parametrize(
    "options",
    [{"app_secret": ""}, {"app_key": ""}, {"style": "either"}, {"tolerance_s": 0}, {"tolerance_s": float("nan")}],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    """Before any webhook comes."""
    with pytest.raises(ConfigError):
        WebhookVerifier(**{"app_key": KEY, "app_secret": SECRET, **options})  # type: ignore[arg-type]


def test_settings_may_come_from_the_environment() -> None:
    """The variables of the client."""
    environ = {"TIKTOK_SHOP_APP_KEY": KEY, "TIKTOK_SHOP_APP_SECRET": SECRET}
    found = WebhookVerifier.from_env(environ, tolerance_s=1e9)
    assert found.read(W3, {"Authorization": W3_DIGEST}).type == 1
    with pytest.raises(ConfigError, match="TIKTOK_SHOP_APP_SECRET"):
        WebhookVerifier.from_env({"TIKTOK_SHOP_APP_KEY": KEY})
