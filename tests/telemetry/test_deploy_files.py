"""The Grafana dashboard and the alert rules ask for metrics, labels and values that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_async import Client
from capi_async.outcome import OUTCOME_KINDS
from capi_async.telemetry.prometheus import METRICS, exposition
from tests.engine.acme import Acme
from tests.telemetry.exposition import read

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"

#: Words of PromQL that the files use.
FUNCTIONS = {"rate", "increase", "histogram_quantile"}
AGGREGATIONS = {"sum", "max", "min"}
KEYWORDS = {"by", "or", "ignoring", "group_left"}
#: What Prometheus adds, and what a histogram's buckets have.
ADDED = {"instance", "job", "le"}

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>"[^"]*")|(?P<range>\[(?:\d+[smhd]|\$__rate_interval)\])|(?P<number>\d+(?:\.\d+)?)
    |(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)|(?P<matcher>=~|!~|!=|==|>=|<=|=)|(?P<sign>[(){},+*/<>-])""",
    re.VERBOSE,
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    board = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert found
            yield variable["name"], f"sum by ({found[2]}) ({found[1]})"


def tokens(text: str) -> list[tuple[str, str]]:
    """Kind and text of each token; brackets are balanced."""
    found: list[tuple[str, str]] = []
    open_: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, text[at:]
        at = match.end()
        kind, token = match.lastgroup or "", match[0]
        if kind == "space":
            continue
        if token in "({" and kind == "sign":
            open_.append(token)
        elif token in ")}" and kind == "sign":
            assert open_.pop() + token in ("()", "{}"), text
        found.append((kind, token))
    assert not open_, text
    return found


def known() -> dict[str, dict[str, set[str]]]:
    """Sample name to its labels and their values, as a client tells them."""
    samples, _ = read(exposition(Client([Acme()]), dict.fromkeys(("capi_workers",), 0)))
    found: dict[str, dict[str, set[str]]] = {}
    for name, labels in samples:
        of = found.setdefault(name, {})
        for label, text in labels:
            of.setdefault(label, set()).add(text)
    return found


@pytest.mark.parametrize(("where", "text"), list(expressions()))
def test_expressions_ask_for_what_there_is(where: str, text: str) -> None:
    """Metrics, labels, their values; a rate is made of what only grows."""
    there = known()
    parts = tokens(text)
    inside = grouping = False
    metric = ""
    metrics = []
    for index, (kind, token) in enumerate(parts):
        following = parts[index + 1][1] if index + 1 < len(parts) else ""
        if token == "{":
            inside = True
        elif token == "}":
            inside = False
        elif kind == "name" and token in KEYWORDS and following == "(":
            grouping = token != "or"
        elif token == ")":
            grouping = False
        elif kind == "name" and inside:
            assert token in there[metric], f"{where}: {metric} has no label {token}"
            operator, value = following, parts[index + 2][1].strip('"')
            values = value.split("|") if operator == "=~" else [value]
            if not value.startswith("$"):
                assert all(one in there[metric][token] or one in OUTCOME_KINDS for one in values), (where, value)
        elif kind == "name" and grouping:
            assert token in ADDED or any(token in labels for labels in there.values()), f"{where}: no label {token}"
        elif kind == "name" and token not in FUNCTIONS | AGGREGATIONS | KEYWORDS:
            assert token in there, f"{where}: no metric {token}"
            metric = token
            metrics.append(token)
        elif kind == "range":
            base = re.sub(r"_(bucket|sum|count)$", "", metric)
            assert METRICS.get(metric, METRICS.get(base, ("",)))[0] in ("counter", "histogram"), f"{where}: {metric}"
    assert metrics, where


def test_rules_say_what_is_wrong_and_what_to_do() -> None:
    """As Prometheus reads them, and as a person does."""
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) >= 8
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert len(rule["annotations"]["description"]) > 60
        kept = set(re.findall(r"by \(([\w, ]+)\)", rule["expr"])[0].split(", "))
        shown = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        assert shown <= kept, rule["alert"]
        for metric in re.findall(r"\bcapi_(?!async)\w+", " ".join(rule["annotations"].values())):
            assert metric in METRICS, metric


def test_the_dashboard_fits_together() -> None:
    """No panel lies on another, each has a title and a target, and every metric of a destination is on it."""
    board = json.loads(DASHBOARD.read_text("utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]
        assert panel["targets"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    text = DASHBOARD.read_text("utf-8")
    left_out = {name for name in METRICS if name not in text}
    assert left_out <= {
        "capi_sent_events_total", "capi_sent_bytes_total", "capi_ledger_events", "capi_prepared_events_total",
        "capi_storage_failed", "capi_process_cpu_seconds", "capi_process_max_rss_kilobytes", "capi_time_seconds",
    }  # fmt: skip
