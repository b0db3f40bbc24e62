"""``capi-async tiktok-shop``, against a sandbox."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from capi_async.cli.shop_forward import remembering
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, SERVICE_ID
from capi_async.sources.tiktok_shop.web import PATH
from tests.cli.conftest import ROOT, Run
from tests.integration.test_tiktok_shop import free_port
from tests.sources.forwarding import until

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()


@pytest.fixture
async def shops() -> AsyncIterator[Sandbox]:
    async with Sandbox(rates={"tiktok_shop": None}) as sandbox:
        yield sandbox


class Command:
    """The command as a process, in a folder of its own, with an app's credentials in its environment."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "capi.toml"
        self.config.write_text(
            f'[destinations.meta]\npixel_id = "1234567890"\naccess_token = "sandbox-token"\n'
            f'base_url = "{sandbox.url("meta")}"\n'
        )
        self.config.chmod(0o600)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TIKTOK_SHOP_")},
            "PYTHONPATH": str(ROOT),
            "TIKTOK_SHOP_APP_KEY": APP_KEY,
            "TIKTOK_SHOP_APP_SECRET": APP_SECRET,
            "TIKTOK_SHOP_SERVICE_ID": SERVICE_ID,
            "TIKTOK_SHOP_API_BASE_URL": sandbox.url("tiktok_shop"),
            "TIKTOK_SHOP_TOKENS_KEY": KEY,
        }

    async def start(self, *arguments: object, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "capi_async", "tiktok-shop", *map(str, arguments)),
            cwd=self.folder,
            env={**self._environment, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: object, **environment: str) -> tuple[int, str, str]:
        process = await self.start(*arguments, **environment)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def command(shops: Sandbox, tmp_path: Path) -> Command:
    return Command(shops, tmp_path)


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    """The next line on stderr that holds the text."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := (await process.stderr.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"ended without {text!r}")


async def agree(line: str) -> str:
    """Open the address that the command shows, as the seller would; where the platform leads then."""
    found = re.search(r"https?://\S+", line)
    assert found
    async with aiohttp.ClientSession() as browser, browser.get(found[0], allow_redirects=False) as answer:
        return answer.headers["Location"]


async def test_authorize_orders_and_forward_in_a_row(shops: Sandbox, command: Command) -> None:
    """Connected once, by pasting the address; listed; forwarded once, however often it is asked."""
    shops.tiktok_shop.app.redirect_url = "https://seller.example/callback"
    process = await command.start("authorize")
    returned = await agree(await line_with(process, "open this address"))
    assert returned.startswith("https://seller.example/callback?")
    out, err = await asyncio.wait_for(process.communicate(f"{returned}\n".encode()), 30)
    assert process.returncode == 0, err
    assert f"{shops.tiktok_shop.shop('US').id}  US" in out.decode()
    tokens = command.folder / "tiktok-shop.tokens"
    assert tokens.stat().st_mode & 0o077 == 0

    order = shops.tiktok_shop.place_order(value="59.39", paid=True)
    code, listed, err = await command.run("orders", "--shop", "US", "--json")
    assert code == 0, err
    found = {one["order"]: one for one in json.loads(listed)}
    assert (found[order.id]["value"], found[order.id]["counts"]) == ("59.39", "yes")

    forward = ("forward", "--share", "buyer_id", "--config", command.config, "--lookback", "0.01", "--once", "--json")
    first = await command.run(*forward, "--shop", "US")
    assert first[0] == 0, first[2]
    again = await command.run(*forward, "--shop", "US")
    assert json.loads(first[1])["orders"]["forwarded"] >= 1
    assert json.loads(again[1])["orders"]["forwarded"] == 0
    held = [one.event["event_id"].rpartition(":")[2] for one in shops.arrivals("meta")]
    assert held.count(order.id) == 1
    assert (command.folder / "tiktok-shop.db").exists()
    assert (command.folder / "tiktok-shop-events.db").exists()
    for shown in (out.decode(), listed, *first, *again):
        for secret in (APP_SECRET, KEY, "@chat.seller", order.raw["user_id"]):
            assert secret not in str(shown)


async def test_authorize_waits_for_the_seller_on_a_port(shops: Sandbox, command: Command) -> None:
    """And says no to whoever comes with nothing."""
    port = free_port()
    shops.tiktok_shop.app.redirect_url = f"http://127.0.0.1:{port}/callback"
    process = await command.start("authorize", "--port", port)
    link = await line_with(process, "open this address")
    await line_with(process, "Waiting on")
    async with aiohttp.ClientSession() as browser:
        async with browser.get(f"http://127.0.0.1:{port}/favicon.ico") as answer:
            assert answer.status == 404
        async with browser.get(await agree(link)) as answer:
            assert answer.status == 200
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err
    assert "Connected to" in out.decode()


async def test_authorize_goes_on_listening_after_a_visit_of_somebody_else(shops: Sandbox, command: Command) -> None:
    """A wrong state, none, an error of somebody else's making: the seller is still waited for, and gets through."""
    port = free_port()
    shops.tiktok_shop.app.redirect_url = f"http://127.0.0.1:{port}/callback"
    process = await command.start("authorize", "--port", port)
    link = await line_with(process, "open this address")
    await line_with(process, "Waiting on")
    returned = await agree(link)
    async with aiohttp.ClientSession() as browser:
        for query in ("code=theirs&state=wrong", "code=theirs", "error=access_denied&state=", "code=x&state=%FF"):
            async with browser.get(f"http://127.0.0.1:{port}/callback?{query}") as answer:
                assert answer.status == 400
        async with browser.get(returned) as answer:
            assert answer.status == 200
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err
    assert "Connected to" in out.decode()


async def test_authorize_works_against_a_sandbox_that_knows_nothing_of_it(shops: Sandbox, command: Command) -> None:
    """One that was started by itself, as the README says: it returns to the port, or shows what can be pasted."""
    port = free_port()
    process = await command.start("authorize", "--port", port)
    link = await line_with(process, "open this address")
    await line_with(process, "Waiting on")
    returned = await agree(link)
    assert returned.startswith(f"http://127.0.0.1:{port}/")
    async with aiohttp.ClientSession() as browser, browser.get(returned) as answer:
        assert answer.status == 200
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err
    assert "Connected to" in out.decode()

    process = await command.start("authorize", "--tokens", "other.tokens")
    found = re.search(r"https?://\S+", await line_with(process, "open this address"))
    assert found
    async with aiohttp.ClientSession() as browser, browser.get(found[0]) as answer:
        shown = re.search(r"<pre>(.*?)</pre>", await answer.text())
    assert shown
    out, err = await asyncio.wait_for(process.communicate(f"{html.unescape(shown[1])}\n".encode()), 30)
    assert process.returncode == 0, err
    assert "Connected to" in out.decode()


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("returned", "said"),
    [("https://seller.example/?code=abc&state=another", "state"), ("", "state")],
)
def test_a_return_that_proves_nothing_is_refused(run: Run, tmp_path: Path, returned: str, said: str) -> None:
    """Another visit's state, an empty line; nothing is exchanged and nothing saved."""
    ran = run("tiktok-shop", "authorize", stdin=f"{returned}\n".encode())
    assert ran.code == 2
    assert said in ran.err
    assert not (tmp_path / "tiktok-shop.tokens").exists()


async def test_forward_takes_webhooks_until_it_is_told_to_end(shops: Sandbox, command: Command) -> None:
    """One line says where; Ctrl-C ends it in order, with the result."""
    shops.tiktok_shop.app.redirect_url = "https://seller.example/callback"
    process = await command.start("authorize")
    returned = await agree(await line_with(process, "open this address"))
    await asyncio.wait_for(process.communicate(f"{returned}\n".encode()), 30)
    port = free_port()
    process = await command.start(
        *("forward", "--share", "buyer_id", "--config", command.config, "--listen", f"127.0.0.1:{port}", "--json")
    )
    assert PATH in await line_with(process, "webhooks are taken")
    await line_with(process, "Ctrl-C")
    shops.tiktok_shop.webhooks.subscribe(f"http://127.0.0.1:{port}{PATH}")
    order = shops.tiktok_shop.place_order(paid=True)
    await shops.tiktok_shop.webhooks.idle()

    def held() -> list[str]:
        return [one.event["event_id"].rpartition(":")[2] for one in shops.arrivals("meta")]

    # an order that was not begun by then would wait in its file for the next start
    await until(lambda: order.id in held(), within_s=30)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err
    result: dict[str, Any] = json.loads(out)
    assert result["orders"]["webhooks"] == 2
    assert held().count(order.id) == 1
    assert "Traceback" not in err.decode()


async def test_forward_subscribes_its_webhooks_or_says_how(shops: Sandbox, command: Command) -> None:
    """Else a listener waits for what nobody sends."""
    process = await command.start("authorize")
    found = re.search(r"https?://\S+", await line_with(process, "open this address"))
    assert found
    async with aiohttp.ClientSession() as browser, browser.get(found[0]) as answer:
        shown = re.search(r"<pre>(.*?)</pre>", await answer.text())
    assert shown
    await asyncio.wait_for(process.communicate(f"{html.unescape(shown[1])}\n".encode()), 30)
    port = free_port()
    forward = ("forward", "--share", "buyer_id", "--config", command.config, "--shop", "US", "--json")
    listen = ("--listen", f"127.0.0.1:{port}")
    code, _, err = await command.run(*forward, *listen, "--once")
    assert code == 0, err
    assert "sends its webhooks nowhere" in err
    assert "--webhook-address https://" in err

    address = f"http://127.0.0.1:{port}{PATH}"
    process = await command.start(*forward, *listen, "--webhook-address", address, "--poll-every", "3600")
    await line_with(process, f"sends its webhooks to {address}")
    await line_with(process, "Ctrl-C")
    order = shops.tiktok_shop.place_order("US", paid=True)
    await until(lambda: any(order.id in one.event["event_id"] for one in shops.arrivals("meta")), within_s=30)
    process.send_signal(signal.SIGINT)
    out_bytes, err_bytes = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err_bytes
    assert json.loads(out_bytes)["orders"]["webhooks"] == 2


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An app's credentials in the environment, and a folder without tokens."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("APP_KEY", APP_KEY), ("APP_SECRET", APP_SECRET), ("TOKENS_KEY", KEY)):
        monkeypatch.setenv(f"TIKTOK_SHOP_{name}", value)


@pytest.mark.usefixtures("app")
def test_without_an_authorization_the_command_says_what_to_do(run: Run) -> None:
    """One line, before anything is asked of the platform."""
    ran = run("tiktok-shop", "orders")
    assert ran.code == 2
    assert "run capi-async tiktok-shop authorize" in ran.err


def test_all_that_is_missing_is_named_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one variable a time."""
    for name in ("APP_KEY", "APP_SECRET", "TOKENS_KEY"):
        monkeypatch.delenv(f"TIKTOK_SHOP_{name}", raising=False)
    ran = run("tiktok-shop", "orders")
    assert ran.code == 2
    for name in ("APP_KEY", "APP_SECRET", "TOKENS_KEY"):
        assert f"TIKTOK_SHOP_{name}" in ran.err


@pytest.mark.usefixtures("app")
def test_a_missing_key_is_told_of_with_its_recipe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are never kept in clear."""
    monkeypatch.delenv("TIKTOK_SHOP_TOKENS_KEY")
    ran = run("tiktok-shop", "orders")
    assert ran.code == 2
    assert "TIKTOK_SHOP_TOKENS_KEY" in ran.err
    assert "urandom(32)" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--once",), "--share nothing"),
        (("--once", "--share", "nothing", "--share", "email"), "excludes"),
        (("--once", "--share", "buyer_id", "--config", "x.toml"), "--sandbox and --config"),
        (("--once", "--share", "buyer_id", "--to", "nobody"), "no destination nobody"),
        (("--once", "--share", "buyer_id", "--shop", "XX"), "no shop XX"),
        (("--share", "buyer_id", "--listen", "8080"), "HOST:PORT"),
        (("--share", "buyer_id", "--webhook-address", "https://shop.example"), "--webhook-address needs --listen"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2."""
    ran = run("tiktok-shop", "forward", "--sandbox", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_the_sandbox_shows_what_forwarding_does(run: Run) -> None:
    """Without any account: what is skipped is told with its reason and is no loss."""
    ran = run("tiktok-shop", "forward", "--sandbox", "--once", "--share", "buyer_id")
    assert ran.code == 0
    assert "4 purchases forwarded" in ran.out
    assert re.search(r"^meta +4 +4 ", ran.out, re.MULTILINE)
    assert "snap: skipped: user: nobody to identify" in ran.out


def test_orders_show_nothing_of_a_buyer(run: Run) -> None:
    """Ids, states, amounts."""
    ran = run("tiktok-shop", "orders", "--sandbox", "--shop", "US", "--limit", "5")
    assert ran.code == 0
    assert "5 orders" in ran.out
    assert "@" not in ran.out
    for counts in ("yes", "never: cancelled", "later: not paid"):
        assert counts in ran.out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), ("authorize", "orders", "forward")),
        (("authorize",), ("TIKTOK_SHOP_APP_KEY", "--port N", "--tokens FILE")),
        (("orders",), ("--shop SHOP", "--days DAYS", "--json")),
        (("forward",), ("--share WHAT", "--listen HOST:PORT", "--once", "exit code is 0")),
    ],
)
def test_help_names_the_options(run: Run, command: tuple[str, ...], said: tuple[str, ...]) -> None:
    """Plain text."""
    ran = run("tiktok-shop", *command, "--help")
    assert ran.code == 0
    assert not [text for text in said if text not in ran.out]
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("sqlite:///a.db", "sqlite:///a.db?remember_days=7"),
        ("sqlite:///a.db?synchronous=normal", "sqlite:///a.db?synchronous=normal&remember_days=7"),
        ("sqlite:///a.db?remember_days=1", "sqlite:///a.db?remember_days=1"),
        ("memory", "memory"),
    ],
)
def test_the_spool_of_a_forwarder_remembers(given: str, found: str) -> None:
    """Unless it says itself for how long."""
    assert remembering(given) == found
