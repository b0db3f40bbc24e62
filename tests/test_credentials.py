"""Access tokens that expire, against a token endpoint on this machine."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from capi_async.credentials import RefreshToken, ServiceAccount, TokenEndpointUnreachable, TokenRevoked
from capi_async.errors import ConfigError
from capi_async.spec import Secret

START = 1_790_000_000.0


class Endpoint(ThreadingHTTPServer):
    """Gives ``token-1``, ``token-2``, ...; what it is asked is kept.

    Attributes:
        error: Said instead of a token.
        clock: The server's own; a signed assertion of another time is refused.
        held: Unless set, an answer waits for it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, str]] = []
        self.error: tuple[int, str] | None = None
        self.clock = START
        self.held = threading.Event()
        self.held.set()
        self.reached = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/token"

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(form)
        self.reached.set()
        self.held.wait(10)
        if self.error:
            return self.error[0], {"error": self.error[1]}
        if "assertion" in form:
            claims = form["assertion"].split(".")[1]
            if abs(json.loads(base64.urlsafe_b64decode(claims + "=="))["iat"] - self.clock) > 300:
                return 400, {"error": "invalid_grant", "error_description": "Invalid JWT: reasonable timeframe"}
        return 200, {"access_token": f"token-{len(self.asked)}", "expires_in": 3600, "token_type": "Bearer"}


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        status, said = self.server.answer(form)
        body = json.dumps(said).encode()
        self.send_response_only(status)
        self.send_header("Date", email.utils.formatdate(self.server.clock, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


def refreshed(endpoint: Endpoint, clock: Clock, **settings: Any) -> RefreshToken:
    return RefreshToken(
        client_id="client", client_secret="hidden-1", refresh_token="hidden-2", token_url=endpoint.url,
        now=clock, **settings,
    )  # fmt: skip


def test_a_token_is_asked_for_once_and_renewed_before_it_ends(endpoint: Endpoint) -> None:
    clock = Clock()
    token = refreshed(endpoint, clock)
    assert [token(), token()] == ["token-1", "token-1"]
    clock.now += 3_299
    assert token() == "token-1"
    clock.now += 2
    assert token() == "token-2"
    assert endpoint.asked[0] == {
        "grant_type": "refresh_token", "client_id": "client", "client_secret": "hidden-1", "refresh_token": "hidden-2",
    }  # fmt: skip


def test_many_callers_ask_once(endpoint: Endpoint) -> None:
    """Threads and a destination's own asking alike."""
    token = refreshed(endpoint, Clock())

    async def all_at_once() -> list[str]:
        secret = Secret(token)
        return await asyncio.gather(*[secret.reveal() for _ in range(20)])

    assert set(asyncio.run(all_at_once())) == {"token-1"}
    assert len(endpoint.asked) == 1


def test_who_has_a_good_token_does_not_wait_for_the_renewal(endpoint: Endpoint) -> None:
    clock = Clock()
    token = refreshed(endpoint, clock)
    token()
    clock.now += 3_400
    endpoint.held.clear()
    endpoint.reached.clear()
    renewing = threading.Thread(target=token)
    renewing.start()
    assert endpoint.reached.wait(10)
    assert token() == "token-1"
    endpoint.held.set()
    renewing.join()
    assert token() == "token-2"


def test_two_processes_share_one_token(endpoint: Endpoint, tmp_path: Path) -> None:
    """Two objects stand for them: nothing but the file is between them. It is for its owner alone."""
    file = tmp_path / "token"
    assert refreshed(endpoint, Clock(), shared=file)() == refreshed(endpoint, Clock(), shared=file)() == "token-1"
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"hidden" not in file.read_bytes()
    other = RefreshToken(
        client_id="client", client_secret="x", refresh_token="y", token_url=endpoint.url, now=Clock(), shared=file
    )  # fmt: skip
    assert other() == "token-2"


def test_a_token_that_is_refused_before_its_end_is_renewed_and_not_again_and_again(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """A second refusal within five minutes means that the fault is another; a token of yesterday's says nothing."""
    clock = Clock()
    for settings in ({}, {"shared": tmp_path / "token"}):
        endpoint.asked.clear()
        token = refreshed(endpoint, clock, **settings)
        token.refused("token-0")
        assert token() == "token-1"
        token.refused("token-0")
        assert token() == "token-1"
        token.refused("token-1")
        assert [token(), token()] == ["token-2", "token-2"]
        token.refused("token-2")
        assert token() == "token-2"
        clock.now += 301
        token.refused("token-2")
        assert token() == "token-3"


def test_whoever_holds_a_credential_passes_a_refusal_on(endpoint: Endpoint) -> None:
    """Text and plain functions do not ask for it."""
    token = refreshed(endpoint, Clock())
    secret = Secret(token)
    assert asyncio.run(secret.reveal()) == "token-1"
    secret.refused("token-1")
    assert asyncio.run(secret.reveal()) == "token-2"
    Secret("text").refused("text")
    Secret(lambda: "text").refused("text")


def test_an_endpoint_out_of_reach_costs_nothing_while_a_token_is_good(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    token = refreshed(endpoint, clock)
    token()
    endpoint.error = (503, "backend")
    clock.now += 3_400
    assert token() == "token-1"
    assert "good for another 200 s" in caplog.text
    clock.now += 300
    with pytest.raises(TokenEndpointUnreachable, match="503"):
        token()
    endpoint.error = None
    assert token() == "token-4"


def test_an_endpoint_that_is_not_there_is_said_in_words() -> None:
    token = RefreshToken(
        client_id="c", client_secret="s", refresh_token="r", token_url="http://127.0.0.1:1/token"
    )  # fmt: skip
    with pytest.raises(TokenEndpointUnreachable, match="cannot be reached"):
        token()


def test_a_revoked_refresh_token_says_what_to_do_and_is_not_tried_again_and_again(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    token = refreshed(endpoint, clock)
    endpoint.error = (400, "invalid_grant")
    for _ in range(3):
        with pytest.raises(TokenRevoked, match="let the person agree again"):
            token()
    assert len(endpoint.asked) == 1
    assert "hidden" not in caplog.text
    endpoint.error = None
    clock.now += 301
    assert token() == "token-2"


def key_file(endpoint: Endpoint) -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account", "client_email": "robot@project.example", "private_key": private.decode(),
        "private_key_id": "k1", "token_uri": endpoint.url,
    }  # fmt: skip


@pytest.mark.parametrize("off_s", [0.0, 7_200.0, -7_200.0])
def test_a_service_account_gets_a_token_also_when_this_hosts_clock_is_off(endpoint: Endpoint, off_s: float) -> None:
    """The server's own time is taken once it has refused ours."""
    clock = Clock()
    clock.now += off_s
    assert ServiceAccount(key_file(endpoint), now=clock)().startswith("token-")
    head, claims, _ = endpoint.asked[-1]["assertion"].split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] == "RS256"
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (said["iss"], said["aud"], said["exp"] - said["iat"]) == ("robot@project.example", endpoint.url, 3_600)
    assert len(endpoint.asked) == (2 if off_s else 1)


def test_a_key_that_is_none_is_refused_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    for text in ("", "{}", '{"client_email": "a@b.example", "private_key": "hidden"}', "[]"):
        file.write_text(text)
        with pytest.raises(ConfigError, match="service account") as refused:
            ServiceAccount(file)
        assert "hidden" not in str(refused.value)


def test_a_credential_is_sent_over_https_alone_and_shown_by_nothing(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="https"):
        RefreshToken(client_id="c", client_secret="s", refresh_token="r", token_url="http://tokens.example/")
    token = refreshed(endpoint, Clock())
    assert "hidden" not in repr(token)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(token)
