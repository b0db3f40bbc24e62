"""``capi-async bench --web``: one event at a time, at a rate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from capi_async.bench import environment, harness, web
from capi_async.bench.contenders import PEERS, Entry
from capi_async.bench.feed import seeded, write
from capi_async.cli.app import app


@pytest.fixture
def _nobody_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.Peers, "command", lambda _self, _name, _script: None)


@pytest.mark.usefixtures("_nobody_installed")
def test_every_contender_of_ours_delivers_what_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a table, figures and a chart; a missing library is named, and the driver is nobody's figure."""
    monkeypatch.setattr(web, "RATES", {200: 0.2})
    figures, chart = tmp_path / "out" / "web.json", tmp_path / "web.svg"
    only = [word for key in ("memory", "memory4", "redis", "hand", "posthog") for word in ("--only", key)]
    result = CliRunner().invoke(
        app,
        ["bench", "--web", "--repeats", "1", *only, "--json", str(figures), "--chart", str(chart)],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    found = json.loads(figures.read_text())
    measured = {(one["key"], one["rate"]) for one in found["contenders"]}
    ours = {"memory", "memory4", "hand"} | ({"redis"} if shutil.which("redis-server") else set())
    assert measured == {(key, 200) for key in ours}
    assert found["driver_us"].keys() == {"200"}
    assert all(one["call_p50_us"] <= one["call_p99_us"] for one in found["contenders"])
    assert all(one["over"]["hand"] > 0 for one in found["contenders"] if one["key"] != "hand")
    assert "not measured: posthog: posthog is not installed" in result.output
    assert "200 events a second" in result.output
    assert "capi_async, 4 destinations, memory" in "".join(ET.parse(chart).getroot().itertext())  # noqa: S314


def test_a_contender_that_falls_behind_is_void(tmp_path: Path) -> None:
    """It would measure how long a queue grows."""
    rows = tmp_path / "rows"
    write(rows, seeded(400), 400)
    slow = Entry(key="hand", title="by hand", module="floor", kind="ByHandInAWebApp")
    with harness.sink() as sink, pytest.raises(harness.Void, match=r"fell .* behind"):
        harness.measure(slow, sink, rows, 10_000, rate=1_000_000.0)


def test_an_unknown_contender_is_named() -> None:
    """With those that there are."""
    result = CliRunner().invoke(app, ["bench", "--web", "--only", "many"])
    assert result.exit_code != 0
    assert "no contender many" in result.output


def test_every_peer_has_a_pinned_version() -> None:
    """Figures of an unknown release could not be compared."""
    keys = [entry.key for entry in web.ENTRIES]
    assert len(set(keys)) == len(keys)
    assert {entry.peer for entry in web.ENTRIES if entry.peer} <= set(PEERS)
