"""TikTok Shop: the authorize page and the token host."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, CREATOR_TOKEN, SERVICE_ID
from tests.sandbox.shop import ORDER, Caller

SHOPS = "/authorization/202309/shops"
DAY = 86_400
BACK = "https://app.example/callback?tenant=7"


async def link(caller: Caller, path: str = "/open/authorize", **query: str):
    """Open an authorize link, as a browser does."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return await caller.sender.ask("GET", f"/tiktok_shop{path}?{text}")


def answer(reply) -> dict[str, str]:
    """The query of the address that a redirect leads to."""
    assert reply.status == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(reply.headers["Location"]).query).items()}


async def test_seller_comes_back_with_code_and_state(caller):
    """To the address in the app's settings, whose own query stays."""
    caller.shop.app.redirect_url = BACK
    reply = await link(caller, service_id=SERVICE_ID, state="a%2Bb", redirect_uri="https://evil.example")
    assert reply.headers["Location"].startswith("https://app.example/callback?tenant=7&code=")
    assert answer(reply) == {"tenant": "7", "code": answer(reply)["code"], "state": "a+b"}
    tokens = (await caller.exchange(answer(reply)["code"])).body["data"]
    assert tokens["user_type"] == 0
    caller.token = tokens["access_token"]
    assert len((await caller.data("GET", SHOPS, shop_cipher=...))["shops"]) == 4


@pytest.mark.parametrize("consent", ["refuse", "decision"])
async def test_refusal_comes_back_as_code_null(caller, consent):
    """As the page is told, or by its button; the text is no code."""
    caller.shop.app.redirect_url = BACK
    more = {}
    if consent == "refuse":
        caller.shop.consent = "refuse"
    else:
        more = {"decision": "refuse"}
    query = answer(await link(caller, service_id=SERVICE_ID, state="s", **more))
    assert query == {"tenant": "7", "code": "null", "error": "auth_denied", "state": "s"}
    assert (await caller.exchange("null")).body["code"] == 36004004


async def test_app_store_sends_no_state(caller):
    """An authorization that began elsewhere."""
    caller.shop.app.redirect_url = BACK
    caller.shop.consent = "without_state"
    assert set(answer(await link(caller, service_id=SERVICE_ID, state="s"))) == {"tenant", "code"}
    with pytest.raises(ValueError, match="consent"):
        caller.shop.consent = "maybe"


async def test_page_asks_when_told_to(caller):
    """Two links, which carry everything on, escaped."""
    caller.shop.app.redirect_url = BACK
    caller.shop.consent = "ask"
    page = await link(caller, service_id=SERVICE_ID, state="%3Cscript%3E")
    assert page.status == 200
    assert "<script" not in page.body
    href = page.body.split('href="')[1].split('"')[0].replace("&amp;", "&")
    reply = await caller.sender.ask("GET", f"/tiktok_shop/open/authorize{href}")
    assert answer(reply)["state"] == "<script>"


async def test_older_and_creators_links_name_the_app_by_key(caller):
    """The creator gets tokens of another user type."""
    caller.shop.app.redirect_url = BACK
    for path, kind in (("/oauth/authorize", 0), ("/alliance/creator/auth", 1)):
        code = answer(await link(caller, path, app_key=APP_KEY, state="s"))["code"]
        assert (await caller.exchange(code)).body["data"]["user_type"] == kind
    for path in ("/oauth/authorize", "/open/authorize"):
        assert (await link(caller, path, app_key="nobody")).status == 400
    assert (await link(caller, service_id=SERVICE_ID, seller="nobody")).status == 400
    assert (await link(caller, service_id=SERVICE_ID, decision="maybe")).status == 400


@pytest.mark.parametrize("there", ["https://evil.example/", "javascript:alert(1)", "http://127.0.0.1.evil.example/"])
async def test_codes_go_to_this_machine_only_while_the_app_has_no_address(caller, there):
    """A link of anybody's making must not carry a code away: the page shows it instead."""
    reply = await link(caller, service_id=SERVICE_ID, redirect_uri=there)
    assert reply.status == 200
    assert "TTC_" in reply.body
    local = await link(caller, service_id=SERVICE_ID, redirect_uri="http://localhost:8000/callback", state="x")
    assert local.headers["Location"].startswith("http://localhost:8000/callback?code=TTC_")


async def test_exchange_gives_absolute_expiries(caller, clock):
    """Whatever the fields' names say."""
    reply = await caller.exchange(caller.shop.authorize())
    data = reply.body["data"]
    assert (reply.status, reply.body["code"], reply.body["message"]) == (200, 0, "success")
    assert data["access_token_expire_in"] == int(clock.now) + 7 * DAY
    assert data["refresh_token_expire_in"] == int(clock.now) + 365 * DAY
    assert set(data) == {
        "access_token", "access_token_expire_in", "refresh_token", "refresh_token_expire_in",
        "open_id", "seller_name", "seller_base_region", "user_type", "granted_scopes",
    }  # fmt: skip
    assert "seller.order.info" in data["granted_scopes"]


async def test_expiries_can_be_durations(start):
    """As some third parties believe."""
    caller = Caller(await start(readings={"tiktok_shop": "durations"}))
    data = (await caller.exchange(caller.shop.authorize())).body["data"]
    assert data["access_token_expire_in"] == 7 * DAY


async def test_code_works_once_and_for_thirty_minutes(caller, clock):
    """And for the app that asked for it."""
    code, late, foreign = (caller.shop.authorize() for _ in range(3))
    assert (await caller.exchange(code)).body["code"] == 0
    again = await caller.exchange(code)
    assert (again.status, again.body["code"], again.body["message"]) == (200, 36004004, "invalid auth code")
    assert "data" not in again.body
    caller.shop.add_app("other", "secret")
    assert (await caller.exchange(foreign, app_key="other", app_secret="secret")).body["code"] == 36004004
    clock.now += 1_799
    assert (await caller.exchange(foreign)).body["code"] == 0
    clock.now += 1
    assert (await caller.exchange(late)).body["code"] == 36004004


@pytest.mark.parametrize(
    "changes",
    [
        {"grant_type": "authorization_code"},
        {"app_secret": "wrong"},
        {"app_key": "nobody"},
        {"app_secret": ""},
        {"auth_code": ""},
    ],
)
async def test_wrong_parameters_leave_the_code_alone(caller, changes):
    """The usual name of the grant is wrong here."""
    code = caller.shop.authorize()
    query = {"auth_code": code, "grant_type": "authorized_code"} | changes
    reply = await caller.token_host("get", **query)
    assert (reply.status, reply.body["code"]) == (200, 98001004)
    assert caller.secret not in str(reply.body)
    assert (await caller.exchange(code)).body["code"] == 0


@pytest.mark.parametrize("path", ["get", "refresh"])
async def test_token_host_does_not_know_post(caller, path):
    """That belonged to the retired addresses, which are gone."""
    assert (await caller.token_host(path, "POST")).status == 404
    reply = await caller.sender.ask("POST", "/tiktok_shop/api/token/getAccessToken", json={})
    assert reply.status == 404


async def test_refresh_rotates_both_tokens(caller, clock):
    """The old pair is dead: its access token at the API, its refresh token at the token host."""
    old = caller.shop.grant()
    clock.now += 6 * DAY
    new = (await caller.refresh(old.refresh_token)).body["data"]
    assert {new["access_token"], new["refresh_token"]}.isdisjoint({old.access_token, old.refresh_token})
    assert new["access_token_expire_in"] == int(clock.now) + 7 * DAY
    assert new["refresh_token_expire_in"] == int(old.refresh_expires)
    caller.token = new["access_token"]
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0
    caller.token = old.access_token
    assert (await caller.get(ORDER, ids="1")).status == 401
    again = (await caller.refresh(old.refresh_token)).body
    assert (again["code"], again["message"]) == (36004005, "cannot find the authorization record")
    assert (await caller.refresh(new["refresh_token"])).body["code"] == 0


async def test_old_access_token_may_survive(start):
    """No source says; this is the other reading."""
    caller = Caller(await start(readings={"tiktok_shop": "old_access_survives"}))
    old = caller.shop.grant()
    await caller.refresh(old.refresh_token)
    caller.token = old.access_token
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0


async def test_reused_refresh_token_may_end_the_whole_authorization(start):
    """The strictest reading: two workers that refresh at once lock the shop out."""
    caller = Caller(await start(readings={"tiktok_shop": "reuse_revokes"}))
    old = caller.shop.grant()
    new = (await caller.refresh(old.refresh_token)).body["data"]
    assert (await caller.refresh(old.refresh_token)).body["code"] == 36004005
    caller.token = new["access_token"]
    assert (await caller.get(ORDER, ids="1")).body["code"] == 105001
    assert (await caller.refresh(new["refresh_token"])).body["code"] == 36004005


async def test_access_token_lapses_after_seven_days(caller, clock):
    """105002: refresh, and try again."""
    grant = caller.shop.grant()
    caller.token = grant.access_token
    clock.now += 7 * DAY - 1
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0
    clock.now += 1
    reply = await caller.get(ORDER, ids="1")
    assert (reply.status, reply.body["code"]) == (401, 105002)
    caller.token = (await caller.refresh(grant.refresh_token)).body["data"]["access_token"]
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0


async def test_tokens_can_be_made_to_lapse(caller):
    """All that were given out, or one of them; the token that everybody knows only by name."""
    one, other = caller.shop.grant(), caller.shop.grant("GB")
    assert caller.shop.expire_access(one.access_token) == 1
    caller.token = one.access_token
    assert (await caller.get(ORDER, ids="1")).body["code"] == 105002
    assert caller.shop.expire_access() == 2
    assert caller.shop.expire_refresh(other.access_token) == 1
    reply = (await caller.refresh(other.refresh_token)).body
    assert (reply["code"], reply["message"]) == (36004001, "refresh token has expired")
    assert (await caller.refresh(one.refresh_token)).body["code"] == 0
    caller.token = "sandbox-token"
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0
    caller.shop.expire_access("sandbox-token")
    assert (await caller.get(ORDER, ids="1")).body["code"] == 105002
    with pytest.raises(ValueError, match="no such access token"):
        caller.shop.expire_access("nonsense")


async def test_withdrawn_authorization_is_dead_everywhere(caller):
    """105001 at the API, no record at the token host; other sellers are not concerned."""
    grant, other = caller.shop.grant(), caller.shop.grant("GB")
    assert caller.shop.revoke(grant.access_token) == 1
    caller.token = grant.access_token
    reply = await caller.get(ORDER, ids="1")
    assert (reply.status, reply.body["code"]) == (401, 105001)
    assert (await caller.refresh(grant.refresh_token)).body["code"] == 36004005
    assert (await caller.refresh(other.refresh_token)).body["code"] == 0


async def test_known_refresh_token_is_never_used_up(caller):
    """So that examples may start twice."""
    for _ in range(2):
        data = (await caller.refresh("sandbox-token-refresh")).body["data"]
        assert data["access_token"] == "sandbox-token"
    assert (await caller.refresh(f"{CREATOR_TOKEN}-refresh")).body["data"]["user_type"] == 1


async def test_faults_can_be_set_on_the_token_host_alone(caller):
    """A refresh whose answer is lost: the pair has rotated all the same."""
    grant = caller.shop.grant()
    caller.sender.sandbox.fault("tiktok_shop", "truncate", path="/api/v2/token/refresh", count=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await caller.refresh(grant.refresh_token)
    assert (await caller.refresh(grant.refresh_token)).body["code"] == 36004005
    (left,) = caller.shop.grants()
    assert left.refresh_token != grant.refresh_token
