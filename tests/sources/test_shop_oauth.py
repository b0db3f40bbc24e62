"""A seller connects a shop: the link, the way back, the exchange, the refresh."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from capi_async.errors import ConfigError
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, SERVICE_ID
from capi_async.sources.tiktok_shop import (
    TikTokShop,
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopNetworkError,
    TikTokShopServerError,
    TokenSet,
    authorize_url,
    new_state,
    read_callback,
)
from capi_async.sources.tiktok_shop.oauth import TokenHost, creator_authorize_url
from capi_async.spec import Request, Secret
from capi_async.testing import ManualClock
from capi_async.transport import HttpTransport
from tests.engine.server import RESET, Reply, Server, reply, serving
from tests.sources.connected import BACKOFF_S, Connected, connected

OLD = TokenSet(access_token="TTP_old_access", refresh_token="TTR_old", access_expires_at=1)


# The link and the way back.


def test_the_link_names_the_service_and_the_state() -> None:
    """The current form with a service id, the older one without; a redirect address is not part of it."""
    assert authorize_url(service_id="7", state="abc") == (
        "https://services.tiktokshop.com/open/authorize?service_id=7&state=abc"
    )
    assert authorize_url(app_key="k", state="abc") == (
        "https://auth.tiktok-shops.com/oauth/authorize?app_key=k&state=abc"
    )
    us = authorize_url(service_id="7", state="abc", base_url="https://services.us.tiktokshop.com/")
    assert us == "https://services.us.tiktokshop.com/open/authorize?service_id=7&state=abc"
    assert creator_authorize_url(app_key="k", state="s") == (
        "https://shop.tiktok.com/alliance/creator/auth?app_key=k&state=s"
    )
    shop = TikTokShop("k", "secret", service_id="7")
    assert shop.generate_authorization_url("https://shop.example/back", "s") == shop.authorize_url("s")
    assert "shop.example" not in shop.authorize_url("s", "https://shop.example/back")
    for state in ("", "a b", "a&b=1", "é"):
        with pytest.raises(ConfigError):
            authorize_url(service_id="7", state=state)
    with pytest.raises(ConfigError):
        authorize_url(state="s")


def test_states_are_never_the_same_and_survive_the_trip() -> None:
    """Nobody can guess one."""
    states = {new_state() for _ in range(100)}
    assert len(states) == 100
    for state in states:
        assert parse_qs(urlsplit(authorize_url(service_id="7", state=state)).query)["state"] == [state]
        assert len(state) >= 32


def test_the_callback_gives_its_code_only_for_its_own_state() -> None:
    """From the query or from the whole address."""
    assert read_callback({"code": "TTC_1", "state": "s"}, expected_state="s") == "TTC_1"
    assert read_callback("https://x.example/cb?code=TTC_1&state=s", expected_state="s") == "TTC_1"
    assert read_callback("?code=a%2Bb&state=s", expected_state="s") == "a+b"
    assert read_callback("code=a%2Bb&state=s", expected_state="s") == "a+b"
    assert read_callback("https://[::1?code=c&state=s#code=x", expected_state="s") == "c"


REFUSED: list[tuple[dict[str, str], dict[str, Any], str]] = [
    ({"code": "c", "state": "other"}, {"expected_state": "s"}, "state is not the one"),
    ({"code": "c", "state": "é"}, {"expected_state": "s"}, "state is not the one"),
    ({"code": "c", "state": "s"}, {"expected_state": None}, "state is not the one"),
    ({"code": "c", "state": "other"}, {"expected_state": "s", "allow_missing_state": True}, "state is not the one"),
    ({"code": "c"}, {"expected_state": "s"}, "no state"),
    ({"code": "c", "state": ""}, {"expected_state": ""}, "no state"),
    ({"code": "null", "error": "auth_denied", "state": "s"}, {"expected_state": "s"}, "refused the authorization"),
    ({"code": "null", "state": "s"}, {"expected_state": "s"}, "no authorization code"),
    ({"state": "s"}, {"expected_state": "s"}, "no authorization code"),
]


@pytest.mark.parametrize(("query", "more", "words"), REFUSED)
def test_a_callback_that_is_not_right_is_refused(query: dict[str, str], more: dict[str, Any], words: str) -> None:
    """A wrong state, a missing one, a refusal, and a code that says null."""
    with pytest.raises(TikTokShopAuthError, match=words):
        read_callback(query, **more)


def test_a_missing_state_is_let_in_only_on_request() -> None:
    """Authorizations begun in the platform's app store carry none."""
    assert read_callback({"code": "c"}, expected_state=None, allow_missing_state=True) == "c"


async def follow(ends: Connected, state: str) -> str:
    """The address to which the platform sends the seller back."""
    ends.platform.app.redirect_url = "http://127.0.0.1:9/callback"
    async with aiohttp.ClientSession() as browser:
        answer = await browser.get(ends.shop.authorize_url(state), allow_redirects=False)
        return answer.headers["Location"]


async def test_a_seller_connects_a_shop() -> None:
    """From the link to the first call."""
    async with connected(tokens=None, shop=None) as ends:
        with pytest.raises(TikTokShopAuthError, match="no shop is connected"):
            await ends.shop.get_shops()
        assert ends.paths == []
        state = new_state()
        code = read_callback(await follow(ends, state), expected_state=state)
        tokens = await ends.shop.connect(code)
        assert tokens.seller_name == "Sandbox Seller"
        assert "seller.order.info" in tokens.granted_scopes
        assert await ends.shop.tokens() == tokens
        assert len(await ends.shop.get_shops()) == 4
        with pytest.raises(TikTokShopAuthError) as raised:
            await ends.shop.connect(code)
        assert (raised.value.code, raised.value.final) == (36004004, True)
        assert await ends.shop.get_shops(), "the tokens that were there are kept"


async def test_a_seller_refuses_or_comes_from_elsewhere() -> None:
    """Both are told by the callback."""
    async with connected(tokens=None) as ends:
        ends.platform.consent = "refuse"
        with pytest.raises(TikTokShopAuthError, match="refused"):
            read_callback(await follow(ends, "s1"), expected_state="s1")
        ends.platform.consent = "without_state"
        back = await follow(ends, "s2")
        with pytest.raises(TikTokShopAuthError, match="no state"):
            read_callback(back, expected_state="s2")
        assert await ends.shop.connect(read_callback(back, expected_state="s2", allow_missing_state=True))


async def test_null_is_no_code() -> None:
    """Nothing is sent for it."""
    async with connected(tokens=None) as ends:
        for code in ("null", ""):
            with pytest.raises(TikTokShopAuthError):
                await ends.shop.connect(code)
        assert ends.paths == []


# The token host.


@asynccontextmanager
async def token_host(clock: ManualClock | None = None) -> AsyncIterator[tuple[Server, TokenHost]]:
    """A server that answers by script, and the token host that asks it."""
    transport = HttpTransport(repeats=False)
    try:
        async with serving() as server:
            host = TokenHost(
                app_key="key",
                app_secret=Secret("s3cr3t-app"),
                transport=transport,
                base_url=server.url,
                clock=clock or ManualClock(wall=1_660_556_483),
                backoff_s=BACKOFF_S,
            )
            yield server, host
    finally:
        await transport.aclose()


def granted(**changes: Any) -> Reply:
    data = {
        "access_token": "TTP_new", "access_token_expire_in": 1660556783, "refresh_token": "TTR_new",
        "refresh_token_expire_in": 1691487031, "open_id": "7010", "seller_name": "Test shop",
        "seller_base_region": "ID", "user_type": 0, "granted_scopes": ["seller.order.info"], **changes,
    }  # fmt: skip
    return reply(200, {"code": 0, "message": "success", "data": data, "request_id": "20220808"})


async def test_both_calls_are_gets_with_everything_in_the_query() -> None:
    """Unsigned, and with the grant types as the platform spells them."""
    async with token_host() as (server, host):
        server.script = lambda _request: granted()
        tokens = await host.exchange("TTC_1 +/")
        await host.refresh(OLD)
        queries = [parse_qs(urlsplit(request.path).query) for request in server.got]
        assert [urlsplit(request.path).path for request in server.got] == ["/api/v2/token/get", "/api/v2/token/refresh"]
        common = {"app_key": ["key"], "app_secret": ["s3cr3t-app"]}
        assert queries[0] == {**common, "auth_code": ["TTC_1 +/"], "grant_type": ["authorized_code"]}
        assert queries[1] == {**common, "refresh_token": ["TTR_old"], "grant_type": ["refresh_token"]}
    assert (tokens.access_token, tokens.refresh_token, tokens.seller_base_region) == ("TTP_new", "TTR_new", "ID")


@pytest.mark.parametrize(
    ("value", "expires_at"),
    [(1_660_556_783, 1_660_556_783), (604_800, 1_660_556_483 + 604_800), (999_999_999, 1_660_556_483 + 999_999_999)],
)
async def test_an_expiry_is_an_instant_unless_it_is_too_small_for_one(value: int, expires_at: int) -> None:
    """The field's name promises a duration and the platform sends an instant; both are read."""
    async with token_host() as (server, host):
        server.script = lambda _request: granted(access_token_expire_in=value)
        tokens = await host.exchange("c")
    assert tokens.access_expires_at == expires_at
    assert tokens.refresh_expires_at == 1691487031
    assert tokens.expires_in(1_660_556_483) == expires_at - 1_660_556_483


async def test_both_readings_of_expiries_against_the_sandbox() -> None:
    """Instants and durations end up at the same second."""
    for readings in ((), ("durations",)):
        async with connected(tokens=None, readings=readings) as ends:
            tokens = await ends.shop.connect(ends.platform.authorize())
            assert tokens.access_expires_at == pytest.approx(ends.platform.grants()[-1].access_expires, abs=2)


REFUSALS: list[tuple[Reply, type[TikTokShopAPIError], int]] = [
    (reply(200, {"code": 36004004, "message": "invalid auth code", "request_id": "1"}), TikTokShopAuthError, 36004004),
    (reply(200, {"code": 36004005, "message": "cannot find", "data": None}), TikTokShopAuthError, 36004005),
    (reply(200, {"code": 36009033, "message": "IP"}), TikTokShopAuthError, 36009033),
    (reply(200, {"code": 0, "data": {}}), TikTokShopServerError, 0),
    (reply(200, {"code": 0, "data": None}), TikTokShopServerError, 0),
    (reply(200, {"message": "what"}), TikTokShopServerError, 0),
    (Reply(200, b"<html>"), TikTokShopServerError, 0),
    (Reply(502, b"<html>"), TikTokShopServerError, 0),
]


@pytest.mark.parametrize(("answer", "kind", "code"), REFUSALS, ids=lambda value: str(value)[:30])
async def test_a_refused_exchange_is_asked_once(answer: Reply, kind: type[TikTokShopAPIError], code: int) -> None:
    """A code works once: whatever comes back, it is not sent again."""
    async with token_host() as (server, host):
        server.script = lambda _request: answer
        with pytest.raises(kind) as raised:
            await host.exchange("TTC_1")
        assert (type(raised.value), raised.value.code) == (kind, code)
        assert len(server.got) == 1


async def test_an_exchange_whose_answer_is_lost_is_not_repeated() -> None:
    """The code may be used up."""
    async with token_host() as (server, host):
        server.script = lambda _request: RESET
        with pytest.raises(TikTokShopNetworkError) as raised:
            await host.exchange("TTC_1")
        assert raised.value.sent
        assert len(server.got) == 1


async def test_a_refresh_survives_trouble_of_the_host() -> None:
    """Two server errors and a rate limit; one lost answer, and no second."""
    async with token_host() as (server, host):
        server.script = lambda _request: granted()
        server.replies = [reply(500), reply(429, {"code": 36009002, "message": "slow"}), reply(503)]
        assert (await host.refresh(OLD)).refresh_token == "TTR_new"
        assert len(server.got) == 4
        server.replies = [RESET]
        assert (await host.refresh(OLD)).refresh_token == "TTR_new"
        assert len(server.got) == 6
        server.replies = [RESET] * 5
        with pytest.raises(TikTokShopNetworkError):
            await host.refresh(OLD)
        assert len(server.got) == 8
        server.replies = [reply(200, {"code": 36004005, "message": "cannot find the record"})]
        with pytest.raises(TikTokShopAuthError) as raised:
            await host.refresh(OLD)
        assert raised.value.final
        assert len(server.got) == 9


async def test_what_a_refresh_does_not_repeat_is_kept_from_the_old_pair() -> None:
    """Who the seller is does not change."""
    async with token_host() as (server, host):
        data = {"access_token": "TTP_new", "access_token_expire_in": 1660556783}
        server.script = lambda _request: reply(200, {"code": 0, "data": data})
        old = TokenSet(
            access_token="a", refresh_token="TTR_old", access_expires_at=1, open_id="7", granted_scopes=("x",)
        )
        tokens = await host.refresh(old)
    assert (tokens.refresh_token, tokens.open_id, tokens.granted_scopes) == ("TTR_old", "7", ("x",))


# Settings.


def test_from_env() -> None:
    """Two variables are needed, the address is optional; what is given wins."""
    env = {"TIKTOK_SHOP_APP_KEY": "key", "TIKTOK_SHOP_APP_SECRET": "s3cr3t-app"}
    assert "open-api.tiktokglobalshop.com" in repr(TikTokShop.from_env(env))
    here = {**env, "TIKTOK_SHOP_API_BASE_URL": "http://127.0.0.1:8787/tiktok_shop/"}
    shop = TikTokShop.from_env(here)
    assert "127.0.0.1:8787/tiktok_shop'" in repr(shop)
    assert shop.authorize_url("s").startswith("http://127.0.0.1:8787/tiktok_shop/")
    assert shop.creator_authorize_url("s").startswith("http://127.0.0.1:8787/tiktok_shop/")
    assert "8080" in repr(TikTokShop.from_env(here, base_url="http://127.0.0.1:8080"))
    for lacking in ({}, {"TIKTOK_SHOP_APP_KEY": "key"}, {"TIKTOK_SHOP_APP_KEY": "", "TIKTOK_SHOP_APP_SECRET": "x"}):
        with pytest.raises(ConfigError, match="TIKTOK_SHOP_APP"):
            TikTokShop.from_env(lacking)


async def test_the_token_host_of_a_sandbox_is_found_by_its_base_url() -> None:
    """A base URL that is not the platform's stands for its other hosts: no test reaches production by half."""
    async with Sandbox() as sandbox:
        url = sandbox.url("tiktok_shop")
        env = {
            "TIKTOK_SHOP_APP_KEY": APP_KEY,
            "TIKTOK_SHOP_APP_SECRET": APP_SECRET,
            "TIKTOK_SHOP_API_BASE_URL": url,
            "TIKTOK_SHOP_SERVICE_ID": SERVICE_ID,
        }
        async with TikTokShop.from_env(env) as shop:
            assert SERVICE_ID in shop.authorize_url("s")
            assert await shop.connect(sandbox.tiktok_shop.authorize())


@pytest.mark.parametrize(
    "settings",
    [
        {"app_key": ""}, {"app_secret": ""}, {"app_secret": "é"}, {"base_url": "http://shop.example"},
        {"base_url": "ftp://x"}, {"base_url": "https://x.example/?a=1"}, {"auth_base_url": "http://x.example"},
        {"legacy_base_url": "http://x.example"}, {"requests_per_s": 0}, {"burst": -1}, {"rates": {"order": 0}},
        {"timeout_s": 0}, {"max_wait_s": 0}, {"backoff_s": 0}, {"time_zone": "Mars/Olympus"},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_settings_are_refused_before_any_io(settings: dict[str, Any]) -> None:
    """With the setting's name, and without the secret."""
    given: dict[str, Any] = {"app_key": "key", "app_secret": "s3cr3t-app", **settings}
    with pytest.raises(ConfigError) as raised:
        TikTokShop(**given)
    assert "tiktok_shop" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_the_request_that_carries_the_secret_does_not_show_it() -> None:
    """It stands in the address."""
    request = Request("GET", "https://auth.tiktok-shops.com/api/v2/token/get?app_secret=s3cr3t-app", {})
    assert "s3cr3t" not in repr(request)
