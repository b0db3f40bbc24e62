"""``capi-async send``."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from capi_async.destinations import destination_types
from tests.cli.conftest import Run, jsonl, purchase

ALL = destination_types()


def test_events_of_a_file_reach_every_platform_of_the_sandbox(run: Run, tmp_path: Path) -> None:
    """The table tells what became of them, and the exit code is 0."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(jsonl(purchase(1), "", purchase(2)))
    ran = run("send", file, "--sandbox")
    assert ran.code == 0, ran.out + ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == [
        "destination", "accepted", "delivered", "rejected", "skipped", "uncertain", "dead",
        "requests", "ev/req", "seconds", "p50", "p99",
    ]  # fmt: skip
    assert [line.split()[:7] for line in lines[1:-1]] == [[name, "2", "2", "0", "0", "0", "0"] for name in ALL]
    assert lines[-1].startswith("2 events read in ")
    assert "limit of 60 requests a minute" in ran.err


@pytest.mark.parametrize(("mode", "place"), [("sandbox", "delivered"), ("off", "skipped")])
def test_the_switch_of_the_environment_holds_for_the_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, place: str
) -> None:
    """Whoever sets it means that no platform is reached; a worker, which has nothing else to do, refuses to start."""
    monkeypatch.setenv("CAPI_ASYNC_MODE", mode)
    config = tmp_path / "capi.toml"
    config.write_text('[destinations.rd]\ntype = "reddit"\npixel_id = "t2_abc"\naccess_token = "a-real-token"\n')
    ran = run("send", "-", "--config", config, "--json", stdin=jsonl(purchase(1)))
    assert ran.json["destinations"]["rd"][place] == 1, ran.out + ran.err
    worker = run("worker", "--config", config, "--spool", f"sqlite:///{tmp_path}/events.db")
    assert worker.code == 2
    assert f"CAPI_ASYNC_MODE is {mode}" in worker.err


def test_json_output_has_the_same_facts(run: Run) -> None:
    """One object on stdout, nothing else there."""
    ran = run("send", "-", "--sandbox", "--to", "snap", "--to", "meta", "--json", stdin=jsonl(purchase(1)))
    assert ran.code == 0
    assert list(ran.json["destinations"]) == ["snap", "meta"]
    snap = ran.json["destinations"]["snap"]
    assert (snap["accepted"], snap["delivered"], snap["requests"], snap["events_per_request"]) == (1, 1, 1, 1.0)
    assert snap["p50_s"] > 0
    assert snap["reasons"] == []
    assert (ran.json["events"], ran.json["bad_lines"], ran.json["problems"], ran.json["lost"]) == (1, 0, [], False)


def test_bad_lines_are_named_and_do_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    """File, line and field, never the value; exit code 1."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(
        jsonl(
            purchase(1),
            '{"name": "purchase", "value": "geheim"}',
            "{broken secret.person@mail.example",
            purchase(2, currency="XXQ"),
            purchase(3, user={"mail": "secret.person@mail.example"}),
            purchase(4, to=["nobody"]),
            purchase(5),
        )
        + b"\xff\xfe\n"
    )
    ran = run("send", file, "--sandbox", "--to", "snap", "--json")
    assert ran.code == 1
    assert ran.json["destinations"]["snap"]["delivered"] == 2
    assert [(one["line"], one["field"]) for one in ran.json["problems"]] == [
        (2, "value"), (3, ""), (5, "user.mail"), (8, ""), (4, "currency"), (6, "to"),
    ]  # fmt: skip
    assert f"{file}:5: user.mail: there is no such field" in ran.err
    assert "geheim" not in ran.err + ran.out
    assert "secret.person" not in ran.err + ran.out


def test_gzipped_files_are_read_as_they_are(run: Run, tmp_path: Path) -> None:
    """Whatever their name; a cut one gives what it holds and a problem."""
    whole, cut = tmp_path / "events.jsonl.gz", tmp_path / "cut.jsonl"
    packed = gzip.compress(jsonl(*(purchase(number) for number in range(300))))
    whole.write_bytes(packed)
    cut.write_bytes(packed[:-20])
    assert run("send", whole, "--sandbox", "--to", "snap").code == 0
    ran = run("send", cut, "--sandbox", "--to", "snap", "--json")
    assert ran.code == 1
    assert ran.json["problems"][-1]["reason"] == "cannot be read any further (EOFError)"


def test_refusals_are_told_with_field_and_fix(run: Run) -> None:
    """Those found before anything is sent as well; a skipped event is no loss beside one that is delivered."""
    nobody = {key: value for key, value in purchase(1).items() if key != "user"}
    ran = run("send", "-", "--sandbox", "--to", "snap", "--to", "meta", stdin=jsonl(nobody, purchase(2)))
    assert ran.code == 0
    assert "snap: skipped: user: nobody to identify (set user.email" in ran.out
    late = purchase(1, time="2020-01-01T00:00:00Z")
    ran = run("send", "-", "--sandbox", "--to", "snap", stdin=jsonl(late))
    assert ran.code == 1
    assert "expired" in ran.out.splitlines()[0]
    assert "snap: expired: time: " in ran.out


def test_test_mode_reaches_the_platforms_as_such(run: Run) -> None:
    """Where there is none, events are skipped."""
    ran = run("send", "-", "--sandbox", "--test", "--json", stdin=jsonl(purchase(1)))
    delivered = {name: one["delivered"] for name, one in ran.json["destinations"].items()}
    assert delivered == {**dict.fromkeys(ALL, 1), "cutmeshort": 0, "linkedin": 0}
    for name in ("cutmeshort", "linkedin"):
        assert ran.json["destinations"][name]["skipped"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jsonl", "--sandbox"], "nowhere.jsonl: cannot be read (No such file or directory)"),
        (["-"], "the environment names no destination"),
        (["-", "--sandbox", "--to", "myspace"], "--to: no destination myspace; there are snap, snap_v2"),
        (["-", "--sandbox", "--config", "x.toml"], "--sandbox and --config exclude each other"),
        (["-", "--config", "absent.toml"], "absent.toml: cannot be read (FileNotFoundError)"),
        (["-", "--sandbox", "--format", "csv"], "-: CSV needs --mapping FILE"),
        (["-", "--sandbox", "--mapping", "absent.toml"], "absent.toml: cannot be read"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run: Run, arguments: list[str], said: str) -> None:
    """No traceback, nothing on stdout."""
    ran = run("send", *arguments, stdin=b"")
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""


def test_a_configuration_file_names_the_destinations(run: Run, tmp_path: Path) -> None:
    """An account that answers nothing is given up at the deadline, and its events are told as pending."""
    config = tmp_path / "capi.toml"
    config.write_text(
        '[destinations.web]\ntype = "snap"\npixel_id = "00000000-0000-4000-8000-000000000001"\n'
        'access_token = "env:TOKEN_OF_TEST"\nbase_url = "http://127.0.0.1:9"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKEN_OF_TEST", "sandbox-token")
        ran = run("send", "-", "--config", config, "--deadline", "0.3", "--json", stdin=jsonl(purchase(1)))
    assert ran.code == 1
    assert ran.json["destinations"]["web"]["pending"] == 1
    assert ran.json["stopped"] == "the deadline of 0.3 s has come"


def test_ctrl_c_closes_and_prints_the_table(tmp_path: Path) -> None:
    """In a real process whose standard input stays open; exit code 130."""
    command = [sys.executable, "-m", "capi_async", "send", "-", "--sandbox", "--to", "snap"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        # bad lines are told while the pipe stays open: a slow pipe is not waited for
        for piece, number in ((jsonl("oops"), 1), (jsonl(purchase(1)), 0), (jsonl("oops"), 3)):
            process.stdin.write(piece)
            process.stdin.flush()
            if number:
                assert process.stderr.readline().startswith(b"-:%d: not a JSON object" % number)
            else:
                time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read().decode()
        assert process.wait(20) == 130
        assert b"Traceback" not in process.stderr.read()
    assert out.splitlines()[1].split()[:3] == ["snap", "1", "1"]
    assert "interrupted" in out
