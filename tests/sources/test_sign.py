"""Signatures of TikTok Shop, by the digests that the platform and two independent SDKs publish, and by properties."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.sources.tiktok_shop.sign import legacy_sign, sign

SECRET = "e59af819cc"
CIPHER = {"app_key": "68xu9ks5p4i8", "timestamp": "1696909648", "shop_cipher": "ROW_xkMbgAAAeVAQra0eZWebFQq5aIK"}
NO_CIPHER = {"app_key": "68xu9ks5p4i8", "timestamp": "1696909648"}
WEBHOOK = b'{"event_type":"PACKAGE_UPDATE","address":"https://partner.tiktokshop.com"}'
WEBHOOK_SWAPPED = b'{"address":"https://partner.tiktokshop.com","event_type":"PACKAGE_UPDATE"}'
SEARCH = b'{"order_status":"AWAITING_SHIPMENT","create_time_ge":1696300000,"create_time_lt":1696909600}'
SEARCH_SPACED = b'{"order_status": "AWAITING_SHIPMENT", "create_time_ge": 1696300000, "create_time_lt": 1696909600}'
PAGE = {**CIPHER, "page_size": "50", "sort_field": "create_time", "sort_order": "ASC"}
IDS = {**CIPHER, "ids": "576461413038785752,576461413038785753"}
STOCK = (
    b'{"skus":[{"id":"1729592969712207012","inventory":'
    b'[{"warehouse_id":"7068517275539719942","quantity":100}]}]}'
)  # fmt: skip
TITLE = '{"title":"Café – ピカチュウ"}'.encode()
TITLE_ESCAPED = rb'{"title":"Caf\u00e9 \u2013 \u30d4\u30ab\u30c1\u30e5\u30a6"}'
ORDERS = "/order/202309/orders/search"
PRODUCT = "/product/202309/products/1729592969712207008"
PRODUCTS = "/product/202502/products/search"

VECTORS: dict[str, tuple[str, str, dict[str, str], bytes, str]] = {
    "1": (
        SECRET, "/authorization/202309/shops", {"app_key": "29a39d", "timestamp": "1623812664"}, b"",
        "b596b73e0cc6de07ac26f036364178ab16b0a907af13d43f0a0cd2345f582dc8",
    ),
    "2": (
        SECRET, "/event/202309/webhooks", CIPHER, b"",
        "ed58e1b5e59865c22a7b828c1cab65007441f43cc91a6cb2f2cdc638e0995a37",
    ),
    "3": (
        SECRET, "/event/202309/webhooks", CIPHER, WEBHOOK,
        "701dd6deb2389fe4c469b89bd37fc56f96a6da6afeb4d01c9077a65169752fa7",
    ),
    "3a": (
        SECRET, "/event/202309/webhooks", CIPHER, WEBHOOK_SWAPPED,
        "cd0d6268252f4ba293bf7ea4c0a2873bf9beec600d22530638564ab301435f7a",
    ),
    "4": (
        SECRET, ORDERS, {**PAGE, "page_token": "aDU2dHIzZWxCWlZ2+2/Zk=="}, SEARCH,
        "7b96ca892bb71ac74ca3d148fe3b22101c8de208d28e5417a7522fee1938f168",
    ),
    "6": (
        SECRET, "/order/202507/orders", IDS, b"",
        "b97f28a073d68b4025d1ae615a46e00c74339730af691bad43b699f912137e1a",
    ),
    "6a": (
        SECRET, "/order/202507/orders", {**IDS, "access_token": "TTP_example", "sign": "deadbeef"}, b"",
        "b97f28a073d68b4025d1ae615a46e00c74339730af691bad43b699f912137e1a",
    ),
    "7": (
        SECRET, f"{PRODUCT}/inventory/update", CIPHER, STOCK,
        "976123281f1d28180c322bea57404e8739b1d7231f93fd2050c62b98b92215ed",
    ),
    "8": (
        SECRET, PRODUCT, CIPHER, TITLE,
        "24ab176f08fc07590b80847582c0ee3f4399893c7d94aed9c2d7f92812900a5c",
    ),
    "8a": (
        SECRET, PRODUCT, CIPHER, TITLE_ESCAPED,
        "2baed3dfe4e571d862f50aa9d947d421c91e3433bcad4705c1ff300e5e3be1ff",
    ),
    "9": (
        "abc000def111", "/authorization/202309/shops", {"app_key": "123456", "timestamp": "1234567890"}, b"",
        "c8767e4fd7a1b48a0ce3fd23197f058159ce11b53f1ae1ad6d1ec931a1da5540",
    ),
    "11": (
        SECRET, PRODUCTS, {**CIPHER, "page_size": "20"}, b'{"status":"ACTIVATE"}',
        "00abec05cc2147f748861095d7b1dd0f5fcf0c9e2f529e5fc362c6db2ebc257f",
    ),
    "11a": (
        SECRET, PRODUCTS, {**CIPHER, "page_size": "20"}, b"{}",
        "e4eb91e6fd45ccc0e931eaa6e1f7e29a7154ec8b97c80e46b04ebae678acd406",
    ),
    "12": (
        "app_secret", "/test-api", {"foo": "bar"}, b"",
        "d3cb7fe11ecae942802ceeca67e7cf10120cc12f1517d45fbc1c8cfe5413c80f",
    ),
    "official reading of an old path": (
        SECRET, "/api/products/search", {**NO_CIPHER, "page_size": "10", "page_number": "1"}, b"",
        "246663ecbe782023a3d2637ce749146049cac60b41df26ce243cb5eb565cc5a7",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_published_digests_come_out(name: str) -> None:
    """Every request of the sheet, digit by digit."""
    secret, path, query, body, digest = VECTORS[name]
    assert sign(path, query, body, app_secret=secret) == digest


def test_form_data_is_not_signed() -> None:
    """The header carries a boundary; the file's bytes stay out of it."""
    path = "/affiliate_creator/202505/videos/video_files"
    digest = "6d7e07e9666a5fed82f53354dc957a361a14f7c9ef29982bdb9583f4e9953d92"
    for content_type in ("multipart/form-data; boundary=b", "Multipart/Form-Data", "multipart/form-data ;boundary=b"):
        assert sign(path, NO_CIPHER, b"any bytes", app_secret=SECRET, content_type=content_type) == digest
    assert sign(path, NO_CIPHER, b"any bytes", app_secret=SECRET) != digest
    assert sign(path, NO_CIPHER, b"any", app_secret=SECRET, content_type="multipart/form-data-like") != digest


WRONG = {
    "4x: token percent-encoded before signing": (
        SECRET, ORDERS, {**PAGE, "page_token": "aDU2dHIzZWxCWlZ2%2B2%2FZk%3D%3D"}, SEARCH,
        "ae0e37167ffea3ad547b566d45f59df9534bd50d310899e67e984c52a17d8ef1", "4",
    ),
    "5x: body encoded again, with spaces": (
        SECRET, ORDERS, {**PAGE, "page_token": "aDU2dHIzZWxCWlZ2+2/Zk=="}, SEARCH_SPACED,
        "c5af982ea0907b924c4ba4d242391e28b5ba0c57170968c64a202be227e3e635", "4",
    ),
    "9x: stray slash": (
        "abc000def111", "/authorization/202309/shops/", {"app_key": "123456", "timestamp": "1234567890"}, b"",
        "85cf90ee90dadfac63c41256e13f069d1e57a91c854c306a9a21d7347274f2b5", "9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_known_mistakes_give_the_known_wrong_digest(name: str) -> None:
    """So that a mistake can be recognised, and never passes for the right one."""
    secret, path, query, body, digest, right = WRONG[name]
    assert sign(path, query, body, app_secret=secret) == digest
    assert digest != VECTORS[right][4]


def test_the_older_contract_signs_otherwise() -> None:
    """Secret once, at the end; the platform refuses it, so the two must never be mixed up."""
    query = {**NO_CIPHER, "page_size": "10", "page_number": "1"}
    digest = legacy_sign("/api/products/search", query, app_secret=SECRET)
    assert digest == "283cb09b9ccf64abb5dffbb2cab4a171db9f7f3f843c8f8eade865a8fa02f680"
    assert legacy_sign("/api/products/search", {**query, "sign": digest}, app_secret=SECRET) == digest
    assert legacy_sign("/api/products/search", {**query, "access_token": "t"}, app_secret=SECRET) != digest


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
QUERY = st.dictionaries(TEXT.filter(lambda name: name not in ("sign", "access_token")), TEXT, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(QUERY, st.randoms())
def test_the_order_in_which_parameters_were_given_does_not_matter(query: dict[str, str], random: object) -> None:
    """A dict that was filled in another order signs the same."""
    names = list(query)
    random.shuffle(names)  # type: ignore[attr-defined]
    shuffled = {name: query[name] for name in names}
    assert sign("/p", shuffled, app_secret=SECRET) == sign("/p", query, app_secret=SECRET)


@given(QUERY, JSON, TEXT)
def test_credentials_in_the_query_change_nothing(query: dict[str, str], body: object, noise: str) -> None:
    """``sign`` and ``access_token`` are never part of what is signed."""
    raw = msgspec.json.encode(body)
    more = {**query, "sign": noise, "access_token": noise}
    assert sign("/p", more, raw, app_secret=SECRET) == sign("/p", query, raw, app_secret=SECRET)


@given(QUERY, JSON, JSON)
def test_another_body_is_another_signature(query: dict[str, str], one: object, other: object) -> None:
    """Nested and in any script; equal bytes sign the same, other bytes do not."""
    first, second = msgspec.json.encode(one), msgspec.json.encode(other)
    same = sign("/p", query, first, app_secret=SECRET) == sign("/p", query, second, app_secret=SECRET)
    assert same == (first == second)


@given(QUERY, st.binary(max_size=64), TEXT)
def test_a_signature_is_64_hex_digits_of_any_secret(query: dict[str, str], body: bytes, secret: str) -> None:
    """Whatever comes in, no exception that could carry it out."""
    digest = sign("/p", query, body, app_secret=secret)
    assert len(digest) == 64
    assert int(digest, 16) >= 0
    assert digest == digest.lower()
