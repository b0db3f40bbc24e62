"""``capi-async bench``, with a few events."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from capi_async.bench import environment, latency
from capi_async.bench.chart import draw
from capi_async.bench.report import Figures, Report
from capi_async.cli.app import app


@pytest.fixture
def _nobody_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.Peers, "command", lambda _self, _name, _script: None)


@pytest.mark.usefixtures("_nobody_installed")
def test_a_small_run_gives_a_table_figures_and_a_chart(tmp_path):
    """Ours and one by hand are measured, a missing SDK is named in all three."""
    table, figures, chart = tmp_path / "table", tmp_path / "out" / "figures.json", tmp_path / "chart.svg"
    only = [word for key in ("many", "hand", "snap_sdk") for word in ("--only", key)]
    result = CliRunner().invoke(
        app,
        ["bench", "--events", "200", "--repeats", "1", *only, "--json", str(figures), "--chart", str(chart)],
    )
    assert result.exit_code == 0, result.output
    table = result.output
    assert "capi_async, send_many, 1 destination" in table
    assert "snap_business_sdk is not installed" in table
    found = json.loads(figures.read_text())
    assert [one["key"] for one in found["contenders"]] == ["many", "hand"]
    ours, hand = found["contenders"]
    assert ours["events"] == 200
    assert ours["lag_p99_ms"] is not None
    assert hand["ratios"]["many"] == pytest.approx(hand["cpu_us"] / ours["cpu_us"])
    assert found["missing"] == {"snap_sdk": "snap_business_sdk is not installed"}
    assert "snap_sdk" in "".join(ET.parse(chart).getroot().itertext())  # noqa: S314


def test_a_destination_can_be_measured_alone():
    """By its type, with no contender beside it."""
    result = CliRunner().invoke(app, ["bench", "--events", "200", "--repeats", "1", "--destinations", "google_ads"])
    assert result.exit_code == 0, result.output
    assert "capi_async, send_many, google_ads" in result.output
    assert "void" not in result.output


def test_an_unknown_destination_is_refused_with_the_names_of_all():
    result = CliRunner().invoke(app, ["bench", "--destinations", "nobody"])
    assert result.exit_code == 2
    assert "there are snap, " in result.output


def test_an_unknown_contender_is_refused_with_the_names_of_all():
    """Exit code 2, nothing is run."""
    result = CliRunner().invoke(app, ["bench", "--only", "nobody"])
    assert result.exit_code == 2


def test_the_chart_is_well_formed_whatever_stands_in_it():
    """Titles are escaped, and one contender alone has a scale."""
    one = Figures(
        key="k", title="a < b & c", version="1", events=1, repeats=1, cpu_us=5.0, cpu_us_low=5.0, cpu_us_high=5.0,
        events_per_s=1.0, peak_rss_mb=1.0,
    )  # fmt: skip
    for contenders in ([one], []):
        text = draw(Report(date="2026-01-01", command="x <y>", facts={}, repeats=1, contenders=contenders))
        assert ("a < b & c (1)" in "".join(ET.fromstring(text).itertext())) is bool(contenders)  # noqa: S314


def test_an_idle_client_accepts_what_it_is_given():
    """The latency has both of its figures, and they are in order."""
    found = latency.accept_us(None, count=20)
    assert 0 < found["accept_p50"] <= found["accept_p99"]
