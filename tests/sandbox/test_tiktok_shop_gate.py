"""TikTok Shop: signatures, and everything else that is checked before an operation runs."""

from __future__ import annotations

import asyncio
import io
import json

import aiohttp
import pytest

from capi_async.sandbox import Fault, Rate, Sandbox
from capi_async.sandbox.platforms.tiktok_shop import CREATOR_TOKEN
from capi_async.sandbox.platforms.tiktok_shop.signing import request_sign, retired_sign
from tests.sandbox.shop import ORDER, ORDERS, US, Caller, sign

SECRET, KEY, AT = "e59af819cc", "68xu9ks5p4i8", 1_696_909_648
COMMON = {"app_key": KEY, "timestamp": str(AT), "shop_cipher": US}
PAGED = {
    "page_size": "50",
    "page_token": "aDU2dHIzZWxCWlZ2+2/Zk==",
    "sort_field": "create_time",
    "sort_order": "ASC",
}
SEARCH = b'{"order_status":"AWAITING_SHIPMENT","create_time_ge":1696300000,"create_time_lt":1696909600}'
PACKAGE = b'{"event_type":"PACKAGE_UPDATE","address":"https://partner.tiktokshop.com"}'
PACKAGE_TURNED = b'{"address":"https://partner.tiktokshop.com","event_type":"PACKAGE_UPDATE"}'
STOCK = b'{"skus":[{"id":"1729592969712207012","inventory":[{"warehouse_id":"7068517275539719942","quantity":100}]}]}'
TITLE = '{"title":"Café – ピカチュウ"}'.encode()
TITLE_ESCAPED = b'{"title":"Caf\\u00e9 \\u2013 \\u30d4\\u30ab\\u30c1\\u30e5\\u30a6"}'
SHOPS, HOOKS = "/authorization/202309/shops", "/event/202309/webhooks"
PRODUCT = "/product/202309/products/1729592969712207008"
PRODUCTS = "/product/202502/products/search"
FILES = "/affiliate_creator/202505/videos/video_files"
IDS = {"ids": "576461413038785752,576461413038785753"}
WITHOUT_CIPHER = {"app_key": KEY, "timestamp": str(AT)}

VECTORS = {
    "1": (SECRET, SHOPS, {"app_key": "29a39d", "timestamp": "1623812664"}, b"",
          "b596b73e0cc6de07ac26f036364178ab16b0a907af13d43f0a0cd2345f582dc8"),
    "2": (SECRET, HOOKS, COMMON, b"", "ed58e1b5e59865c22a7b828c1cab65007441f43cc91a6cb2f2cdc638e0995a37"),
    "3": (SECRET, HOOKS, COMMON, PACKAGE, "701dd6deb2389fe4c469b89bd37fc56f96a6da6afeb4d01c9077a65169752fa7"),
    "3a": (SECRET, HOOKS, COMMON, PACKAGE_TURNED, "cd0d6268252f4ba293bf7ea4c0a2873bf9beec600d22530638564ab301435f7a"),
    "4": (SECRET, ORDERS, COMMON | PAGED, SEARCH, "7b96ca892bb71ac74ca3d148fe3b22101c8de208d28e5417a7522fee1938f168"),
    "6": (SECRET, ORDER, COMMON | IDS, b"", "b97f28a073d68b4025d1ae615a46e00c74339730af691bad43b699f912137e1a"),
    "6a": (SECRET, ORDER, COMMON | IDS | {"access_token": "TTP_example", "sign": "deadbeef"}, b"",
           "b97f28a073d68b4025d1ae615a46e00c74339730af691bad43b699f912137e1a"),
    "7": (SECRET, f"{PRODUCT}/inventory/update", COMMON, STOCK,
          "976123281f1d28180c322bea57404e8739b1d7231f93fd2050c62b98b92215ed"),
    "8": (SECRET, PRODUCT, COMMON, TITLE, "24ab176f08fc07590b80847582c0ee3f4399893c7d94aed9c2d7f92812900a5c"),
    "8a": (SECRET, PRODUCT, COMMON, TITLE_ESCAPED, "2baed3dfe4e571d862f50aa9d947d421c91e3433bcad4705c1ff300e5e3be1ff"),
    "9": ("abc000def111", SHOPS, {"app_key": "123456", "timestamp": "1234567890"}, b"",
          "c8767e4fd7a1b48a0ce3fd23197f058159ce11b53f1ae1ad6d1ec931a1da5540"),
    "11": (SECRET, PRODUCTS, COMMON | {"page_size": "20"}, b'{"status":"ACTIVATE"}',
           "00abec05cc2147f748861095d7b1dd0f5fcf0c9e2f529e5fc362c6db2ebc257f"),
    "11a": (SECRET, PRODUCTS, COMMON | {"page_size": "20"}, b"{}",
            "e4eb91e6fd45ccc0e931eaa6e1f7e29a7154ec8b97c80e46b04ebae678acd406"),
    "12": ("app_secret", "/test-api", {"foo": "bar"}, b"",
           "d3cb7fe11ecae942802ceeca67e7cf10120cc12f1517d45fbc1c8cfe5413c80f"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_sandbox_computes_every_vector(name):
    """Those of the documentation, of two SDKs, and those computed by hand."""
    secret, path, query, body, digest = VECTORS[name]
    assert request_sign(secret, path, query.items(), body, "application/json; charset=utf-8") == digest


def test_files_are_not_signed():
    """Vector 10: whatever the body, and with a boundary in the header."""
    query = WITHOUT_CIPHER.items()
    digest = "6d7e07e9666a5fed82f53354dc957a361a14f7c9ef29982bdb9583f4e9953d92"
    assert request_sign(SECRET, FILES, query, b"any", "multipart/form-data; boundary=b") == digest
    assert request_sign(SECRET, FILES, query, b"any", "application/json") != digest


def test_retired_style_is_another_digest():
    """The two of the sheet, for one and the same request."""
    query = WITHOUT_CIPHER | {"page_size": "10", "page_number": "1"}
    official = "246663ecbe782023a3d2637ce749146049cac60b41df26ce243cb5eb565cc5a7"
    retired = "283cb09b9ccf64abb5dffbb2cab4a171db9f7f3f843c8f8eade865a8fa02f680"
    assert request_sign(SECRET, "/api/products/search", query.items()) == official
    assert retired_sign(SECRET, "/api/products/search", query.items()) == retired


@pytest.fixture
async def vectors(start, clock) -> Caller:
    """A caller at the time of the vectors, with their app."""
    clock.now = float(AT)
    sender = await start(rates={"tiktok_shop": None})
    sender.sandbox.tiktok_shop.add_app(KEY, SECRET)
    return Caller(sender, key=KEY, secret=SECRET)


@pytest.mark.parametrize(
    ("digest", "code"),
    [
        ("7b96ca892bb71ac74ca3d148fe3b22101c8de208d28e5417a7522fee1938f168", 36009004),  # right: the token is unknown
        ("ae0e37167ffea3ad547b566d45f59df9534bd50d310899e67e984c52a17d8ef1", 106001),  # 4x: token signed encoded
        ("c5af982ea0907b924c4ba4d242391e28b5ba0c57170968c64a202be227e3e635", 106001),  # 5x: body encoded anew
        ("", 36009004),
        ("7B96CA892BB71AC74CA3D148FE3B22101C8DE208D28E5417A7522FEE1938F168", 106001),
    ],
)
async def test_wrong_vectors_do_not_verify(vectors, digest, code):
    """Over HTTP, with a token of ``+/=`` encoded in the URL and a body of its own bytes."""
    reply = await vectors.ask("POST", ORDERS, SEARCH, signed=digest, **PAGED)
    assert reply.body["code"] == code
    assert ("page_token" in reply.body["message"]) == (digest.startswith("7b96"))


async def test_signature_covers_the_bytes_of_a_unicode_body(caller):
    """As UTF-8 or escaped: whatever was sent is what was signed, and never the other."""
    plain = '{"buyer_user_id":"Café – ピカチュウ","nested":{"a":[1,{"ü":"€"}]}}'.encode()
    escaped = json.dumps(json.loads(plain)).encode()
    for body in (plain, escaped):
        reply = await caller.ask("POST", ORDERS, body, page_size="1")
        assert reply.body["code"] == 0
    query = caller.query(page_size="1")
    wrong = await caller.ask("POST", ORDERS, plain, signed=sign(caller.secret, ORDERS, query, escaped), page_size="1")
    assert (wrong.status, wrong.body["code"]) == (401, 106001)


async def test_prefix_is_not_part_of_the_signed_path(caller):
    """The sandbox's prefix stands for the host."""
    reply = await caller.get(SHOPS, shop_cipher=...)
    assert reply.body["code"] == 0
    query = caller.query(shop_cipher=...)
    wrong = sign(caller.secret, f"/tiktok_shop{SHOPS}", query)
    assert (await caller.ask("GET", SHOPS, signed=wrong, shop_cipher=...)).body["code"] == 106001


@pytest.mark.parametrize(
    ("seconds", "fits"), [(-300, True), (-301, False), (30, True), (31, False), (-600, False), (600, False)]
)
async def test_timestamp_may_be_five_minutes_old_or_thirty_seconds_ahead(caller, clock, seconds, fits):
    """A fast clock fails sooner than a slow one."""
    reply = await caller.get(SHOPS, shop_cipher=..., timestamp=str(int(clock.now) + seconds))
    assert reply.body["code"] == (0 if fits else 36009004)
    assert fits or (reply.status == 401 and "timestamp" in reply.body["message"])


@pytest.mark.parametrize(
    ("changes", "status", "code", "word"),
    [
        ({"app_key": "nobody"}, 401, 36009004, "app_key"),
        ({"app_key": ...}, 401, 36009004, "app_key"),
        ({"timestamp": ...}, 401, 36009004, "timestamp"),
        ({"timestamp": "1790000000000"}, 401, 36009004, "timestamp"),
        ({"shop_cipher": ...}, 400, 106013, "shop_cipher"),
        ({"shop_cipher": "ROW_unknown"}, 403, 101000, "shop_cipher"),
        ({"shop_cipher": "ROW_GBR0gAAAother0r4eAZddJTt9eMO"}, 403, 101000, "do not match"),
        ({"headers": {"x-tts-access-token": ""}}, 401, 36009004, "access-token"),
        ({"headers": {"x-tts-access-token": "nonsense"}}, 401, 36009004, "access-token"),
        ({"headers": {"x-tts-access-token": CREATOR_TOKEN}}, 403, 101000, "user type"),
        ({"headers": {"x-tts-access-token": ""}, "access_token": "sandbox-token"}, 401, 36009004, "access-token"),
        ({"page_size": "101"}, 400, 36009004, "param page_size"),
        ({"page_size": ...}, 400, 36009004, "param page_size"),
        ({"sort_field": "price"}, 400, 36009004, "param sort_field"),
        ({"page_token": "x"}, 400, 36009004, "param page_token"),
        ({"body": b'{"order_status":"PAID"}'}, 400, 36009004, "param order_status"),
        ({"body": b"[]"}, 400, 36009004, "param body"),
        ({"body": b"{"}, 400, 36009004, "param body"),
        ({"body": b"a=1", "headers": {"Content-Type": "text/plain"}}, 415, 36009022, "Content-Type"),
    ],
)
async def test_what_is_wrong_is_told_with_its_code(caller, changes, status, code, word):
    """36009004 covers credentials and parameters alike; only the text tells them apart."""
    reply = await caller.ask("POST", ORDERS, **{"body": b"{}", "page_size": "1", **changes})
    assert (reply.status, reply.body["code"]) == (status, code)
    assert word in reply.body["message"]
    assert reply.body["request_id"]
    assert "data" not in reply.body
    assert caller.sender.sandbox.details()["tiktok_shop"]["refused_requests"] == {str(code): 1}


async def test_cipher_is_refused_where_it_is_not_wanted(caller):
    """The code of bad credentials, with a text about an identifier."""
    reply = await caller.get(SHOPS)
    assert (reply.status, reply.body["code"]) == (400, 36009004)
    assert reply.body["message"] == "Unexpected identifier: shop_cipher"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/order/202309/nothing", 404, 36009009),
        ("GET", ORDERS, 405, 36009010),
        ("POST", "/order/202001/orders/search", 400, 36009014),
        ("GET", "/api/orders", 404, 36009009),
    ],
)
async def test_path_method_and_version_have_codes_of_their_own(caller, method, path, status, code):
    """HTTP 404 here is no missing order."""
    reply = await caller.ask(method, path)
    assert (reply.status, reply.body["code"]) == (status, code)


async def test_scope_is_checked(caller):
    """A token holds what was granted and no more."""
    caller.token = caller.shop.grant(scopes=("seller.authorization.info",)).access_token
    assert (await caller.get(SHOPS, shop_cipher=...)).body["code"] == 0
    reply = await caller.post(ORDERS, page_size="1")
    assert (reply.status, reply.body["code"]) == (403, 105005)
    assert "seller.order.info" in reply.body["message"]


async def test_token_of_another_app_is_invalid(caller):
    """Each app has its own authorization."""
    caller.shop.add_app("other", "secret")
    caller.token = caller.shop.grant(app_key="other").access_token
    assert (await caller.get(SHOPS, shop_cipher=...)).body["code"] == 36009004


async def test_eleventh_request_of_a_second_is_refused(start, clock):
    """Per app and shop, with the seconds to wait; another shop is not concerned."""
    caller = Caller(await start())
    for _ in range(10):
        assert (await caller.get(ORDER, ids="1")).body["code"] == 0
    refused = await caller.get(ORDER, ids="1")
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (429, 36009002, "1")
    caller.cipher = caller.shop.shop("JP").cipher
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0
    clock.now += 1
    caller.cipher = US
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0
    caller.sender.sandbox.set_rate("tiktok_shop", Rate(1, 60.0))
    await caller.get(ORDER, ids="1")
    assert (await caller.get(ORDER, ids="1")).headers["Retry-After"] == "60"


async def test_refusals_can_come_with_http_200(start):
    """Then the code is all there is."""
    caller = Caller(await start(readings={"tiktok_shop": "http_200"}, rates={"tiktok_shop": 1}))
    await caller.get(ORDER, ids="1")
    for reply, code in (
        (await caller.get(ORDER, ids="1"), 36009002),
        (await caller.get(SHOPS), 36009004),
        (await caller.get(ORDER, signed="0" * 64, ids="1"), 106001),
    ):
        assert (reply.status, reply.body["code"]) == (200, code)


async def test_failures_on_purpose_come_after_the_checks(caller):
    """So many times, on so much of the paths, with the code and status asked for."""
    caller.shop.fail(36009003, status=200, path="/order", count=2)
    caller.shop.fail(36009002, retry_after_s=1.2)
    assert (await caller.get(ORDER, signed="0" * 64, ids="1")).body["code"] == 106001
    replies = [await caller.get(ORDER, ids="1") for _ in range(4)]
    assert [(reply.status, reply.body["code"]) for reply in replies] == [
        (200, 36009003),
        (200, 36009003),
        (429, 36009002),
        (200, 0),
    ]
    assert replies[2].headers["Retry-After"] == "2"
    caller.shop.fail(36009007, count=None)
    caller.shop.clear_failures()
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0


async def test_failures_on_purpose_spare_the_token_host_unless_it_is_named(caller):
    """A refresh in between must not use up what was meant for a call."""
    grant = caller.shop.grant()
    caller.shop.fail(36009002)
    assert (await caller.refresh(grant.refresh_token)).body["code"] == 0
    caller.shop.fail(36009033, status=200, path="/api/v2/token", message="IP address is not allowed")
    reply = await caller.exchange(code := caller.shop.authorize())
    assert (reply.status, reply.body["code"]) == (200, 36009033)
    assert (await caller.exchange(code)).body["code"] == 0


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (400, 36009004, "parameters"),
        (401, 36009004, "credentials"),
        (403, 105005, "denied"),
        (422, 36009004, "parameters"),
        (429, 36009002, "Too many"),
        (502, 36009003, "Internal"),
    ],
)
async def test_status_fault_has_the_code_that_goes_with_it(caller, status, code, text):
    """So that a client may decide by either."""
    caller.sender.sandbox.fault("tiktok_shop", "status", status=status)
    reply = await caller.get(ORDER, ids="1")
    assert (reply.status, reply.body["code"]) == (status, code)
    assert text in reply.body["message"]


async def test_calls_are_kept_as_they_came(caller):
    """For tests that look at what a client really sent."""
    await caller.post(ORDERS, {"order_status": "UNPAID"}, page_size="1")
    (call,) = caller.shop.calls
    assert (call.method, call.path, call.status, call.code) == ("POST", ORDERS, 200, 0)
    assert (json.loads(call.body), call.query["page_size"]) == ({"order_status": "UNPAID"}, "1")
    assert call.query["sign"] == sign(caller.secret, ORDERS, call.query, call.body)
    await caller.post(ORDERS, {"buyer_user_id": "x" * 50_000}, page_size="1")
    assert len(caller.shop.calls[-1].body) == 16_384


async def test_general_faults_befall_the_shop_in_its_own_shape(caller):
    """And may be narrowed to a part of the paths."""
    sandbox = caller.sender.sandbox
    sandbox.fault("tiktok_shop", "status", status=503, path="/order", count=1, retry_after_s=3)
    assert (await caller.get(SHOPS, shop_cipher=...)).body["code"] == 0
    reply = await caller.get(ORDER, ids="1")
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, 36009003, "3")
    sandbox.fault("tiktok_shop", "reset_after", count=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.post(ORDERS, page_size="1")  # a GET would be repeated by the HTTP library
    assert sandbox.stats()["tiktok_shop"].requests == 3
    assert len(caller.shop.calls) == 2
    assert sandbox.faults()[0] == Fault(platform="tiktok_shop", kind="status", path="/order", count=1, retry_after_s=3)


async def test_too_large_a_body_is_refused_in_the_envelope(caller):
    """Before it is looked at."""
    url = caller.sender.sandbox.url("tiktok_shop") + ORDERS
    reply = await caller.sender.ask("POST", url, data=io.BytesIO(b"x" * 32_000_001))
    assert (reply.status, reply.body["code"]) == (413, 36009021)


async def test_same_seed_gives_the_same_shops(start):
    """Orders, ids and request ids."""
    seen = []
    for seed in (3, 3, 4):
        caller = Caller(await start(seed=seed))
        reply = await caller.post(ORDERS, page_size="50")
        caller.shop.place_order()
        seen.append((reply.body, [order.id for order in caller.shop.orders()]))
    assert seen[0] == seen[1] != seen[2]


async def test_clear_leads_back_to_the_demo_data(caller):
    """And the sender of webhooks lives on."""
    before = len(caller.shop.orders())
    caller.shop.place_order()
    caller.shop.grant()
    caller.sender.sandbox.clear()
    assert (len(caller.shop.orders()), caller.shop.grants()) == (before, [])
    await caller.shop.webhooks.idle()


def test_unknown_readings_are_refused():
    """With those that there are."""
    with pytest.raises(ValueError, match="sparse_search"):
        Sandbox(readings={"tiktok_shop": "nope"})


async def test_many_calls_at_once_are_all_answered(caller):
    """No state is torn by concurrency."""
    replies = await asyncio.gather(*(caller.get(ORDER, ids="1") for _ in range(50)))
    assert {reply.body["code"] for reply in replies} == {0}
    assert len({reply.body["request_id"] for reply in replies}) == 50
