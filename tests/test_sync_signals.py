"""A signal's handler may use the blocking client that its thread is inside of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PLAY = """
import faulthandler, itertools, signal, sys, threading
from capi_async import SyncClient
from tests.engine.acme import Acme, event
from tests.engine.threaded_server import ThreadedServer

faulthandler.dump_traceback_later(40, exit=True)
server = ThreadedServer().start()
numbers, handled, inside = itertools.count(), [], []
clients = [SyncClient([Acme(base_url=server.url)], linger_s=0)]
calls = {
    "send": lambda: clients[-1].send(event(next(numbers)), timeout_s=30),
    "enqueue": lambda: clients[-1].enqueue(event(next(numbers))),
    "track": lambda: clients[-1].track(event(next(numbers))),
}

def handler(*_):
    if not inside:  # one within another would pile up
        inside.append(1)
        calls[sys.argv[1]]()
        handled.append(1)
        inside.clear()

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
sent = 0
while len(handled) < 400:
    for call in calls.values():
        assert call() is not None
        sent += 1
    if sent % 60 == 0:
        # starting is interrupted, too
        clients.append(SyncClient([Acme(base_url=server.url)], linger_s=0))
signal.setitimer(signal.ITIMER_REAL, 0)
reports = [client.close(20) for client in clients]
assert all(report is None or report.complete for report in reports), reports
delivered = sum(report.ledger["acme"].delivered for report in reports if report is not None)
assert delivered == sent + len(handled) == next(numbers), (delivered, sent, len(handled))
assert "capi_async-loop" not in [thread.name for thread in threading.enumerate()]
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no interval timers")
@pytest.mark.parametrize("call", ["send", "enqueue", "track"])
def test_a_signals_handler_may_send_in_the_middle_of_any_call(call: str) -> None:
    """Real signals, thousands a second: whatever they interrupt, nobody waits for ever, and every event arrives."""
    done = subprocess.run(
        [sys.executable, "-c", _PLAY, call],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.stdout == "done\n", done.stderr
    assert done.returncode == 0
