"""What goes wrong between a client and TikTok Shop: repeated where that is safe, named where it is not, and silent
about every secret."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from capi_async.errors import ClientClosed
from capi_async.limiter import TokenBucket
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sandbox.platforms.tiktok_shop.signing import request_sign, retired_sign
from capi_async.sources.tiktok_shop import (
    MemoryTokens,
    Shop,
    TikTokShop,
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopNetworkError,
    TikTokShopRateLimitError,
    TikTokShopServerError,
    TikTokShopValidationError,
    TokenSet,
)
from capi_async.sources.tiktok_shop.connection import Gate
from tests.engine.server import RESET, Got, Reply, Server, reply, serving
from tests.sources.connected import BACKOFF_S, connected
from tests.spool.redis_server import free_port

SECRET = "s3cr3t-app-0123456789"
TOKENS = TokenSet(
    access_token="TTP_access-token-0123456789",
    refresh_token="TTR_refresh-token-0123456789",
    access_expires_at=4_000_000_000,
)
CODE = "TTC_code-0123456789-0123456789"
CIPHER = "ROW_xkMbgAAAeVAQra0eZWebFQq5aIK"
SUCCESS = {"code": 0, "message": "Success", "request_id": "20220808094623", "data": {}}
LIMITED = {"code": 36009002, "message": "Too many requests", "request_id": "20220808094623"}

Call = Callable[[TikTokShop], Awaitable[object]]


@asynccontextmanager
async def asking(**settings: Any) -> AsyncIterator[tuple[TikTokShop, Server]]:
    """A client, and a server that answers it by script."""
    async with serving() as server:
        server.script = lambda _request: reply(200, SUCCESS)
        defaults = {
            "tokens": TOKENS, "shop": Shop(id="7", cipher=CIPHER), "base_url": server.url,
            "legacy_base_url": server.url, "requests_per_s": 1_000, "backoff_s": BACKOFF_S,
        }  # fmt: skip
        async with TikTokShop("key", SECRET, **{**defaults, **settings}) as shop:
            yield shop, server


def query_of(request: Got) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.path).query, keep_blank_values=True))


# Signatures, over what really left.


async def test_the_signature_covers_the_bytes_that_were_sent() -> None:
    """Nested, in four scripts, with a page token that has to be encoded in an address: read back from the wire, and
    checked by the sandbox's own reading of the rules."""
    body = {"título": {"内": ["ピカチュウ", "Café – ☕", {"deep": [1, {"er": "🎉"}]}]}, "quote": '"\\/'}
    query = {"page_token": "aDU2dHIzZWxCWlZ2+2/Zk==", "name": "Größe & 100 % ~?#", "empty": ""}
    async with asking() as (shop, server):
        await shop.call("POST", "/order/202309/orders/search", query=query, body=body, reads=True)
        (request,) = server.got
    sent = query_of(request)
    assert json.loads(request.raw) == body
    assert "ピカチュウ".encode() in request.raw
    assert sent.pop("sign") == request_sign(
        SECRET, "/order/202309/orders/search", sent.items(), request.raw, request.headers["content-type"]
    )
    assert (sent["page_token"], sent["name"], "empty" in sent) == (query["page_token"], query["name"], False)
    assert (sent["app_key"], sent["shop_cipher"]) == ("key", CIPHER)
    assert len(sent["timestamp"]) == 10
    assert request.headers["x-tts-access-token"] == TOKENS.access_token
    assert TOKENS.access_token not in request.path


async def test_a_forms_bytes_are_not_part_of_its_signature() -> None:
    """Its boundary is in the header, and its file whole in the body."""
    content = bytes(range(256)) * 800
    async with asking() as (shop, server):
        server.replies = [reply(200, {**SUCCESS, "data": {"video_file": {"id": "f1"}}})]
        await shop.upload_video(content, "t", product_ids=["1"], product_title="p")
        request = server.got[0]
    sent = query_of(request)
    assert "shop_cipher" not in sent
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert sent.pop("sign") == request_sign(SECRET, urlsplit(request.path).path, sent.items())
    boundary = request.headers["content-type"].partition("=")[2].encode()
    head, _, rest = request.raw.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary)
    assert b'name="data"' in head
    assert rest == content + b"\r\n--" + boundary + b"--\r\n"


async def test_a_get_has_no_body_and_a_list_is_one_parameter() -> None:
    """Joined by commas."""
    async with asking() as (shop, server):
        await shop.get_orders_by_id(["576461413038785752", "576461413038785753"])
        (request,) = server.got
    assert request.raw == b""
    assert query_of(request)["ids"] == "576461413038785752,576461413038785753"


async def test_the_older_contract_is_signed_its_own_way() -> None:
    """And only there."""
    async with asking() as (shop, server):
        await shop.delete_post("1")
        (request,) = server.got
    sent = query_of(request)
    assert sent["access_token"] == TOKENS.access_token
    assert "x-tts-access-token" not in request.headers
    assert "shop_cipher" not in sent
    sign = sent.pop("sign")
    assert sign == retired_sign(SECRET, "/api/content/post/delete", sent.items())


async def test_every_attempt_is_signed_anew() -> None:
    """A timestamp is good for five minutes, and waiting may take longer."""

    class Ticking:
        now = 1_700_000_000.0

        def wall(self) -> float:
            self.now += 1.0
            return self.now

        def monotonic(self) -> float:
            return asyncio.get_running_loop().time()

    async with asking(clock=Ticking()) as (shop, server):
        server.replies = [reply(500), reply(429, LIMITED)]
        await shop.get_orders()
        stamps = [query_of(request)["timestamp"] for request in server.got]
        signs = [query_of(request)["sign"] for request in server.got]
    assert len(set(stamps)) == len(set(signs)) == 3
    assert stamps == sorted(stamps)


# Repeats.


READ: Call = lambda shop: shop.get_orders()  # noqa: E731
SET: Call = lambda shop: shop.update_inventory("1", 5, "2")  # noqa: E731
PUBLISH: Call = lambda shop: shop.create_post("text")  # noqa: E731
DELETE: Call = lambda shop: shop.delete_video("1")  # noqa: E731

TROUBLE: dict[str, tuple[Reply, type[TikTokShopAPIError], dict[str, int]]] = {
    "429": (reply(429, LIMITED), TikTokShopRateLimitError, {"read": 4, "set": 4, "publish": 4, "delete": 4}),
    "rate limit with HTTP 200": (reply(200, LIMITED), TikTokShopRateLimitError, {"read": 4, "set": 4, "publish": 4}),
    "500": (reply(500), TikTokShopServerError, {"read": 3, "set": 3, "publish": 1, "delete": 1}),
    "502 with a page": (Reply(502, b"<html>"), TikTokShopServerError, {"read": 3, "set": 3, "publish": 1}),
    "reset": (RESET, TikTokShopNetworkError, {"read": 3, "set": 3, "publish": 1, "delete": 1}),
    "half an answer": (
        Reply(200, json.dumps(SUCCESS).encode(), cut=120), TikTokShopServerError, {"read": 3, "set": 1, "publish": 1},
    ),
    "200 with a page": (Reply(200, b"<html>"), TikTokShopServerError, {"read": 3, "set": 1, "publish": 1}),
    "200 without a code": (reply(200, {"data": {}}), TikTokShopServerError, {"read": 3, "set": 1, "publish": 1}),
    "timed out with HTTP 200": (
        reply(200, {"code": 36009007, "message": "timeout"}), TikTokShopServerError,
        {"read": 3, "set": 1, "publish": 1},
    ),
    "daily quota": (
        reply(200, {"code": 45101004, "message": "quota"}), TikTokShopRateLimitError,
        {"read": 1, "set": 1, "publish": 1},
    ),
    "caller's mistake with HTTP 500": (
        reply(500, {"code": 36009004, "message": "param x is missing"}), TikTokShopValidationError,
        {"read": 1, "set": 1, "publish": 1},
    ),
    "signature": (reply(401, {"code": 106001, "message": "sign"}), TikTokShopAuthError, {"read": 1, "set": 1}),
    "redirect": (reply(302, {}, Location="https://elsewhere.example"), TikTokShopAPIError, {"read": 1, "publish": 1}),
}  # fmt: skip
CALLS = {"read": READ, "set": SET, "publish": PUBLISH, "delete": DELETE}


@pytest.mark.parametrize(
    ("trouble", "what"), [(trouble, what) for trouble, (_, _, times) in TROUBLE.items() for what in times]
)
async def test_trouble_without_end_ends(trouble: str, what: str) -> None:
    """The number of requests is what was promised, and what may have been done is not done again."""
    answer, kind, times = TROUBLE[trouble]
    async with asking() as (shop, server):
        server.script = lambda _request: answer
        with pytest.raises(kind) as raised:
            await CALLS[what](shop)
        assert type(raised.value) is kind
        assert len(server.got) == times[what]


async def test_trouble_that_passes_is_not_seen() -> None:
    """Of every kind, in one call."""
    async with asking() as (shop, server):
        server.replies = [reply(429, LIMITED), reply(503), RESET, reply(200, LIMITED), Reply(200, b"<html>")]
        server.hang_up = 1
        await shop.get_orders()
        assert len(server.got) == 6


async def test_what_did_not_leave_is_sent_again_whatever_it_is() -> None:
    """A connection that was refused published nothing; here nobody listens at all."""
    async with serving() as server:
        port = server.port
    async with TikTokShop(
        "key", SECRET, tokens=TOKENS, base_url=f"http://127.0.0.1:{port}", legacy_base_url=f"http://127.0.0.1:{port}",
        backoff_s=BACKOFF_S,
    ) as lonely:  # fmt: skip
        with pytest.raises(TikTokShopNetworkError) as raised:
            await lonely.create_post("text")
    assert (raised.value.kind, raised.value.sent) == ("connect", False)


async def test_an_answer_that_never_comes_is_given_up() -> None:
    """After the time that was set."""
    async with asking(timeout_s=0.05) as (shop, server):
        server.script = lambda _request: Reply(until=asyncio.Event())
        with pytest.raises(TikTokShopNetworkError) as raised:
            await shop.create_post("text")
        assert (raised.value.kind, raised.value.sent) == ("timeout", True)
        assert len(server.got) == 1


async def test_a_long_retry_after_is_the_callers_to_wait() -> None:
    """And nothing more is sent for this shop until it is over."""
    async with asking() as (shop, server):
        server.script = lambda _request: reply(429, LIMITED, Retry_After="3600")
        with pytest.raises(TikTokShopRateLimitError) as raised:
            await shop.get_orders()
        assert raised.value.retry_after == 3600
        with pytest.raises(TikTokShopRateLimitError, match="nothing was sent") as again:
            await shop.get_orders()
        assert again.value.retry_after == pytest.approx(3600, abs=60)
        assert len(server.got) == 1
        other = shop.for_shop(Shop(id="8", cipher="ROW_other-cipher-8"))
        server.script = lambda _request: reply(200, SUCCESS)
        await other.get_orders()
        assert len(server.got) == 2


async def test_a_storm_of_429_slows_everybody_and_loses_no_call() -> None:
    """The sandbox's own rate, far below what is asked for: it is learned, and Retry-After is honoured."""
    async with connected(limited=True, requests_per_s=500, max_wait_s=30) as ends:
        ends.platform.fail(36009002, count=12)
        pages = await asyncio.gather(*(ends.shop.get_orders(page_size=1) for _ in range(8)), return_exceptions=True)
        refused = [page for page in pages if isinstance(page, BaseException)]
        assert all(isinstance(page, TikTokShopRateLimitError) for page in refused)
        assert ends.codes.count(36009002) >= 12
        # whoever asked four times in vain says so; the others got their page
        assert ends.codes.count(0) == len(pages) - len(refused) > 0
        assert (await ends.shop.get_orders(page_size=1)).items


async def test_calls_leave_at_the_rate_that_was_set() -> None:
    """One bucket per shop, and one per category that has a rate of its own."""
    async with asking(requests_per_s=1_000, burst=1, rates={"analytics": 2_000}) as (shop, server):
        await asyncio.gather(*(shop.get_orders() for _ in range(5)), shop.get_videos(), shop.get_products())
        await shop.for_shop(Shop(id="8", cipher="ROW_other-cipher-8")).get_orders()
        assert len(server.got) == 8
        gates = shop._link._gates
        assert set(gates) == {(CIPHER, ""), (CIPHER, "analytics"), ("ROW_other-cipher-8", "")}


async def test_a_gate_lets_through_in_order() -> None:
    """First come, first served, at the bucket's rate."""
    now = asyncio.get_running_loop().time
    gate = Gate(TokenBucket(rate=200, burst=1, now=now))
    served: list[int] = []

    async def come(number: int) -> None:
        await gate.enter(60)
        served.append(number)

    await asyncio.gather(*(come(number) for number in range(6)))
    assert served == list(range(6))


# Clocks.


class Skewed:
    """The machine's clock, wrong by some seconds."""

    def __init__(self, by_s: float) -> None:
        self.by_s = by_s

    def wall(self) -> float:
        return time.time() + self.by_s

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.mark.parametrize(("by_s", "words"), [(600.0, "s ahead"), (-600.0, "s behind"), (60.0, "s ahead")])
async def test_a_clock_that_is_wrong_is_named(by_s: float, words: str) -> None:
    """By ten minutes either way, or one minute ahead: the error says whose clock, and by how much."""
    async with connected(clock=Skewed(by_s)) as ends:
        with pytest.raises(TikTokShopAuthError) as raised:
            await ends.shop.get_orders()
        assert raised.value.clock
        assert "check this machine's clock" in str(raised.value)
        assert words in str(raised.value)
        assert len(ends.codes) == 1


async def test_a_clock_that_is_a_little_slow_does_no_harm() -> None:
    """Four minutes behind are within what the platform takes."""
    async with connected(clock=Skewed(-240.0)) as ends:
        assert (await ends.shop.get_orders()).items


# HTTP 200 with an error code, from the sandbox.


async def test_http_200_proves_nothing() -> None:
    """Every refusal comes with it, and is told apart by its code all the same."""
    async with connected(readings=("http_200",)) as ends:
        ends.platform.fail(36009002, count=1)
        assert (await ends.shop.get_orders()).items
        with pytest.raises(TikTokShopValidationError) as raised:
            await ends.shop.call("GET", "/order/202309/nothing")
        assert (raised.value.code, raised.value.http_status) == (36009009, 200)
        ends.platform.revoke()
        with pytest.raises(TikTokShopAuthError) as denied:
            await ends.shop.get_orders()
        assert (denied.value.code, denied.value.http_status) == (105001, 200)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(36009003, TikTokShopServerError), (12052910, TikTokShopValidationError), (101000, TikTokShopAuthError)],
)
async def test_codes_of_the_sandbox_are_of_their_class(code: int, kind: type[TikTokShopAPIError]) -> None:
    """With the platform's request id."""
    async with connected() as ends:
        ends.platform.fail(code, status=200, count=None)
        with pytest.raises(kind) as raised:
            await ends.shop.get_products()
        assert raised.value.request_id == ends.platform.calls[-1].request_id


async def test_a_missing_scope_is_named() -> None:
    """So that somebody can enable it."""
    async with connected() as ends:
        grant = ends.platform.grant(scopes=("seller.product.basic",))
        ends.shop._link.keeper._store = MemoryTokens()
        await ends.shop._link.keeper.adopt(
            TokenSet(access_token=grant.access_token, refresh_token="r", access_expires_at=4_000_000_000)
        )
        with pytest.raises(TikTokShopAuthError, match=r"seller\.order\.info"):
            await ends.shop.get_orders()


async def test_a_success_without_data_is_one_and_a_success_with_the_wrong_data_is_none() -> None:
    """An empty page is not invented."""
    async with asking() as (shop, server):
        for data in ({}, None):
            server.replies = [reply(200, {**SUCCESS, "data": data})] * 2
            await shop.update_inventory("1", 5, "2")
            assert (await shop.get_orders()).items == ()
        server.replies = [reply(200, {"code": 0})]
        await shop.update_inventory("1", 5, "2")
        for wrong in ("x", [], 5, {"orders": "x"}, {"orders": {"id": "1"}}):
            server.replies = [reply(200, {**SUCCESS, "data": wrong})]
            with pytest.raises(TikTokShopServerError, match="not what is documented"):
                await shop.get_orders()


# The general faults of the sandbox.


@pytest.mark.parametrize("kind", ["status", "reset_before", "reset_after", "truncate", "html"])
async def test_faults_that_pass_are_not_seen(kind: Any) -> None:
    """Two of each, and then the answer."""
    async with connected() as ends:
        ends.sandbox.fault("tiktok_shop", kind, count=2)
        assert (await ends.shop.get_orders()).items


# Secrets.


CLEAR = (SECRET, TOKENS.access_token, TOKENS.refresh_token, CODE, "TTP_renewed", "TTR_renewed", CIPHER, "sign=")
ECHO = f"bad request for {SECRET} {TOKENS.access_token} {TOKENS.refresh_token} {CIPHER} {CODE}"

ANSWERS: dict[str, Reply] = {
    "echo": reply(400, {"code": 36009004, "message": ECHO, "request_id": ECHO}),
    "echo of the token host": reply(200, {"code": 36004004, "message": ECHO, "request_id": ECHO}),
    "429": reply(429, {"code": 36009002, "message": ECHO}),
    "500": Reply(500, ECHO.encode()),
    "200 with a page": Reply(200, f"<html>{ECHO}</html>".encode()),
    "wrong types": reply(200, {"code": "x", "message": [ECHO], "data": {"products": ECHO}}),
    "reset": RESET,
    "no HTTP": Reply(200, b"", {"Bad\x00Header": "x"}),
    "redirect": reply(302, {}, Location=f"https://elsewhere.example/?{SECRET}"),
    "no answer": Reply(until=asyncio.Event()),
}


def shown_of(error: BaseException | None) -> str:
    """All that a person or a reporting tool can see of an error, also of those it is chained to."""
    texts = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        texts.append(f"{error} {error!r} {vars(error)!r} {''.join(traceback.format_exception_only(error))}")
        error = error.__cause__ or error.__context__
    return " ".join(texts)


@pytest.mark.parametrize("name", ANSWERS)
async def test_no_secret_leaves_by_an_error_or_a_log_line(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the platform says or does, at DEBUG, for API calls, the older contract, exchange and refresh."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def told(problem: BaseException) -> None:
        shown.append(shown_of(problem))

    lapsed = TokenSet(access_token=TOKENS.access_token, refresh_token=TOKENS.refresh_token, access_expires_at=1)
    for tokens in (TOKENS, lapsed):
        store = MemoryTokens(tokens)
        async with asking(tokens=store, timeout_s=0.05, on_token_problem=told) as (shop, server):
            server.script = lambda _request: ANSWERS[name]
            calls: list[Call] = [
                lambda shop: shop.get_orders(),
                lambda shop: shop.update_inventory("1", 5, "2"),
                lambda shop: shop.create_post("text"),
                lambda shop: shop.connect(CODE),
                lambda shop: shop.get_shops(),
            ]
            for call in calls:
                with pytest.raises(TikTokShopAPIError) as raised:
                    await call(shop)
                shown.append(shown_of(raised.value))
            shown += [repr(shop), repr(store), repr(shop._link), repr(shop._link.keeper), repr(shop._host)]
            assert server.got
    shown += [f"{record.getMessage()} {vars(record)!r}" for record in caplog.records]
    for text in shown:
        assert [clear for clear in CLEAR if clear in text] == []


@pytest.mark.parametrize("base_url", ["https://nonexistent.invalid", "http://127.0.0.1:1", "https://127.0.0.1:1"])
async def test_a_host_that_is_not_there_tells_nobody(base_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The HTTP library's own words hold the address, and the token host's address holds the app secret."""
    caplog.set_level(logging.DEBUG)
    async with TikTokShop("key", SECRET, tokens=TOKENS, base_url=base_url, backoff_s=BACKOFF_S) as shop:
        for call in (shop.connect(CODE), shop.get_shops()):
            with pytest.raises(TikTokShopNetworkError) as raised:
                await call
            text = shown_of(raised.value) + "".join(str(vars(record)) for record in caplog.records)
            assert [clear for clear in CLEAR if clear in text] == []


# Hosts.


async def test_a_closed_client_says_so() -> None:
    """Also by the handles that share its connection; closing twice is no trouble."""
    async with asking() as (shop, _server):
        other = shop.for_shop(Shop(id="8", cipher="ROW_other-cipher-8"))
        await shop.aclose()
        await shop.aclose()
        for one in (shop, other):
            with pytest.raises(ClientClosed):
                await one.get_orders()
            with pytest.raises(ClientClosed):
                await one.connect(CODE)


async def test_entering_and_leaving_may_happen_in_different_tasks() -> None:
    """As in pytest fixtures and the lifespans of web frameworks."""
    async with serving() as server:
        server.script = lambda _request: reply(200, SUCCESS)
        shop = TikTokShop("key", SECRET, tokens=TOKENS, shop=Shop(id="7", cipher=CIPHER), base_url=server.url)
        await asyncio.create_task(shop.__aenter__())
        await asyncio.create_task(shop.get_orders())  # type: ignore[arg-type]
        await asyncio.create_task(shop.aclose())


async def test_a_callers_session_is_used_and_not_closed() -> None:
    """It is theirs."""
    async with aiohttp.ClientSession() as session, asking(session=session) as (shop, server):
        await shop.get_orders()
        await shop.aclose()
        assert not session.closed
        assert len(server.got) == 1


async def test_a_client_of_another_loop_or_process_says_so() -> None:
    """Rather than hang: its sockets are somebody else's."""
    async with asking() as (shop, _server):
        await shop.get_orders()

        def elsewhere() -> str:
            with pytest.raises(ClientClosed) as raised:
                asyncio.run(shop.get_orders())  # type: ignore[arg-type]
            return str(raised.value)

        assert "another event loop" in await asyncio.to_thread(elsewhere)
        shop._known._process += 1
        with pytest.raises(ClientClosed, match="forked"):
            await shop.get_orders()


def test_one_client_lives_through_several_event_loops() -> None:
    """A script that calls asyncio.run twice."""

    async def once(shop: TikTokShop) -> None:
        async with Sandbox(port=port) as sandbox:
            sandbox.set_rate("tiktok_shop", None)
            await asyncio.gather(*(shop.get_orders() for _ in range(3)))
            await shop._http.aclose()

    tokens = TokenSet(access_token="sandbox-token", refresh_token="r", access_expires_at=4_000_000_000)
    us = Shop(id="7495540735365777507", cipher="ROW_xkMbgAAAeVAQra0eZWebFQq5aIK")
    port = free_port()
    base_url = f"http://127.0.0.1:{port}/tiktok_shop"
    shop = TikTokShop(APP_KEY, APP_SECRET, tokens=tokens, shop=us, base_url=base_url, burst=1)
    asyncio.run(once(shop))
    asyncio.run(once(shop))
