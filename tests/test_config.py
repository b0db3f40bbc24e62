"""Settings from TOML and environment: what is read, and what is refused before any I/O."""

from __future__ import annotations

import logging
import textwrap
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, ConfigError
from capi_async.config import ClientOptions, from_env, load, make
from capi_async.destinations import Snap
from capi_async.spec import Destination, Secret
from tests.engine.acme import Acme

PIXEL = "9633c2ae-0115-495a-aca9-b976db485fc8"
TOKEN = "snap-token-value"


def config(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "capi.toml"
    path.write_text(textwrap.dedent(text), "utf-8")
    path.chmod(mode)
    return path


async def token_of(destination: Destination) -> str:
    return await destination.secret().reveal()


async def test_a_file_names_options_and_destinations(tmp_path: Path) -> None:
    """A table's name is the destination's name; ``type`` defaults to it."""
    secret = tmp_path / "snap_de.token"
    secret.write_text(f"{TOKEN}-de\n")
    path = config(
        tmp_path,
        f"""
        linger_s = 0.25
        overflow = "drop_oldest"
        phone_region = "env:REGION"
        [destinations.snap]
        pixel_id = "{PIXEL}"
        access_token = "env:SNAP_ACCESS_TOKEN"
        [destinations.snap_de]
        type = "snap"
        pixel_id = "{PIXEL}"
        access_token = "file:{secret}"
        requests_per_s = 10
        event_names = {{ signed_up = "SIGN_UP" }}
        """,
    )
    destinations, options = load(path, {"SNAP_ACCESS_TOKEN": TOKEN, "REGION": "DE"})
    assert options == ClientOptions(linger_s=0.25, overflow="drop_oldest", phone_region="DE")
    assert [(type(one), one.name) for one in destinations] == [(Snap, "snap"), (Snap, "snap_de")]
    assert [await token_of(one) for one in destinations] == [TOKEN, f"{TOKEN}-de"]
    assert destinations[1].effective_limits().requests_per_s == 10
    assert destinations[1].event_names == {"signed_up": "SIGN_UP"}


def test_a_client_is_made_from_a_file(tmp_path: Path) -> None:
    """Arguments override the file's options."""
    path = config(tmp_path, f'linger_s = 0.25\n[destinations.snap]\npixel_id = "{PIXEL}"\naccess_token = "{TOKEN}"\n')
    client = Client.from_config(path, linger_s=0.0)
    assert repr(client) == "Client(snap)"
    assert client._settings.linger_s == 0.0


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_literal_credential_in_a_file_that_others_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    """It names the setting and the mend, not the credential."""
    path = config(tmp_path, f'[destinations.snap]\npixel_id = "{PIXEL}"\naccess_token = "{TOKEN}"\n', mode)
    load(path, {})
    found: list[Any] = caplog.records
    assert [record.levelno for record in found] == ([logging.WARNING] if warned else [])
    assert [record.settings for record in found] == (["snap.access_token"] if warned else [])
    assert TOKEN not in str([vars(record) for record in found])


def test_a_reference_is_no_literal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the file."""
    path = config(tmp_path, f'[destinations.snap]\npixel_id = "{PIXEL}"\naccess_token = "env:T"\n', 0o644)
    load(path, {"T": TOKEN})
    assert caplog.records == []


@pytest.mark.parametrize(
    ("spool", "warned"),
    [
        ("redis://:{secret}@redis:6379/0", True),
        ("rediss://shop:{secret}@redis:6379/0?prefix=x", True),
        ("redis+sentinel://redis:26379/main/0?sentinel_password={secret}", True),
        ("redis://redis:6379/0?password={secret}", True),
        ("sqlite:///events.db?keys={secret}", True),
        ("redis://redis:6379/0?password=env:REDIS_PASSWORD", False),
        ("redis://shop@redis:6379/0?password=file:/run/secrets/redis", False),
        ("env:SPOOL", False),
        ("sqlite:////var/lib/shop/events.db", False),
        ("memory", False),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_literal_password_of_the_spool_in_a_file_that_others_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spool: str, warned: bool, mode: int
) -> None:
    """As other credentials are."""
    address = spool.format(secret="Pw-7f3c")
    head = f'[destinations.snap]\npixel_id = "{PIXEL}"\naccess_token = "env:T"\n'
    load(config(tmp_path, f'spool = "{address}"\n{head}', mode), {"T": TOKEN, "SPOOL": "redis://:Pw-7f3c@redis"})
    found: list[Any] = caplog.records
    assert ["spool" in record.settings for record in found] == ([True] if warned and mode == 0o644 else [])
    assert "Pw-7f3c" not in str([vars(record) for record in found])


HEAD = f'[destinations.snap]\npixel_id = "{PIXEL}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = [", "not TOML"),
        ("", "needs a table per destination, such as [destinations.snap]"),
        ("destinations = 5", "needs a table per destination"),
        ("[destinations]\nsnap = 5", "needs a table per destination"),
        (HEAD, "snap: access_token is missing (environment: SNAP_ACCESS_TOKEN)"),
        (HEAD + 'acces_token = "t"', "snap: unknown setting acces_token; there are access_token, "),
        (HEAD + 'acces_token = "t"', "; is access_token meant?"),
        ("[destination.snap]\npixel_id = 5", "; is destinations meant?"),
        ("[destinations.snapp]\npixel_id = 5", "; is snap meant?"),
        ("linger = 1\n" + HEAD + 'access_token = "t"', "; is linger_s meant?"),
        (HEAD + 'access_token = "t"\nresend = "maybe"', "values of this setting: safe, always, never"),
        (HEAD + 'access_token = "env:NOPE"', "snap.access_token: the environment variable NOPE is not set"),
        (HEAD + 'access_token = "file:/nonexistent/x"', "/nonexistent/x cannot be read (FileNotFoundError)"),
        (HEAD + "access_token = 5", "a credential is text or a callable, not int"),
        (HEAD + 'access_token = "two words\\n"\nburst = "x"', "snap: Expected `float"),
        (HEAD + 'access_token = "t"\nrequests_per_s = 0', "snap: requests_per_s must be greater than 0"),
        (HEAD + 'access_token = "t"\nmax_batch_events = 3000', "cannot exceed the platform's 2000"),
        (HEAD + 'access_token = "t"\nbase_url = "http://snap.example"', "base_url must be https"),
        (HEAD + 'access_token = "t"\nbase_url = "snap.example"', "base_url needs an http(s) address"),
        (HEAD + 'access_token = "t"\nbase_url = "https://[::1"', "base_url needs an http(s) address"),
        (HEAD + 'access_token = "t"\nbase_url = "https://a:99999"', "base_url needs an http(s) address"),
        (HEAD + 'access_token = "t"\nresend = "maybe"', "snap: "),
        ('[destinations.acne]\ntoken = "t"', "no destination type 'acne'; there are snap, "),
        ("linger = 1\n" + HEAD + 'access_token = "t"', "unknown setting linger"),
        ('overflow = "explode"\n' + HEAD + 'access_token = "t"', "this setting: wait, fail, drop_oldest - at"),
        ('linger_s = "soon"\n' + HEAD + 'access_token = "t"', "Expected `float`, got `str` - at `$.linger_s`"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_in_words_that_mend_it(tmp_path: Path, text: str, said: str) -> None:
    """Before any I/O."""
    with pytest.raises(ConfigError) as raised:
        load(config(tmp_path, text), {})
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ConfigError, match="cannot be read \\(FileNotFoundError\\)"):
        load(tmp_path / "none.toml")


def test_a_misspelt_variable_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """With the name that is read instead; never with its value."""
    both = {"SNAP_PIXELID": PIXEL, "SNAP_ACCES_TOKEN": "hidden-value"}
    with pytest.raises(ConfigError, match="SNAP_PIXELID is set, which nothing reads; is SNAP_PIXEL_ID meant") as raised:
        from_env(both)
    assert "is SNAP_ACCESS_TOKEN meant?" in str(raised.value)
    assert "hidden-value" not in str(raised.value)
    with pytest.raises(ConfigError, match="lacks SNAP_PIXEL_ID; SNAP_PIXELID is set"):
        from_env({"SNAP_PIXELID": PIXEL, "SNAP_ACCESS_TOKEN": TOKEN})
    whole = {"META_PIXEL_ID": "1234567890123456", "META_ACCESS_TOKEN": TOKEN, "METAL_PRICE": "5", "META_PIXEL_IDS": ""}
    from_env(whole)
    assert [record.getMessage() for record in caplog.records if "META_PIXEL_IDS" not in record.getMessage()] == []
    from_env({**whole, "META_TEST_EVENTCODE": "T1"})
    assert "META_TEST_EVENTCODE is set, which nothing reads; is META_TEST_EVENT_CODE meant?" in caplog.text


def test_a_variable_that_a_file_names_wrongly_has_its_nearest(tmp_path: Path) -> None:
    """Of those that are set."""
    text = HEAD + 'access_token = "env:SNAP_ACCES_TOKEN"'
    with pytest.raises(ConfigError, match=r"SNAP_ACCES_TOKEN is not set; is SNAP_ACCESS_TOKEN meant\?"):
        load(config(tmp_path, text), {"SNAP_ACCESS_TOKEN": TOKEN})


async def test_the_environment_describes_destinations() -> None:
    """Those whose required variables are set."""
    found = from_env({"SNAP_PIXEL_ID": PIXEL, "SNAP_ACCESS_TOKEN": TOKEN, "UNRELATED": "x"})
    assert [one.name for one in found] == ["snap"]
    assert await token_of(found[0]) == TOKEN


def test_a_client_is_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """With options."""
    monkeypatch.setenv("SNAP_PIXEL_ID", PIXEL)
    monkeypatch.setenv("SNAP_ACCESS_TOKEN", TOKEN)
    client = Client.from_env(linger_s=0)
    assert "snap" in client.states()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "the environment names no destination; set, for example, SNAP_PIXEL_ID and SNAP_ACCESS_TOKEN"),
        ({"SNAP_PIXEL_ID": PIXEL}, "half set: snap lacks SNAP_ACCESS_TOKEN"),
        ({"SNAP_ACCESS_TOKEN": TOKEN}, "half set: snap lacks SNAP_PIXEL_ID"),
        ({"SNAP_ACCESS_TOKEN": TOKEN, "SNAP_PIXEL_ID": ""}, "half set: snap lacks SNAP_PIXEL_ID"),
    ],
)
def test_a_half_set_environment_is_refused(environ: dict[str, str], said: str) -> None:
    """What is missing is named; what is there is not quoted."""
    with pytest.raises(ConfigError) as raised:
        from_env(environ)
    assert str(raised.value).endswith(said)  # and nothing of snap_v2, which reads the same variables
    assert TOKEN not in str(raised.value)


def test_make_takes_plain_values() -> None:
    """As a table does."""
    made = make("mine", {"type": "snap", "pixel_id": PIXEL, "access_token": TOKEN})
    assert isinstance(made, Snap)
    assert (made.name, repr(made)) == ("mine", "Snap(name='mine')")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"overflow": "explode"}, "overflow is one of wait, fail, drop_oldest"),
        ({"consent": "ask"}, "consent is one of vouch, require"),
        ({"linger_s": -1}, "linger_s must be 0 or more seconds"),
        ({"linger_s": float("nan")}, "linger_s must be 0 or more seconds"),
        ({"max_pending_events": 0}, "max_pending_events must be at least 1"),
        ({"max_attempts": 0}, "max_attempts must be at least 1"),
        ({"spool": "kafka://x"}, "there is no 'kafka' spool"),
    ],
)
def test_a_wrong_option_names_itself(options: dict[str, Any], said: str) -> None:
    """When the client is made."""
    with pytest.raises(ConfigError) as raised:
        Client([Acme()], **options)
    assert said in str(raised.value)


def test_destinations_are_checked_together() -> None:
    """At least one, of a kind, each by its own name."""
    with pytest.raises(ConfigError, match="at least one destination"):
        Client([])
    with pytest.raises(ConfigError, match=r"two destinations are called 'acme': give each a name"):
        Client([Acme(), Acme()])
    with pytest.raises(ConfigError, match="str is no destination"):
        Client(["snap"])  # type: ignore[list-item]


@pytest.mark.parametrize("bad", ["", "  ", "two\nlines", "umläut", 5, None])
def test_a_credential_must_be_one(bad: Any) -> None:
    """It is not quoted when it is not."""
    with pytest.raises(ConfigError) as raised:
        Acme(access_token=bad)
    assert str(raised.value).startswith("acme: access_token")
    assert "umläut" not in str(raised.value)


async def test_a_credential_is_trimmed_and_shown_to_nobody() -> None:
    """Text, callable or async callable."""

    async def later() -> str:
        return TOKEN

    for source in (f" {TOKEN}\n", lambda: TOKEN, later):
        secret = Secret(source)
        assert await secret.reveal() == TOKEN
        assert repr(secret) == str(secret) == "Secret(***)"
    assert TOKEN not in repr(Acme(access_token=TOKEN))


SECRET = "EAAB9zsecretTokenOfSomebody0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f'{SECRET} = 1\n[destinations.snap]\npixel_id = "1"\naccess_token = "t"',
        f'[destinations.snap]\npixel_id = "1"\naccess_token = "t"\nresend = "{SECRET}"',
        f'[destinations.snap]\npixel_id = "1"\naccess_token = "env:{SECRET}"',
        f'[destinations.snap]\npixel_id = "1"\naccess_token = "file:{SECRET}"',
        f'[destinations.snap]\ntype = "{SECRET}"\npixel_id = "1"\naccess_token = "t"',
        f'[destinations.meta]\npixel_id = "{SECRET}"\naccess_token = "t"',
        f'[destinations.snap]\npixel_id = "1"\naccess_token = "t"\nbase_url = "{SECRET}"',
        f'[destinations.snap]\npixel_id = "1"\naccess_token = "t"\nevent_names = {{ lead = "{SECRET}" }}',
        f'[destinations.snap]\naccess_token = "{SECRET}"\nx = {SECRET}',
    ],
)
def test_a_credential_in_the_wrong_place_is_not_repeated(tmp_path: Path, text: str) -> None:
    """Errors of configurations end up in logs and tickets."""
    file = tmp_path / "capi.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as found:
        load(file, {})
    assert SECRET not in str(found.value)
    assert found.value.__cause__ is None


def test_ids_of_accounts_may_be_numbers_in_toml(tmp_path: Path) -> None:
    """Quotes are easily forgotten there; the environment's line ends are cut."""
    file = tmp_path / "capi.toml"
    file.write_text('[destinations.meta]\npixel_id = 1000000000000001\naccess_token = "env:T"\n')
    [meta], _ = load(file, {"T": "token\n"})
    assert meta.account() == "1000000000000001"
    [again] = from_env({"META_PIXEL_ID": "1000000000000001\n", "META_ACCESS_TOKEN": "token\n"})
    assert again.account() == "1000000000000001"


@pytest.mark.parametrize("name", ["CAPI_ASYNC_MOD", "CAPI_ASYNC_MODES", "CAPI_ASYNCMODE", "CAPI_ASYNC_PROFIL"])
def test_a_misspelt_variable_of_the_client_itself_is_warned_of(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A switch that nobody reads leaves the client live."""
    account = {"META_PIXEL_ID": "1234567890123456", "META_ACCESS_TOKEN": "t"}
    from_env({**account, name: "off"})
    assert f"{name} is set, which nothing reads; is CAPI_ASYNC_" in caplog.text
    caplog.clear()
    from_env({**account, "CAPI_WEBHOOK_URL": "https://x.example/", "CAPI_CONTEXT": "1"})
    assert "nothing reads" not in caplog.text
