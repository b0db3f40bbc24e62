"""``capi-async explain``."""

from __future__ import annotations

import json
from pathlib import Path

from capi_async.destinations import destination_types
from tests.cli.conftest import Run, jsonl, purchase

SECRETS = ("secret.person", "447700900123", "Rosalinde", "rosalinde", "Quillfeather", "quillfeather", "192.0.2.44",
           "customer-77", "sandbox-token")  # fmt: skip


def test_each_platform_is_explained_without_personal_data(run: Run, tmp_path: Path) -> None:
    """The wire objects, the identifiers and the verdicts of all of them, in both forms."""
    file = tmp_path / "event.json"
    event = purchase(1)
    event["user"]["phone"] = ["+447700900123", "07700 900124"]
    file.write_text(json.dumps(event, indent=2))
    plain, machine = run("explain", file, "--sandbox"), run("explain", file, "--sandbox", "--json")
    assert plain.code == machine.code == 0
    for text in (plain.out, plain.err, machine.out, machine.err):
        assert not [secret for secret in SECRETS if secret in text]
    assert list(machine.json) == destination_types()
    assert {name: one["verdict"] for name, one in machine.json.items()} == dict.fromkeys(machine.json, "pending")
    assert "email" in machine.json["snap"]["used"]
    assert "snap: would be sent" in plain.out
    assert '"event_name": "PURCHASE"' in plain.out


def test_a_refusal_says_field_and_fix(run: Run) -> None:
    """What would be skipped or rejected is no error of the command."""
    nobody = {key: value for key, value in purchase(1).items() if key != "user"}
    ran = run("explain", "-", "--sandbox", "--to", "snap", stdin=json.dumps(nobody).encode())
    assert ran.code == 0
    assert "snap: skipped\n  reason      user: nobody to identify\n  fix         set user.email" in ran.out


def test_one_line_of_many_can_be_chosen(run: Run, tmp_path: Path) -> None:
    """By its number, as in the reports of bad lines."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(jsonl(purchase(1), "", purchase(3), "{"))
    ran = run("explain", file, "--line", 3, "--sandbox", "--to", "meta")
    assert ran.out.startswith("purchase, event id purchase:order-3, ")
    for line, said in ((2, "there is no event on line 2"), (9, "there is no event on line 9"), (4, ":4: not a JSON")):
        ran = run("explain", file, "--line", line, "--sandbox")
        assert ran.code == 2
        assert said in ran.err
    ran = run("explain", file, "--sandbox")
    assert ran.code == 2
    assert "choose one by --line" in ran.err


def test_an_unreadable_event_is_one_line_without_its_value(run: Run) -> None:
    """The field is named."""
    ran = run("explain", "-", "--sandbox", stdin=b'{"name": "purchase", "value": "secret.person"}')
    assert ran.code == 2
    assert ran.err.startswith("capi-async: -:1: value: ")
    assert "secret.person" not in ran.err
