"""The blocking client inside a real Celery worker: every event that a task handed in arrives, or is said to be lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import capi_async
from tests.engine.threaded_server import ThreadedServer

pytest.importorskip("celery", reason="celery is not installed: pip install '.[test]'")

TASKS = 3

#: A program of its own: what is imported, forked and left behind here is a worker's, not the test's.
_WORKER = """
import faulthandler, os, signal, sys
from celery import Celery
from capi_async import SyncClient, ending
from capi_async.integrations.celery import setup
from tests.engine.acme import Acme, event

faulthandler.register(signal.SIGUSR2)  # for a test that waits too long; Celery has a use of its own for SIGUSR1
folder, url, pool, tasks = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if url.endswith(":9"):
    ending.EXIT_S = 0.5  # nobody answers there: that is waited for until the end
app = Celery(broker="filesystem://", set_as_current=True)
app.conf.update(
    broker_transport_options={
        "data_folder_in": folder, "data_folder_out": folder, "control_folder": folder + "/control",
        "polling_interval": 0.02,
    },
    task_always_eager=pool == "eager", worker_hijack_root_logger=False, worker_redirect_stdouts=False,
    worker_enable_remote_control=False, worker_send_task_events=False,
)
if sys.argv[5] == "setup":
    capi = setup(app, lambda: SyncClient([Acme(base_url=url)], linger_s=60))
else:
    # made where the module is imported, and started by the first call in the process that makes it
    client = SyncClient([Acme(base_url=url)], linger_s=60)
    capi = lambda: client

@app.task
def pay(number):
    capi().send(event(number))
    with open(folder + "/accepted", "a") as file:
        file.write(f"{os.getpid()} e{number}\\n")

for number in range(tasks):
    pay.delay(number)
if pool != "eager":
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    app.worker_main(["worker", "--pool", pool, "--concurrency", "2", "--max-tasks-per-child", "1", *quiet])
"""


@pytest.fixture
def platform() -> Iterator[ThreadedServer]:
    """A server that accepts everything and keeps the events' ids."""
    server = ThreadedServer().start()
    yield server
    server.stop()


def _stacks(worker: subprocess.Popen[bytes], said: Path) -> str:
    """Where the threads of a worker's processes are, after all that they said."""
    before = len(said.read_text("utf-8"))
    with suppress(ProcessLookupError):  # it has ended after all
        os.killpg(worker.pid, signal.SIGUSR2)
    until = time.monotonic() + 20
    while worker.poll() is None and "Current thread" not in said.read_text("utf-8")[before:]:
        assert time.monotonic() < until, said.read_text("utf-8")
        time.sleep(0.02)
    time.sleep(0.5)  # all of it, and that of the children
    return said.read_text("utf-8")


def _worked(folder: Path, url: str, pool: str, made: str, ended: Callable[[str], bool]) -> tuple[list[list[str]], str]:
    """Run a worker until every task is done, and end it warmly; what its tasks handed in, and what it said.

    Args:
        ended: Whether the children have ended that had a task, by what they said; a prefork worker is told to end only
            then. Its own end is waited for, but its pool may wait for ever for a lock that a child held which has ended
            (``_help_stuff_finish`` in ``billiard/pool.py``): no process may be waiting for anything of ours then.
    """
    (folder / "control").mkdir()
    (folder / "worker.py").write_text(_WORKER, "utf-8")
    accepted, said = folder / "accepted", folder / "said"
    accepted.touch()
    with said.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, str(folder / "worker.py"), str(folder), url, pool, str(TASKS), made],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "C_FORCE_ROOT": "1"},
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 60
        while worker.poll() is None and not (
            len(accepted.read_text("utf-8").splitlines()) == TASKS
            and (pool != "prefork" or ended(said.read_text("utf-8")))
        ):
            assert time.monotonic() < until, said.read_text("utf-8")
            time.sleep(0.02)
        if pool != "eager":
            worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(3 if pool == "prefork" else 30)
        except subprocess.TimeoutExpired:
            stacks = _stacks(worker, said)
            assert pool == "prefork", stacks
            assert f'"{Path(capi_async.__file__).parent}' not in stacks, stacks
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    return [line.split() for line in accepted.read_text("utf-8").splitlines()], said.read_text("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="prefork needs fork")
@pytest.mark.parametrize(
    ("pool", "made"),
    [("prefork", "setup"), ("threads", "setup"), ("solo", "setup"), ("eager", "setup"), ("prefork", "by hand")],
)
def test_what_tasks_hand_in_is_delivered_when_their_process_ends(
    platform: ThreadedServer, tmp_path: Path, pool: str, made: str
) -> None:
    """At the end of a child after its one task, or of the worker at a warm shutdown; nothing was sent before."""
    handed_in, said = _worked(tmp_path, platform.url, pool, made, lambda _said: len(platform.ids) >= TASKS)
    assert sorted(name for _, name in handed_in) == [f"e{number}" for number in range(TASKS)], said
    assert sorted(platform.ids) == sorted(name for _, name in handed_in), said
    assert len({process for process, _ in handed_in}) == (TASKS if pool == "prefork" else 1)


@pytest.mark.skipif(sys.platform == "win32", reason="prefork needs fork")
def test_what_cannot_be_delivered_when_a_child_ends_is_said(tmp_path: Path) -> None:
    """Each child says how many events its memory held, and for which destination."""
    lost = "acme: closed with 1 events undelivered in memory; they are lost with this process"
    handed_in, said = _worked(
        tmp_path, "http://127.0.0.1:9", "prefork", "by hand", lambda said: said.count(lost) >= TASKS
    )
    assert len({process for process, _ in handed_in}) == TASKS
    assert said.count(lost) == TASKS
