"""The frame around the commands, and the sandbox command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

import capi_async
from capi_async.cli import main as main_module
from capi_async.cli.summary import Durations
from capi_async.destinations import destination_types
from tests.cli.conftest import Run


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It names what to install; exit code 2."""
    monkeypatch.setattr(main_module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as raised:
        main_module.main()
    assert raised.value.code == 2
    assert capsys.readouterr().err == "capi-async: the command line needs its extra: install capi_async[cli]\n"


def test_the_version_is_the_packages(run: Run) -> None:
    """And nothing else."""
    assert run("--version").out == f"capi-async {capi_async.__version__}\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), ("send", "explain", "sandbox", "--version")),
        (("send",), ("--to NAME", "--mapping FILE", "--deadline SECONDS", "exit code is 0", 'order_id = "InvoiceNo"')),
        (("explain",), ("--line N", "Nothing is sent")),
        (("sandbox",), ("--port N", "sandbox-token", "--no-rates")),
    ],
)
def test_help_is_plain_and_names_the_options(run: Run, command: tuple[str, ...], said: tuple[str, ...]) -> None:
    """Without escape sequences."""
    ran = run(*command, "--help")
    assert ran.code == 0
    assert not [text for text in said if text not in ran.out]
    assert "\x1b" not in ran.out
    assert "\x08" not in ran.out


@pytest.mark.parametrize(
    "command",
    [
        "", "send", "explain", "mapping", "doctor", "sandbox", "bench", "worker", "top", "queue", "queue status",
        "queue dead", "queue replay", "queue forget", "tiktok-shop", "tiktok-shop authorize", "tiktok-shop orders",
        "tiktok-shop forward",
    ],
)  # fmt: skip
def test_help_fits_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """The example of a mapping file included."""
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, run(*command.split(), "--help").out.splitlines())) <= 80


def test_unknown_options_are_exit_code_2(run: Run) -> None:
    """As everywhere."""
    assert run("send", "-", "--nope").code == 2


def test_the_sandbox_serves_until_ctrl_c() -> None:
    """It prints where every platform is, answers there, and ends without a traceback."""
    command = [sys.executable, "-m", "capi_async", "sandbox", "--port", "0", "--no-rates"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        assert first.startswith("The sandbox listens on http://127.0.0.1:")
        url = first.split()[4]
        urls = [process.stdout.readline().split() for _ in range(1 + len(destination_types()))][1:]
        assert ["meta", f"{url}meta"] in urls
        with urllib.request.urlopen(f"{url}_sandbox/rates", timeout=10) as answer:  # noqa: S310
            assert set(json.load(answer).values()) == {None}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tiktok_pixel=tolrant", "tiktok_pixel has no reading 'tolrant'; it has partial, tolerant; is tolerant meant?"),
        ("tiktok_pixl=tolerant", "tiktok_shop; is tiktok_pixel meant?"),
        ("tiktok_pixel=tolerant,partal", "no reading 'partal'"),
        ("tolerant", "is tiktok_pixel=tolerant meant?"),
        ("meta=x", "meta has no reading 'x'; it has none"),
        ("snap=", "--reading list shows all"),
    ],
)
def test_a_reading_that_does_not_exist_names_the_nearest(run: Run, given: str, said: str) -> None:
    """Before anything listens; exit code 2."""
    ran = run("sandbox", "--port", 0, "--reading", "snap=zero_based", "--reading", given)
    assert ran.code == 2
    assert ran.err.startswith("capi-async: --reading: ")
    assert said in ran.err


def test_every_reading_is_listed_with_what_it_changes(run: Run) -> None:
    """In 80 columns."""
    ran = run("sandbox", "--reading", "list")
    assert ran.code == 0
    for name in ("snap=zero_based", "snap_v2=atomic", "pinterest=partial_422", "tiktok_pixel=tolerant",
                 "cutmeshort=one_day", "tiktok_shop=http_200"):  # fmt: skip
        assert name in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_readings_are_served() -> None:
    """The tolerant pixel takes a row without its type; the page says which reading is in force."""
    command = [sys.executable, "-m", "capi_async", "sandbox", "--port", "0", "--reading", "tiktok_pixel=tolerant"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().split()[4]
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            assert "reading: tolerant" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("queue", "dead", "sqlite:///none.db", "--kind", "ded"), "there are dead, uncertain; is dead meant?"),
        (("queue", "status", "env:CAPI_NO_SUCH_SPOOL"), "the environment variable CAPI_NO_SUCH_SPOOL is not set"),
        (("send", "-", "--sandbox", "--to", "snpa"), "no destination snpa; there are snap, "),
        (("send", "-", "--sandbox", "--to", "tiktokpixel"), "; is tiktok_pixel meant?"),
        (("send", "-", "--sandbx"), "--sandbox"),
        (("snd",), "send"),
        (("queue", "statu"), "status"),
    ],
)
def test_a_name_that_does_not_exist_names_the_nearest(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """Options, commands, kinds and destinations: a line, and exit code 2."""
    ran = run(*arguments, stdin=b"")
    assert (ran.code, said in ran.err) == (2, True)
    assert "Traceback" not in ran.err


def test_a_port_in_use_is_one_line(run: Run) -> None:
    """No traceback; exit code 2."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run("sandbox", "--port", taken.getsockname()[1])
    assert ran.code == 2
    assert "cannot listen on 127.0.0.1:" in ran.err


def test_percentiles_are_within_their_buckets() -> None:
    """Bounded memory, 2.5 % of error."""
    durations = Durations()
    assert durations.percentile(0.5) is None
    for milliseconds in range(1, 1_001):
        durations.add(milliseconds / 1_000)
    assert durations.percentile(0.50) == pytest.approx(0.5, rel=0.03)
    assert durations.percentile(0.99) == pytest.approx(0.99, rel=0.03)
