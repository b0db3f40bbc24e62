"""The switch between the platforms, a sandbox and nobody; and what callers' functions change of an event."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, ConfigError, Event, Page, SyncClient, User
from capi_async.destinations import CutMeShort, Meta, Pinterest, Snap, TikTok, destination_types
from capi_async.outcome import Outcome, Response
from capi_async.sandbox import Sandbox
from capi_async.spec import Destination
from capi_async.testing import RecordingTransport, assert_balanced
from tests.engine.acme import Acme

PIXEL = "11111111-2222-3333-4444-555555555555"


def purchase(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "order_id": "1001",
        "value": "72.39",
        "currency": "USD",
        "user": User(email="a@b.example", external_id="7"),
        "page": Page(url="https://shop.example/thanks"),
    }
    return Event("purchase", **(fields | changes))


def snap(**settings: Any) -> Snap:
    return Snap(**{"pixel_id": PIXEL, "access_token": "a-real-token", **settings})


async def sent(client: Client, event: Event) -> dict[str, Outcome]:
    async with client:
        receipt = await client.send(event)
        return dict(await receipt.outcomes(timeout_s=10))


async def test_in_the_sandbox_no_request_and_no_credential_leaves_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """Every platform takes the event, by its own strict rules; that it is not the real one is said once."""
    destinations = [
        snap(),
        Pinterest(ad_account_id="549755885175", access_token="a-real-token"),
        TikTok(pixel_code="C00000000000000000AB", access_token="a-real-token"),
        Meta(pixel_id="1234567890123456", access_token="a-real-token", app_secret="a-secret"),
        CutMeShort(token="a-real-token"),
    ]
    client = Client(destinations, mode="sandbox", linger_s=0)
    outcomes = await sent(client, purchase())
    assert {name: outcome.kind for name, outcome in outcomes.items()} == dict.fromkeys(outcomes, "delivered")
    assert client.sandbox is not None
    assert {one.platform for one in client.sandbox.arrivals()} == set(outcomes)
    assert all("sandbox.invalid" in one.base_url for one in client.destinations)
    assert "a-real-token" not in {one.secret().fixed for one in client.destinations}
    (said,) = [one.getMessage() for one in caplog.records if "mode" in one.getMessage()]
    assert "'sandbox'" in said
    assert "CAPI_ASYNC_MODE" in said


async def test_a_sandbox_at_an_address_is_used_over_http() -> None:
    """One that a team shares, or whose page somebody watches."""
    async with Sandbox() as sandbox:
        client = Client([snap()], mode="sandbox", sandbox_url=sandbox.base_url + "/", linger_s=0)
        assert client.sandbox is None
        assert (await sent(client, purchase()))["snap"].kind == "delivered"
        assert len(sandbox.arrivals("snap")) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://tr.snapchat.com",
        "https://eu.tr.snapchat.com/v3",
        "https://tr.snapchat.com./",
        "https://graph.facebook.com",
    ],
)
def test_a_platform_is_no_sandbox(url: str) -> None:
    """Whatever the environment says: nothing may reach it in this mode."""
    with pytest.raises(ConfigError, match=r"sandbox_url leads to .*(snapchat|facebook)"):
        Client([snap()], mode="sandbox", sandbox_url=url)


async def test_a_destination_that_the_sandbox_does_not_play_is_off(caplog: pytest.LogCaptureFixture) -> None:
    """Its host is real; so nothing is sent there."""
    client = Client([snap(), Acme(base_url="https://real.example")], mode="sandbox", linger_s=0)
    outcomes = await sent(client, purchase())
    assert outcomes["snap"].kind == "delivered"
    assert (outcomes["acme"].kind, outcomes["acme"].reason) == ("skipped", "the client is off")
    assert "does not play acme" in caplog.text


async def test_a_client_that_is_off_prepares_and_sends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the event is still told; explain says what would be sent."""
    transport = RecordingTransport()
    client = Client([snap()], mode="off", transport=transport, linger_s=0)
    async with client:
        good = await (await client.send(purchase())).outcomes(timeout_s=10)
        bad = await (await client.send(purchase(order_id="2", value=None, currency=None))).outcomes(timeout_s=10)
    assert (good["snap"].kind, good["snap"].reason) == ("skipped", "the client is off")
    assert (bad["snap"].kind, bad["snap"].field) == ("rejected", "value")
    assert client.explain(purchase())["snap"].wire is not None
    assert not transport.requests
    assert "nothing is sent" in caplog.text
    assert_balanced(client, pending=0)


@pytest.mark.parametrize("mode", ["off", "sandbox"])
async def test_what_a_durable_spool_holds_for_the_platforms_stays_there(tmp_path: Path, mode: Any) -> None:
    """It is neither sent to the sandbox nor ended."""
    spool = f"sqlite:///{tmp_path / 'events.db'}"
    async with Client([snap()], spool=spool, deliver=False) as client:
        await client.send(purchase())
    async with Client([snap()], spool=spool, mode=mode, linger_s=0) as client:
        assert await client.flush(timeout_s=10)
    transport = RecordingTransport(Response(status=200, body=b'{"status": "VALID"}'))
    async with Client([snap()], spool=spool, transport=transport, linger_s=0) as client:
        assert await client.flush(timeout_s=10)
        assert client.ledger()["snap"].delivered == 1
    assert len(transport.requests) == 1


async def test_the_environment_gives_the_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For clients of the environment and of a file; what the code says comes first."""
    config = tmp_path / "capi.toml"
    config.write_text(f'[destinations.snap]\npixel_id = "{PIXEL}"\naccess_token = "env:NOT_SET_ANYWHERE"\n', "utf-8")
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        Client.from_config(config)
    monkeypatch.setenv("CAPI_ASYNC_MODE", "Sandbox ")
    assert [one.name for one in Client.from_env().destinations] == destination_types()
    assert Client.from_config(config).destinations[0].account() == PIXEL
    assert (await sent(Client.from_config(config, linger_s=0), purchase()))["snap"].kind == "delivered"
    monkeypatch.setenv("SNAP_PIXEL_ID", PIXEL)
    assert [one.account() for one in Client.from_env().destinations] == [PIXEL]
    assert Client.from_env(mode="off").mode == "off"
    monkeypatch.setenv("CAPI_ASYNC_SANDBOX_URL", "http://127.0.0.1:8787")
    assert Client.from_env().destinations[0].base_url == "http://127.0.0.1:8787/snap"
    with SyncClient.from_env(mode="off") as client:
        assert client.send(purchase()).outcomes(timeout_s=10)["snap"].kind == "skipped"


def test_a_mode_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo must not send to the platforms."""
    monkeypatch.setenv("CAPI_ASYNC_MODE", "sandbx")
    with pytest.raises(ConfigError, match="CAPI_ASYNC_MODE is one of live, sandbox, off, not 'sandbx'"):
        Client.from_env()
    with pytest.raises(ConfigError, match="mode is one of live, sandbox, off"):
        Client([snap()], mode="test")  # type: ignore[arg-type]


def test_every_platform_reads_its_address_and_its_test_mode_from_the_environment() -> None:
    """By the name of its type."""
    from capi_async.config import from_env

    environ = {
        "SNAP_PIXEL_ID": PIXEL, "SNAP_ACCESS_TOKEN": "t", "SNAP_BASE_URL": "http://127.0.0.1:1/snap",
        "META_PIXEL_ID": "1000000000000001", "META_ACCESS_TOKEN": "t", "META_TEST_EVENT_CODE": "TEST1",
        "SNAP_TEST": "yes", "META_TEST": "0",
    }  # fmt: skip
    made = {one.name: one for one in from_env(environ)}
    assert (made["snap"].base_url, made["snap"].test) == ("http://127.0.0.1:1/snap", True)
    assert isinstance(made["meta"], Meta)
    assert (made["meta"].test_event_code, made["meta"].test) == ("TEST1", False)
    with pytest.raises(ConfigError, match="SNAP_TEST is one of true"):
        from_env(environ | {"SNAP_TEST": "maybe"})


# What callers' functions change.


async def test_before_send_changes_vetoes_and_fails_event_by_event() -> None:
    """Its neighbours go on; what it raises is named by its type, without its text."""

    def before_send(event: Event) -> Event | None:
        match event.order_id:
            case "veto":
                return None
            case "raise":
                raise KeyError("a@b.example")
            case "nonsense":
                return "nothing"  # type: ignore[return-value]
            case "other":
                return purchase(order_id="another")
            case "money":
                return purchase(order_id="money", currency="ZZZ")
            case "nowhere":
                return purchase(order_id="nowhere", to=("snpa",))
        return purchase(order_id=event.order_id, value=1)

    transport = RecordingTransport(Response(status=200, body=b'{"status": "VALID"}'))
    async with Client([snap()], before_send=before_send, transport=transport, linger_s=0.05) as client:
        events = [purchase(order_id=one) for one in ("veto", "raise", "nonsense", "other", "money", "nowhere", "good")]
        receipts = await client.send_many(events)
        outcomes = [(await one.outcomes(timeout_s=10))["snap"] for one in receipts]
    assert [one.kind for one in outcomes] == ["skipped", *["rejected"] * 5, "delivered"]
    assert outcomes[0].reason == "before_send gave None for it"
    assert outcomes[1].reason == "before_send raised KeyError"
    assert [one.field for one in outcomes[3:6]] == ["event_id", "currency", "to"]
    assert "snpa" in outcomes[5].reason
    (body,) = transport.bodies()
    assert [one["custom_data"]["value"] for one in body["data"]] == [1]
    assert_balanced(client, pending=0)


def test_explain_shows_what_before_send_makes() -> None:
    """And its veto."""
    client = Client(
        [snap()], before_send=lambda event: None if event.order_id == "1" else purchase(order_id="2", value=5)
    )
    assert client.explain(purchase(order_id="1"))["snap"].verdict == "skipped"
    assert client.explain(purchase(order_id="2"))["snap"].wire["custom_data"]["value"] == 5


async def before_later(event: Event) -> Event:
    return event


@pytest.mark.parametrize("wrong", [before_later, "text"])
def test_a_before_send_that_cannot_be_called_in_a_thread_is_refused(wrong: Any) -> None:
    """At construction."""
    with pytest.raises(ConfigError, match="before_send"):
        Client([snap()], before_send=wrong)
    with pytest.raises(ConfigError, match="value"):
        snap(value=before_later)


def value_at(client: Client, event: Event, name: str = "snap") -> Any:
    explained = client.explain(event)[name]
    return explained.wire["custom_data"].get("value") if explained.wire else explained.reason


def test_each_account_may_be_told_another_value() -> None:
    """The margin to one, the revenue to the other; neither changes what the other is sent."""
    destinations: list[Destination] = [
        snap(name="revenue"),
        snap(name="margin", value="margin"),
        snap(name="half", value=lambda event: event.value and event.value / 2),
    ]
    client = Client(destinations)
    event = purchase(properties={"margin": "20.10"})
    assert [value_at(client, event, one.name) for one in destinations] == [72.39, 20.1, 36.195]
    assert event.value == Decimal("72.39")
    # without one, the platform's own rule decides
    assert client.explain(purchase())["margin"].field == "value"


def test_a_value_that_cannot_be_read_is_named_without_being_quoted() -> None:
    """Nor does what the function raises say anything of the event."""

    def fails(event: Event) -> None:
        raise ZeroDivisionError("a@b.example")

    client = Client([snap(value="margin"), snap(name="other", value=fails)])
    explained = client.explain(purchase(properties={"margin": "twelve"}))
    assert (explained["snap"].verdict, explained["snap"].field) == ("rejected", "value")
    assert "twelve" not in explained["snap"].reason
    assert explained["other"].reason == "the value setting raised ZeroDivisionError"


def test_a_file_names_the_property(tmp_path: Path) -> None:
    """As text; a function can be given in code only."""
    config = tmp_path / "capi.toml"
    config.write_text(f'[destinations.snap]\npixel_id = "{PIXEL}"\naccess_token = "env:T"\nvalue = "margin"\n', "utf-8")
    from capi_async.config import load

    (made,), _ = load(config, {"T": "t"})
    assert value_at(Client([made]), purchase(properties={"margin": 3})) == 3
