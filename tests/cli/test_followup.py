"""``capi-async followup``: a spool file that a process delivered from, the platforms' later answers, a table."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from capi_async import ClickIds, Client, Event, User
from capi_async.event import Page
from capi_async.sandbox import Sandbox
from tests.cli.conftest import Run


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A file of three accounts in a sandbox, and a spool that three events were delivered from."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox()
    asyncio.run_coroutine_threadsafe(sandbox.__aenter__(), loop).result()
    file = tmp_path / "capi.toml"
    file.write_text(
        f'spool = "sqlite:///{tmp_path / "events.db"}"\nlinger_s = 0.0\n'
        '[destinations.google_ads]\ncustomer_id = "123-456-7890"\naccess_token = "sandbox-token"\n'
        f'base_url = "{sandbox.url("google_ads")}"\n'
        '[destinations.google_ads.conversions]\npurchase = "987654321"\n'
        '[destinations.snap]\npixel_id = "00000000-0000-4000-8000-000000000001"\naccess_token = "sandbox-token"\n'
        f'base_url = "{sandbox.url("snap")}"\n'
        '[destinations.reddit]\npixel_id = "t2_abc"\naccess_token = "sandbox-token"\n'
        f'base_url = "{sandbox.url("reddit")}"\n'
    )
    file.chmod(0o600)
    asyncio.run(_deliver(file))
    yield file
    asyncio.run_coroutine_threadsafe(sandbox.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _deliver(config: Path) -> None:
    person = User(email="secret.person@mail.example")
    shop = Page(url="https://shop.example/thanks")
    clicks = (ClickIds(), ClickIds(), ClickIds(gclid="unknown-1"))
    async with Client.from_config(config) as client:
        events = [
            Event("purchase", order_id=str(number), user=person, click=click, page=shop, value=1, currency="EUR")
            for number, click in enumerate(clicks)
        ]
        for receipt in await client.send_many(events):
            outcomes = await receipt.outcomes(timeout_s=10)
            assert {one.kind for one in outcomes.values()} == {"delivered"}, outcomes


def test_a_table_of_80_columns_says_what_became_of_delivered_events(run: Run, config: Path) -> None:
    """In another process than the one that sent them; a platform that tells nothing is named with where to look."""
    ran = run("followup", "--since", "1h", "--config", config)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    table = lines[: next(at for at, line in enumerate(lines) if line.startswith("google_ads: "))]
    assert all(len(line.rstrip()) <= 80 for line in table)
    text = " ".join(" ".join(table).split())
    assert "987654321) 2 matched" in text
    assert "1 refused CLICK_NOT_FOUND" in text
    assert "3 received" in text
    assert "requests answered: 1, with 3 delivered events" in ran.out
    assert "reddit: tells nothing after delivery by its API; see Events Manager" in ran.out
    assert "secret.person" not in ran.out


def test_the_same_as_json(run: Run, config: Path) -> None:
    found = {one["destination"]: one for one in run("followup", "--config", config, "--json").json}
    assert found["google_ads"]["events"] == 3
    assert {(one["kind"], one["events"], one["reason"]) for one in found["google_ads"]["told"]} == {
        ("matched", 2, ""),
        ("refused", 1, "CLICK_NOT_FOUND"),
    }
    assert found["reddit"]["told"] == []
    assert found["reddit"]["tells"].startswith("tells nothing")


def test_what_was_not_asked_about_ends_with_1(run: Run, config: Path) -> None:
    """Here because nobody says where the ids of delivered requests are."""
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith("spool")))
    ran = run("followup", "--config", config, "--to", "google_ads")
    assert ran.code == 1
    assert "not told: the ids of its delivered requests are not known here: name the durable spool" in ran.out
    spool = f"sqlite:///{config.parent / 'events.db'}"
    ran = run("followup", "--config", config, "--to", "google_ads", "--spool", spool)
    assert ran.code == 0, ran.out
    ran = run("followup", "--config", config, "--to", "google_ads", "--spool", spool, "--since", "2999-01-01")
    assert (ran.code, "matched" in ran.out) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "--since needs an age such as 90m, 24h or 7d"),
        (("--spool", "sqlite:////nowhere/events.db"), "there is no such file"),
        (("--to", "nobody"), "--to: no destination nobody"),
    ],
)
def test_a_wrong_command_ends_with_2(run: Run, config: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = run("followup", "--config", config, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
