"""What an error tracker finds in the frames and the context of an error: nothing that must not be told."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capi_async import CapiError, Client, Event, Page, User
from capi_async.config import from_env, load, make
from capi_async.destinations import Snap, SnapV2
from capi_async.destinations.snap import test_event_logs as event_logs
from capi_async.destinations.snap import test_event_stats as event_stats
from capi_async.destinations.snap import validate
from capi_async.sources.tiktok_shop import TikTokShop, TokenSet
from capi_async.spec import Secret
from tests.engine.server import Reply, serving

TOKEN = "PLANTEDTOKEN0123456789"
APP_SECRET = "PLANTEDSECRET0123456789"
REFRESH = "PLANTEDREFRESH0123456789"
PASSWORD = "PLANTEDPASSWORD"
EMAIL = "ada.planted@mail.example"
PLANTED = (TOKEN, APP_SECRET, REFRESH, PASSWORD, EMAIL)
PIXEL = "11111111-2222-3333-4444-555555555555"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its cause and its context, and theirs."""
    if error is not None:
        yield error
        yield from chain(error.__cause__)
        if error.__context__ is not error.__cause__:
            yield from chain(error.__context__)


def held(error: BaseException) -> list[str]:
    """Where something planted is found: in a local of the package's, or in another error that is attached."""
    found = []
    for one in chain(error):
        if any(word in f"{one!r} {vars(one)!r}" for word in PLANTED):
            found.append(repr(type(one)))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "capi_async" in frame.f_globals.get("__name__", ""):
                found += [
                    f"{frame.f_code.co_name}: {name}"
                    for name, value in frame.f_locals.items()
                    if any(word in repr(value) for word in PLANTED)
                ]
    return found


FILES = {
    "unknown option": f'spool = "redis://u:{PASSWORD}@h/0"\noverflow = "wat"\n[destinations.snap]\npixel_id = "x"\n'
    'access_token = "env:T"\n',
    "setting missing": '[destinations.snap]\naccess_token = "env:T"\n',
    "unknown setting": f'[destinations.snap]\npixel_id = "x"\naccess_token = "{TOKEN}"\nwat = 1\n',
    "wrong kind": f'[destinations.snap]\npixel_id = "x"\naccess_token = "{TOKEN}"\nlinger_s = "{TOKEN}"\n',
    "variable missing": f'[destinations.snap]\npixel_id = "{TOKEN}"\naccess_token = "env:NONE"\n',
    "no TOML": f'[destinations.snap]\naccess_token = "{TOKEN}\n',
    "bad credential": f'[destinations.snap]\npixel_id = "x"\naccess_token = "{TOKEN}\\u00e4"\n',
    "no destinations": f'spool = "redis://u:{PASSWORD}@h/0"\n',
}


@pytest.mark.parametrize("fault", FILES)
def test_a_wrong_configuration_shows_no_setting(fault: str, tmp_path: Path) -> None:
    """Nor the environment, which holds everybody's secrets."""
    file = tmp_path / "capi.toml"
    file.write_text(FILES[fault])
    file.chmod(0o600)
    with pytest.raises(CapiError) as raised:
        load(file, {"T": TOKEN, "OTHER": APP_SECRET})
    assert held(raised.value) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: from_env({"SNAP_ACCESS_TOKEN": TOKEN, "OTHER": APP_SECRET}),
        lambda: make("snap", {"access_token": TOKEN}),
        lambda: make("wat", {"access_token": TOKEN}),
        lambda: Secret(f"{TOKEN}\n{TOKEN}"),
        lambda: Snap(pixel_id="x", access_token=f"'{TOKEN}'"),
    ],
)
def test_neither_do_destinations_made_by_hand(call: Callable[[], Any]) -> None:
    """The mistake is named, the credential is not."""
    with pytest.raises(CapiError) as raised:
        call()
    assert held(raised.value) == []


ANSWERS = {
    "refused": Reply(401, f'{{"status":"FAILED","reason":"{TOKEN} of {EMAIL}"}}'.encode()),
    "unreadable": Reply(200, f"<html>{TOKEN} {EMAIL}".encode()),
    "no HTTP": Reply(200, b"", {"Bad\x00Header": TOKEN}),
}
CALLS: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "logs": event_logs,
    "stats": event_stats,
    "validate": lambda snap, transport: validate(
        snap,
        transport,
        [Event("purchase", user=User(email=EMAIL), page=Page(url="https://s.example/"), value=1, currency="USD")],
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [Snap, SnapV2])
async def test_read_back_calls_show_no_token_and_no_answer(kind: Any, call: str, answer: str) -> None:
    """Their address holds the token, their answer may hold a person."""
    async with serving() as server:
        server.script = lambda _request: ANSWERS[answer]
        snap = kind(pixel_id=PIXEL, access_token=TOKEN, base_url=server.url)
        async with Client([snap]) as sender:
            with pytest.raises(CapiError) as raised:
                await CALLS[call](snap, sender.transport)
    assert held(raised.value) == []


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_shop_shows_no_secret(answer: str) -> None:
    """Neither to who called, nor to who is told of a problem with the tokens."""
    told: list[CapiError] = []
    async with serving() as server:
        server.script = lambda _request: ANSWERS[answer]
        tokens = TokenSet(
            access_token=TOKEN, refresh_token=REFRESH, access_expires_at=1, refresh_expires_at=9_999_999_999
        )
        async with TikTokShop(
            "key",
            APP_SECRET,
            tokens=tokens,
            base_url=server.url,
            auth_base_url=server.url,
            backoff_s=0.01,
            on_token_problem=lambda problem: told.append((problem, held(problem))),  # type: ignore[arg-type]
        ) as shop:
            raised: list[CapiError] = []
            for call in (shop.get_shops, lambda: shop.connect(TOKEN)):
                with pytest.raises(CapiError) as caught:
                    await call()
                raised.append(caught.value)
    assert [held(one) for one in raised] == [[], []]
    assert told
    assert [found for _, found in told] == [[] for _ in told]  # type: ignore[misc]
