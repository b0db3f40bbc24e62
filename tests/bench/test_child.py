"""A peer's process: started by path, without the library."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from capi_async.bench import child, harness
from capi_async.bench.contenders import ENTRIES, PEERS
from capi_async.bench.feed import seeded, write


def test_a_child_started_by_its_path_loads_nothing_of_the_library(tmp_path):
    """Its memory and its imports are the peer's."""
    rows = tmp_path / "rows"
    write(rows, seeded(20), 20)
    with harness.sink() as sink:
        task = child.Task(
            module="floor", kind="Floor", options={"encoded": False, "batch": 5}, base=sink.base, rows=str(rows),
            warm_up=5, count=15,
        )  # fmt: skip
        code = (
            "import runpy, sys\n"
            "runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
            "print([name for name in sys.modules if name.startswith('capi_async') and 'bench' not in name])\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, child.__file__, msgspec.json.encode(task).decode()],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert sink.tally().distinct == 20
    figures, loaded = ended.stdout.splitlines()
    assert loaded == "['capi_async']"
    assert msgspec.json.decode(figures)["delivered"] == 20


def test_every_peer_has_a_pinned_version_and_someone_to_be_compared_with():
    """A line without either could not be read."""
    keys = [entry.key for entry in ENTRIES]
    assert len(set(keys)) == len(keys)
    for entry in ENTRIES:
        assert not entry.peer or entry.peer in PEERS
        assert entry.title.startswith("capi_async") or entry.against
        assert set(entry.against) <= set(keys)


def test_a_contender_that_fails_is_void_with_its_last_line(tmp_path):
    """Not an empty place in the table."""
    with harness.sink() as sink, pytest.raises(harness.Void, match="FileNotFoundError"):
        harness.measure(ENTRIES[0], sink, tmp_path / "none", 10)
