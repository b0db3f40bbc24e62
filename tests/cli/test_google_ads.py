"""``capi-async google-ads status``."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Run

ANSWER = {
    "requestStatusPerDestination": [
        {
            "destination": {"productDestinationId": "987654321"},
            "requestStatus": "PARTIAL_SUCCESS",
            "eventsIngestionStatus": {"recordCount": "2"},
            "errorInfo": {"errorCounts": [{"recordCount": "1", "reason": "PROCESSING_ERROR_REASON_CLICK_NOT_FOUND"}]},
        }
    ]
}


class _Google(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/requestStatus:retrieve?requestId=abc"
        body = json.dumps(ANSWER if known else {"error": {"code": 404}}).encode()
        self.send_response_only(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A file whose account's API is a server of this test."""
    server = HTTPServer(("127.0.0.1", 0), _Google)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    file = tmp_path / "capi.toml"
    file.write_text(
        '[destinations.google_ads]\ncustomer_id = "123-456-7890"\naccess_token = "env:TOKEN_OF_TEST"\n'
        f'base_url = "http://127.0.0.1:{server.server_address[1]}"\n'
        '[destinations.google_ads.conversions]\npurchase = "987654321"\n'
    )
    yield file
    server.shutdown()
    thread.join()
    server.server_close()


def test_counts_and_reasons_are_printed(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "token")
    ran = run("google-ads", "status", "abc", "--config", config)
    assert ran.code == 0, ran.err
    assert "conversion action 987654321: PARTIAL_SUCCESS, 2 events" in ran.out
    assert "1 not counted: CLICK_NOT_FOUND (normal for people" in ran.out
    ran = run("google-ads", "status", "abc", "--config", config, "--json")
    assert ran.json[0]["errors"] == {"CLICK_NOT_FOUND": 1}


def test_an_id_that_google_does_not_know_is_said_in_words(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "token")
    ran = run("google-ads", "status", "other", "--config", config)
    assert (ran.code, ran.out) == (2, "")
    assert "no such request" in ran.err
