"""SyncClient under many threads, forks, exits and closes; then every event is accounted for.

``python -m tests.chaos.threads [--rounds 120] [--seed 0] [--json]``: every round is a process of its own, in which
threads send all the time while the client is closed and started again, the program ends, a signal ends it, or
children are forked (by ``multiprocessing``, in a pool, by ``os.fork()``) and end without closing anything. The spool is
the memory's: what is lost is lost for good. ``--play SCENARIO`` is one such process.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from capi_async import CapiError, ClientClosed, SyncClient
from tests.engine.acme import Acme, event

THREADS = 6
#: Seconds that a close may take beyond its deadline, and threads to hear of it, on a machine with other things to do.
SLACK_S = 3.0
#: Seconds after which a process that has not ended counts as stuck.
STUCK_S = 60.0
_STUCK = "did not end:"


class Report(Struct, kw_only=True):
    """What came of it.

    Attributes:
        rounds: Processes, and ``children`` that they forked.
        closes: Calls of ``close()`` beside the threads; ``longest_s``: by how much the slowest overran its deadline.
        yes, no, unknown: Events by what their caller was told.
        lost: Told yes, not arrived, and not reported as pending by a close. The promise is 0.
        stuck: Processes that did not end, threads that did not return from a call, and closes that overran their
            deadline by more than three seconds. The promise is 0.
        untrue: Told no, and arrived all the same. The promise is 0.
        wrong: Anything else that went wrong, in words. The promise is none.
    """

    rounds: int
    children: int
    closes: int
    longest_s: float
    yes: int
    no: int
    unknown: int
    lost: int
    stuck: int
    untrue: int
    wrong: list[str]
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return self.yes > 0 and self.closes > 0 and not (self.lost or self.stuck or self.untrue or self.wrong)


# One round, in a process of its own


class Player:
    """Writes down what callers were told, as it happens: the process may end at any moment."""

    def __init__(self, url: str, notes: Path, seed: int) -> None:
        self.url = url
        self.random = random.Random(seed)
        self.over = threading.Event()
        self._notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._seed = seed
        self._numbers = itertools.count()

    def note(self, word: str, *what: object) -> None:
        os.write(self._notes, (" ".join([word, *map(str, what)]) + "\n").encode())

    def client(self) -> SyncClient:
        return SyncClient([Acme(base_url=self.url)], linger_s=self.random.choice([0, 0.05, 30]))

    def number(self) -> str:
        return f"{self._seed}-{os.getpid()}-{next(self._numbers)}"

    def hand_in(self, client: SyncClient, count: int, way: str) -> None:
        """Hand some events in, and note what was said of them."""
        some = [event(self.number()) for _ in range(count)]  # type: ignore[arg-type]
        try:
            if way == "send_many":
                client.send_many(some)
            else:
                for one in some:
                    getattr(client, way)(one)
        except CapiError as error:
            stored = getattr(error, "stored", None)
            said = "no" if stored is False and len(some) == 1 else "unknown"
            for one in some:
                self.note(said, one.event_id)
            if isinstance(error, ClientClosed):
                raise
        else:
            for one in some:
                self.note("yes", one.event_id)

    def work(self, client: SyncClient) -> None:
        """One thread: all calls there are, until it is told that the client has closed."""
        choice = random.Random(threading.get_ident())
        receipt = None
        while not self.over.is_set():
            try:
                match choice.randrange(12):
                    case 0:
                        client.flush(30)
                    case 1:
                        client.explain(event())
                    case 2 if receipt is not None:
                        receipt.outcomes()
                    case 3:
                        self.hand_in(client, 5, "send_many")
                    case 4:
                        one = event(self.number())  # type: ignore[arg-type]
                        receipt = client.enqueue(one)
                        receipt.outcomes()  # returns when it is settled, or the client has closed
                        self.note("yes" if receipt.outcomes(0)["acme"].kind == "delivered" else "unknown", one.event_id)
                    case _:
                        self.hand_in(client, 1, "send")
            except ClientClosed:
                time.sleep(0.002)

    def start(self, client: SyncClient) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.work, args=(client,), daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        time.sleep(self.random.uniform(0.0, 0.3))
        return threads

    def close(self, client: SyncClient, deadline_s: float) -> None:
        started = time.monotonic()
        report = client.close(deadline_s)
        self.note("close", round(time.monotonic() - started - deadline_s, 3))
        if report is not None and report.pending:
            self.note("pending", sum(report.pending.values()))

    def end(self, threads: list[threading.Thread]) -> None:
        self.over.set()
        for thread in threads:
            thread.join(SLACK_S)
            if thread.is_alive():
                self.note("stuck", "a thread did not return")

    def in_child(self, theirs: SyncClient | None = None) -> None:
        """What a forked child does: its parent's client says no, its own one is not closed."""
        self.random.seed(os.getpid())
        self.note("child")
        if theirs is not None:
            theirs.explain(event())
            try:
                theirs.send(event(self.number()))  # type: ignore[arg-type]
            except ClientClosed:
                pass
            else:
                self.note("wrong", "a child used its parent's client")
        mine = self.client()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: self.hand_in(mine, 3, "send"), range(4)))


def closes(player: Player) -> None:
    """Closed and started again, over and over."""
    client = player.client()
    threads = player.start(client)
    for _ in range(3):
        player.close(client, player.random.choice([0.0, 0.05, 5.0]))
        client.start()
        time.sleep(player.random.uniform(0.0, 0.1))
    player.close(client, 10.0)
    player.end(threads)


def closed_twice(player: Player) -> None:
    """Several threads close it at the same time."""
    client = player.client()
    threads = player.start(client)
    closers = [threading.Thread(target=player.close, args=(client, 10.0), daemon=True) for _ in range(4)]
    for closer in closers:
        closer.start()
    player.end([*closers, *threads])


def exits(player: Player) -> None:
    """The program ends while daemon threads send."""
    client = player.client()
    player.start(client)
    sys.exit(0)


def signals(player: Player) -> None:
    """A signal's handler ends the program, wherever its main thread is."""
    client = player.client()
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
    signal.setitimer(signal.ITIMER_REAL, player.random.uniform(0.05, 0.4))
    player.start(client)
    player.work(client)


def children(player: Player) -> None:
    """Children of multiprocessing, forked while threads are inside calls."""
    client = player.client()
    threads = player.start(client)
    fork = multiprocessing.get_context("fork")
    forked = [fork.Process(target=player.in_child, args=(client,)) for _ in range(4)]
    for child in forked:
        child.start()
        time.sleep(player.random.uniform(0.0, 0.05))
    for child in forked:
        child.join(STUCK_S / 2)
        if child.exitcode != 0:
            player.note("stuck" if child.exitcode is None else "wrong", f"a child ended with {child.exitcode}")
            child.kill()
    player.close(client, 10.0)
    player.end(threads)


def forks(player: Player) -> None:
    """Children by ``os.fork()`` that end as any program does."""
    client = player.client()
    threads = player.start(client)
    forked = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            player.in_child(client)
            sys.exit(0)
        forked.append(child)
    for child in forked:
        _, status = os.waitpid(child, 0)
        if status:
            player.note("wrong", f"a child ended with {status}")
    player.close(client, 10.0)
    player.end(threads)


def pool(player: Player) -> None:
    """A pool whose workers are replaced after two tasks, and share a global client that each starts for itself."""
    client = player.client()
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2, initializer=_remember, initargs=(player, client), maxtasksperchild=2) as workers:
        workers.map(_task, range(8), chunksize=1)
        workers.close()
        workers.join()
    player.close(client, 0.0)
    player.note("close", 0)


_remembered: list[Any] = []


def _remember(player: Player, client: SyncClient) -> None:
    player.note("child")
    _remembered[:] = [player, client]


def _task(_number: int) -> None:
    player, client = _remembered
    player.hand_in(client, 3, "send")


SCENARIOS: dict[str, Callable[[Player], None]] = {
    play.__name__: play for play in (closes, closed_twice, exits, signals, children, forks, pool)
}


# All rounds


class _Arrivals(BaseHTTPRequestHandler):
    """Accepts everything, and keeps the ids."""

    protocol_version = "HTTP/1.1"
    ids: set[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.ids.update(one["id"] for one in body["events"])
        self.send_response(200)
        self.send_header("content-length", "11")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(b'{"ok":true}')

    def log_message(self, *_arguments: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_arguments: Any) -> None:
        """Clients that end cut their connections: that is what this is about."""


@contextmanager
def arrivals() -> Iterator[tuple[str, set[str]]]:
    """A server that accepts everything: its address, and the ids that arrived."""
    ids: set[str] = set()
    with _Server(("127.0.0.1", 0), type("Arrivals", (_Arrivals,), {"ids": ids})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", ids
        finally:
            server.shutdown()
            thread.join()


def run(rounds: int, seed: int, folder: Path, *, at_once: int = 1) -> Report:
    """Play the scenarios in turn, then account."""
    started = time.monotonic()
    names = list(SCENARIOS)
    with arrivals() as (url, arrived), ThreadPoolExecutor(at_once) as pool_:

        def play(number: int) -> str:
            return _play(names[number % len(names)], url, folder / f"{number}.notes", seed * 1_000 + number)

        failures = list(pool_.map(play, range(rounds)))
        told: dict[str, set[str]] = {"yes": set(), "no": set(), "unknown": set()}
        counts: Counter[str] = Counter()
        wrong = [failure for failure in failures if failure]
        late: list[float] = [0.0]
        lost = 0
        for number in range(rounds):
            notes = folder / f"{number}.notes"
            said = [line.partition(" ") for line in notes.read_text().splitlines()] if notes.exists() else []
            mine = [rest for word, _, rest in said if word == "yes"]
            pending = sum(int(rest) for word, _, rest in said if word == "pending")
            lost += max(0, len(set(mine) - arrived) - pending)
            for word, _, rest in said:
                counts[word] += 1
                if word in told:
                    told[word].add(rest)
                elif word == "close":
                    late.append(float(rest))
                elif word == "wrong":
                    wrong.append(rest)
    return Report(
        rounds=rounds,
        children=counts["child"],
        closes=counts["close"],
        longest_s=max(late),
        yes=len(told["yes"]),
        no=len(told["no"]),
        unknown=len(told["unknown"]),
        lost=lost,
        stuck=counts["stuck"]
        + sum(failure.startswith(_STUCK) for failure in failures)
        + sum(one > SLACK_S for one in late),
        untrue=len(told["no"] & arrived),
        wrong=wrong[:20],
        seconds=round(time.monotonic() - started, 1),
    )


def _play(name: str, url: str, notes: Path, seed: int) -> str:
    """Run one process; what went wrong, or nothing."""
    command = [sys.executable, "-m", "tests.chaos.threads", "--play", name, "--url", url, "--notes", str(notes)]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [*command, "--seed", str(seed)], stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        )
        try:
            status = child.wait(STUCK_S)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(child.pid, signal.SIGUSR1)  # all of them say where they are
            time.sleep(1)
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
    if status is None:
        return f"{_STUCK} {name}, seed {seed}: {text[-20_000:]}"
    return f"{name}, seed {seed}: exit {status}: {text[-2_000:]}" if status or "Traceback" in text else ""


def main() -> None:
    """Run it, print the figures, fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", choices=sorted(SCENARIOS))
    parser.add_argument("--url", default="")
    parser.add_argument("--notes", type=Path)
    options = parser.parse_args()
    if options.play:
        # from Python 3.12 on a fork beside threads warns: to fork in just that moment is what this is about
        warnings.simplefilter("ignore", DeprecationWarning)
        faulthandler.register(signal.SIGUSR1)  # children inherit it
        SCENARIOS[options.play](Player(options.url, options.notes, options.seed))
        return
    with tempfile.TemporaryDirectory() as folder:
        report = run(options.rounds, options.seed, Path(folder))
    figures = structs.asdict(report)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>16}  {value:,}" if not isinstance(value, list) else f"{name:>16}  {'; '.join(value)}")
    if not report.kept:
        raise SystemExit("a promise was broken")


if __name__ == "__main__":
    main()
