"""What stands before a platform answers, too: such an answer is nobody's verdict on an event, at any destination."""

from __future__ import annotations

import pytest

from capi_async.config import make
from capi_async.destinations import destination_types, row_of
from capi_async.outcome import Response, Verdict

PAGE = b"<html><head><title>Error</title></head><body>edge</body></html>"


def verdicts(name: str, status: int, body: bytes) -> list[Verdict]:
    """What the destination makes of it, for one event and for two."""
    row = row_of(name)
    account = {**row.settings(), row.address: "http://127.0.0.1/"}
    destination = make(name, account)
    return [destination.classify(Response(status, body), count)[0] for count in (1, 2)]


@pytest.mark.parametrize("name", destination_types())
@pytest.mark.parametrize("status", [400, 402, 405, 406, 409, 410, 418, 421, 422, 425, 426, 428, 431, 451, 494, 499])
def test_a_page_of_an_edge_blames_no_event(name: str, status: int) -> None:
    """It is sent again, and many such answers in a row count as an outage."""
    for page in (PAGE, b"\xef\xbb\xbf\r\n  " + PAGE, b"<?xml version='1.0'?><Error/>"):
        assert [(one.kind, one.edge) for one in verdicts(name, status, page)] == [("retry", True)] * 2


@pytest.mark.parametrize("name", destination_types())
@pytest.mark.parametrize("status", [406, 421, 425, 431, 451, 499])
def test_a_status_that_no_platform_uses_blames_no_event(name: str, status: int) -> None:
    """Whatever the body says."""
    for body in (b"", b"blocked", b'{"incident": 1}'):
        assert {one.kind for one in verdicts(name, status, body)} == {"retry"}


@pytest.mark.parametrize("name", destination_types())
def test_a_proxy_that_wants_credentials_pauses(name: str) -> None:
    """Ours, in the environment: its password is to be mended, and the events wait."""
    assert {one.kind for one in verdicts(name, 407, PAGE)} == {"unauthorized"}


@pytest.mark.parametrize("name", destination_types())
@pytest.mark.parametrize("status", [0, 101, 103])
def test_a_status_that_is_no_answer_says_nothing(name: str, status: int) -> None:
    """The request may have been read."""
    assert {one.kind for one in verdicts(name, status, b"")} == {"ambiguous"}


@pytest.mark.parametrize("name", destination_types())
def test_a_size_that_an_edge_refuses_is_halved(name: str) -> None:
    """413 comes from servers before the platform, with a page, and is about the request all the same."""
    assert verdicts(name, 413, PAGE)[1].kind in ("split", "rejected")
