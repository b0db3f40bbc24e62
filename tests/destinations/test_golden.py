"""Golden requests: method, URL, headers and body of every destination, written out by hand from the platforms' pages.

Each ``golden/<type>/<case>.json`` holds ``source``, ``settings`` (the constructor's), ``events`` (canonical JSON)
and ``requests`` (what must leave, in order). Numbers are compared as decimals, so 99.9 never passes for 99.90000001.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capi_async.destinations import destination_types, row_of
from capi_async.event import Event
from capi_async.testing.mapping import requests

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*/*.json"))


def _read(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


@pytest.fixture(autouse=True)
def _at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook signs its requests with the time; here it is that of the events."""
    monkeypatch.setattr("capi_async.destinations.webhook.destination.time", SimpleNamespace(time=lambda: 1768471200.7))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_request_is_the_platforms_own_example(path: Path) -> None:
    """Events in, exactly the documented request out."""
    case = _read(path.read_text("utf-8"))
    raw = json.loads(path.read_text("utf-8"))
    row = row_of(path.parent.name)
    destination = row.load()(**{row.credential: "TOKEN", **raw["settings"]})
    made = requests(destination, [Event.from_json(json.dumps(event)) for event in raw["events"]])
    assert len(made) == len(case["requests"])
    for request, expected in zip(made, case["requests"], strict=True):
        assert request.method == expected["method"]
        assert request.url == expected["url"]
        assert dict(request.headers) == expected["headers"]
        assert _read(b"".join(request.body)) == expected["body"]


def test_every_destination_has_a_golden_request() -> None:
    """A destination without one could change its bytes unseen."""
    assert {path.parent.name for path in CASES} == set(destination_types())
