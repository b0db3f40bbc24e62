"""The parent: a sink, rows, and every contender in turn, repeat by repeat; whatever does not add up is void."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from capi_async.bench import feed
from capi_async.bench.child import Task
from capi_async.bench.contenders import Entry
from capi_async.bench.environment import Peers
from capi_async.bench.sink import Tally

#: Of a run's events: how many go before the clock starts, and how many follow with a watch on the loop.
WARM_UP: Final = 0.2
LAG: Final = 0.5
RUN_TIMEOUT_S: Final = 900.0
#: Run by path for peers.
CHILD: Final = str(Path(__file__).with_name("child.py"))
#: Runs a child with this Python.
OURS: Final = (sys.executable, "-m", "capi_async.bench.child")

Say = Callable[[str], None]


class Void(Exception):
    """A run that does not count, and why."""


class Run(msgspec.Struct, frozen=True):
    """One contender's figures, one list per figure, one place per repeat."""

    key: str
    title: str
    events: int
    figures: dict[str, list[float]]
    versions: dict[str, str]


class Sink:
    """The sink process, seen from here."""

    def __init__(self, base: str) -> None:
        self.base = base

    def clear(self, *, keep: bool = True) -> None:
        """Forget what arrived."""
        self._call("DELETE", "" if keep else "?keep=0")

    def tally(self) -> Tally:
        """What arrived."""
        return msgspec.json.decode(self._call("GET"), type=Tally)

    def _call(self, method: str, query: str = "") -> bytes:
        request = urllib.request.Request(f"{self.base}/{query}", method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
            found: bytes = answer.read()
            return found


def cores() -> tuple[int | None, int | None]:
    """One for the contender, one for the sink; ``None`` where there is no choice."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


@contextmanager
def sink() -> Iterator[Sink]:
    """A sink process on its own core, ended afterwards."""
    process = subprocess.Popen([sys.executable, "-m", "capi_async.bench.sink"], stdout=subprocess.PIPE, text=True)
    try:
        _, core = cores()
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None  # noqa: S101
        port = process.stdout.readline().strip()
        if not port:
            raise Void("the sink did not start")
        yield Sink(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run_child(
    command: Sequence[str],
    task: Task,
    environment: dict[str, str] | None = None,
    *,
    timeout_s: float = RUN_TIMEOUT_S,
) -> dict[str, Any]:
    """Run one child and read its figures.

    Raises:
        Void: It failed, or says that something was not delivered.
    """
    try:
        ended = subprocess.run(  # noqa: S603
            [*command, msgspec.json.encode(task).decode()],
            capture_output=True, text=True, timeout=timeout_s, env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Void(f"not done in {timeout_s:.0f} s") from None
    if ended.returncode:
        last = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        raise Void(last[0])
    figures: dict[str, Any] = msgspec.json.decode(ended.stdout.splitlines()[-1])
    return figures


def measure(
    entry: Entry,
    it: Sink,
    rows: Path,
    count: int,
    *,
    command: Sequence[str] | None = None,
    keep: bool = True,
    lag: bool = True,
    warm_up: int | None = None,
    own: bool = False,
    rate: float = 0.0,
    lag_share: float = LAG,
    pinned: bool = True,
    timeout_s: float = RUN_TIMEOUT_S,
) -> dict[str, Any]:
    """One run of one contender.

    Args:
        command: The peer's Python and this harness's child; ours if not given.
        own: The command runs this Python, not a peer's.
        rate: Arrivals per second, for contenders of a web application.
        pinned: To the contenders' core.
        keep: Let the sink decode every body afterwards; else it counts by the marker only.

    Raises:
        Void: Sent, delivered and counted by the sink are not the same number.
    """
    it.clear(keep=keep)
    task = Task(
        module=entry.module,
        kind=entry.kind,
        options=entry.options,
        base=it.base,
        rows=str(rows),
        warm_up=max(1, int(count * WARM_UP)) if warm_up is None else warm_up,
        count=count,
        lag_count=max(1, int(count * lag_share)) if entry.loop and lag else 0,
        core=cores()[0] if pinned else None,
        versions=[entry.peer] if entry.peer else ["aiohttp", "msgspec"],
        rate=rate,
    )
    environment = None
    if command is not None and not own:  # nothing of ours may reach a peer's process
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    figures = run_child(command or OURS, task, environment, timeout_s=timeout_s)
    sent, delivered, copies = (figures.pop(name) for name in ("sent", "delivered", "copies"))
    agree(it.tally(), sent=sent, delivered=delivered, copies=copies, again=entry.options.get("encoded", False))
    return figures


def agree(tally: Tally, *, sent: int, delivered: int, copies: int, again: bool = False) -> None:
    """The rule; ``again`` is for bytes that were sent more than once on purpose.

    Raises:
        Void: It is broken.
    """
    if sent != delivered or delivered * copies != tally.events:
        raise Void(f"sent {sent}, delivered {delivered}, the sink counted {tally.events} for {copies} destinations")
    if tally.decoded is not None and tally.decoded != tally.events:
        raise Void(f"the sink decoded {tally.decoded} events and counted {tally.events}")
    if tally.distinct is not None and not again and tally.distinct != tally.events:
        raise Void(f"the sink counted {tally.events} events with {tally.distinct} ids")


def write_rows(path: Path, count: int, *, seed: int, events_file: Path | None) -> None:
    """The rows of one repeat."""
    source = feed.real(events_file) if events_file else feed.seeded(count, seed=seed)
    if not feed.write(path, source, count):
        raise Void(f"no events in {events_file}")


def compare(
    entries: Sequence[Entry],
    peers: Peers,
    *,
    events: int,
    repeats: int,
    events_file: Path | None = None,
    say: Say = lambda _text: None,
) -> tuple[list[Run], dict[str, str]]:
    """All contenders, interleaved: each repeat runs each of them once, after a round that warms the machine.

    Returns the runs, and for each contender that has none why: it is missing, or its runs are void.
    """
    commands = {entry.key: peers.command(entry.peer, CHILD) for entry in entries if entry.peer}
    absent = {
        entry.key: f"{entry.peer} is not installed" for entry in entries if entry.peer and commands[entry.key] is None
    }
    runs: dict[str, Run] = {}
    with sink() as it, tempfile.TemporaryDirectory(prefix="capi_async-bench-") as folder:
        rows = Path(folder) / "rows"
        for repeat in range(repeats + 1):
            write_rows(rows, int(events * (1 + WARM_UP + LAG)), seed=repeat, events_file=events_file)
            # each repeat begins elsewhere, so that nobody always follows the same neighbour
            turn = repeat % len(entries)
            for entry in (*entries[turn:], *entries[:turn]):
                if entry.key in absent:
                    continue
                count = max(1, int(events * entry.share))
                if not repeat:
                    count = max(1, count // 5)
                try:
                    figures = measure(entry, it, rows, count, command=commands.get(entry.key))
                except Void as error:
                    absent[entry.key] = f"void: {error}"
                    runs.pop(entry.key, None)
                    say(f"{entry.title}: void: {error}")
                    continue
                versions = figures.pop("versions")
                if not repeat:
                    continue
                say(f"{repeat}/{repeats} {entry.title}: {figures['cpu_us']:.1f} us")
                run = runs.setdefault(entry.key, Run(entry.key, entry.title, count, {}, versions))
                for name, value in figures.items():
                    run.figures.setdefault(name, []).append(value)
    return [runs[entry.key] for entry in entries if entry.key in runs], absent
