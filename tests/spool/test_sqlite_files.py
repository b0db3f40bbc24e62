"""The file itself: durable when it says so, private, recognised, and never quietly replaced."""

from __future__ import annotations

import asyncio
import base64
import errno
import fcntl
import json
import logging
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capi_async import files
from capi_async.cli.queue import app
from capi_async.errors import ConfigError, SpoolError
from capi_async.files import file_system
from capi_async.spool.base import Ledger, LetterFilter
from capi_async.spool.chunks import encode
from capi_async.spool.sqlite import parse, schema
from capi_async.testing import ManualClock
from tests.spool.harness import (
    DEAD,
    DELIVERED,
    NAMES,
    die,
    ids,
    looked,
    new_clock,
    opened,
    record,
    refusal,
    sqlite,
    take,
)

KEY, OLD_KEY = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))

TRACED = """
    import asyncio, os, sys
    from pathlib import Path
    from capi_async.spool.sqlite import spool as tending
    from tests.spool.harness import new_clock, record, sqlite

    async def main():
        tending._EVERY["checkpoint"] = 1e9  # it syncs, too
        spool = sqlite(Path(sys.argv[1]), new_clock(), sys.argv[2])
        await spool.open(("a", "b"), lambda _name: None)
        for number in range(20):
            os.write(2, b"<send>")
            await spool.append([record(str(number))], [])
            os.write(2, b"<accepted>")
            await asyncio.sleep(0)

    asyncio.run(main())
"""


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


def traced(path: Path, query: str) -> list[str]:
    """The synchronising system calls between handing in and acceptance, for each append."""
    log = path / "trace"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,write", "-s", "16", "-o", str(log),
         sys.executable, "-c", textwrap.dedent(TRACED), str(path), query],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    spans = re.findall(r"<send>(.*?)<accepted>", log.read_text("utf-8", "replace"), re.DOTALL)
    assert len(spans) == 20
    return spans


if shutil.which("strace"):

    def test_an_accepted_event_has_been_synced_to_the_disk(tmp_path: Path) -> None:
        """The system calls say so: before each acceptance, a sync returned 0."""
        for span in traced(tmp_path, ""):
            assert re.search(r"f(data)?sync\(\d+\)\s*=\s*0|f(data)?sync resumed>\)\s*=\s*0", span)

    def test_normal_leaves_the_sync_to_the_operating_system(tmp_path: Path) -> None:
        """What ``synchronous=normal`` gives up, and why it is faster."""
        assert not any("sync(" in span for span in traced(tmp_path, "?synchronous=normal"))


async def test_only_the_owner_may_read_what_is_stored(tmp_path: Path, clock: ManualClock) -> None:
    """Whatever the umask, side files and locks included."""
    before = os.umask(0)
    try:
        async with opened(sqlite(tmp_path, clock)) as spool:
            await spool.append([record("1")], [])
            made = list(tmp_path.iterdir())
            assert len(made) >= 4
            assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {0o600}
    finally:
        os.umask(before)


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    """Clearly, and untouched."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])
    with sqlite3.connect(tmp_path / "events.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="newer capi_async"):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
    assert [file.name for file in tmp_path.glob("*corrupt*")] == []


async def test_somebody_else_s_database_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    """Our tables do not belong there."""
    with sqlite3.connect(tmp_path / "events.db") as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(ConfigError, match="something else"):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)


def test_an_older_file_is_brought_up_to_date_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step in its own transaction, the form noted with it."""
    done: list[int] = []
    monkeypatch.setattr(schema, "VERSION", 3)
    db = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    schema.migrate(db, 1, {1: lambda _db: done.append(1), 2: lambda _db: done.append(2)})
    assert done == [1, 2]
    assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()


async def test_a_damaged_file_is_set_aside_and_reported(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Never recreated over: its bytes are still there under another name, and the next start is a fresh one."""
    path = tmp_path / "events.db"
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"this is no table, but it may hold events" * 100)
    with pytest.raises(SpoolError, match=r"damaged.*renamed"):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
    (aside,) = tmp_path.glob("events.db.corrupt-*")
    assert aside.read_bytes().endswith(b"may hold events")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert "set aside" in caplog.text
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])


@pytest.mark.parametrize("linked", [False, True])
async def test_a_file_that_is_no_spool_is_left_as_it_is(tmp_path: Path, clock: ManualClock, linked: bool) -> None:
    """A typo in a path costs nobody a file, nor its mode; nothing is made beside it either."""
    target = tmp_path / "events.db"
    if linked:
        (tmp_path / "elsewhere").mkdir()
        target = tmp_path / "elsewhere" / "somebody-elses.conf"
        (tmp_path / "events.db").symlink_to(target)
    target.write_text("[destinations.snap]")
    target.chmod(0o644)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="is no spool"):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
    assert sorted(tmp_path.iterdir()) == before
    assert target.read_text() == "[destinations.snap]"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


async def test_a_damaged_database_of_unknown_origin_is_left_as_it_is(tmp_path: Path, clock: ManualClock) -> None:
    """Nothing in it says that it is a spool."""
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    content = path.read_bytes()[:100] + b"x" * 5_000
    path.write_bytes(content)
    with pytest.raises(SpoolError, match="left as it is"):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
    assert path.read_bytes() == content


async def test_looking_into_a_spool_changes_nothing(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in it nor beside it: closed in order, left by a crash, or in use."""
    # what the process that uses it writes by itself in the meantime is not the doing of whoever looks
    monkeypatch.setattr("capi_async.spool.sqlite.spool.TICK_S", 1e6)

    def state(folder: Path) -> dict[str, tuple[bytes, int]]:
        files = [one for one in folder.iterdir() if one.is_file() and "-shm" not in one.name]
        return {one.name: (one.read_bytes(), one.stat().st_mode) for one in files}

    async def look(folder: Path) -> None:
        before = state(folder)
        for command in (["status", "--json"], ["dead"], ["export"], ["replay", "--dry-run"]):
            where = f"sqlite:///{folder / 'events.db'}"
            result = await asyncio.to_thread(
                CliRunner().invoke, app, [command[0], where, *command[1:]], catch_exceptions=False
            )
            assert result.exit_code == 0
            assert command[0] != "status" or json.loads(result.stdout)["a"]["accepted"] == 2
            assert "1" in result.stdout
        assert state(folder) == before

    async with opened(sqlite(tmp_path, clock)) as spool:
        await looked(spool)
        await spool.append([record("1"), record("2")], [])
        await spool.settle(await take(spool, limit=1), [DEAD])
        await spool.call(spool.store.space.checkpoint)
        await look(tmp_path)
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for file in tmp_path.glob("events.db*"):
            shutil.copy(file, crashed)
    await look(crashed)
    await look(tmp_path)


if os.geteuid() == 0:

    async def test_a_file_that_somebody_else_has_put_there_is_not_used(tmp_path: Path, clock: ManualClock) -> None:
        """He could read what is stored; nor are his lock files, which he could hold for ever, nor links to his own."""
        path = tmp_path / "events.db"
        for name in ("events.db", "events.db-wal", "events.db-lock", "events.db-rates"):
            planted = tmp_path / name
            planted.touch(mode=0o600)
            os.chown(planted, 65534, 65534)
            spool = sqlite(tmp_path, clock)
            if name == "events.db-rates":
                async with opened(spool):
                    with pytest.raises(SpoolError, match="cannot be kept"):
                        await spool.draw_tokens("a", rate=1.0, burst=1.0, wanted=1.0)
            else:
                with pytest.raises(SpoolError, match="cannot be used"):
                    await spool.open(NAMES, lambda _name: None)
            planted.unlink()
            path.unlink(missing_ok=True)
        (tmp_path / "theirs.db").touch()
        path.symlink_to(tmp_path / "theirs.db")
        tmp_path.chmod(0o1777)
        with pytest.raises(SpoolError, match="link in a directory that others may write"):
            await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
        tmp_path.chmod(0o700)
        async with opened(sqlite(tmp_path, clock)):
            pass


@pytest.mark.parametrize("seed", range(12))
async def test_damage_anywhere_is_an_error_or_counted_never_a_crash(
    tmp_path: Path, clock: ManualClock, seed: int
) -> None:
    """A page overwritten at a random place: the file is set aside, or the events are given out or dead."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        for start in range(0, 400, 40):
            await spool.append([record(f"{number:04}", body=b"x" * 500) for number in range(start, start + 40)], [])
    path = tmp_path / "events.db"
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    at = chance.randrange(100, len(data) - 512)
    data[at : at + 512] = chance.randbytes(512)
    path.write_bytes(data)
    spool = sqlite(tmp_path, clock)
    try:
        await spool.open(NAMES, lambda _name: None)
    except (SpoolError, ConfigError):
        return
    try:
        out = 0
        while leased := await take(spool):
            out += len(leased)
            await spool.settle(leased, [DELIVERED] * len(leased))
        counts = spool.ledger()["a"]
        assert counts.delivered == out
        assert counts.delivered + counts.dead + counts.pending == 400
    except SpoolError:
        pass
    finally:
        await spool.close()


async def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path, clock: ManualClock) -> None:
    """Nothing is accepted where nothing can be kept."""
    with pytest.raises(SpoolError, match=r"cannot be|does not exist"):
        await sqlite(tmp_path / "nowhere", clock).open(NAMES, lambda _name: None)
    with pytest.raises(SpoolError, match="cannot be"):
        await sqlite(Path("/proc"), clock).open(NAMES, lambda _name: None)


READER = """
    import asyncio, codecs, os, sys
    from pathlib import Path
    from capi_async.errors import SpoolError
    from tests.spool.harness import new_clock, NAMES, sqlite

    async def main():
        codecs.lookup("unicode_escape")  # loaded while the interpreter's own files can be read
        if os.getuid() == 0:  # root may write anywhere
            os.setuid(65534)
        try:
            await sqlite(Path(sys.argv[1]), new_clock()).open(NAMES, lambda _name: None)
        except SpoolError as error:
            print("SpoolError", error)

    asyncio.run(main())
"""


@pytest.mark.parametrize("there", [False, True])
async def test_a_read_only_directory_is_a_clear_error_and_harms_nothing(clock: ManualClock, there: bool) -> None:
    """With a file in it or without; writable again, everything is there."""
    with tempfile.TemporaryDirectory() as name:  # not below pytest's own, where only its user may go
        folder = Path(name)
        if there:
            async with opened(sqlite(folder, clock)) as spool:
                await spool.append([record("1")], [])
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        command = [sys.executable, "-c", textwrap.dedent(READER), name]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.startswith(f"SpoolError {folder}/events.db cannot be"), done.stderr
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        folder.chmod(0o700)
        for file in folder.iterdir():
            file.chmod(0o600)
        async with opened(sqlite(folder, clock)) as spool:
            assert ids(await take(spool)) == (["1"] if there else [])


class Raising(logging.Handler):
    """The application's own, on the disk that is full."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(errno.EFBIG, "File too large")


@pytest.mark.parametrize("logs", ["", "to the full disk"])
async def test_a_full_disk_refuses_what_comes_and_keeps_what_it_has(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, logs: str
) -> None:
    """The caller is told; what was accepted is settled once there is room again."""
    if logs:
        monkeypatch.setattr(logging.getLogger("capi_async"), "handlers", [Raising()])
    # no byte may be written: fails like a full disk, without needing one. A limit at the log's size would not
    # do, since a log that was checkpointed in time begins again at its start, and has room
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1", body=b"x" * 20_000)], [])
        leased = await take(spool)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
            with pytest.raises(SpoolError, match="storage failed"):
                await spool.append([record("2", body=b"x" * 20_000)], [refusal("3")])
            assert spool.ledger()["a"] == Ledger(accepted=1, pending=1)
            settling = asyncio.create_task(spool.settle(leased, [DELIVERED]))
            await asyncio.sleep(0.3)
            assert not settling.done()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await settling
        await spool.append([record("4")], [])
        assert spool.ledger()["a"] == Ledger(accepted=2, delivered=1, pending=1)


async def test_a_file_locked_by_another_process_makes_the_caller_wait_or_hear_no(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never both: what was refused is not stored later."""
    monkeypatch.setattr("capi_async.spool.sqlite.committer.PATIENCE_S", 0.6)
    async with opened(sqlite(tmp_path, clock)) as spool:
        with (tmp_path / "events.db-lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(SpoolError, match="locked by another process"):
                await spool.append([record("1")], [])
        await spool.append([record("2")], [])
        assert ids(await take(spool)) == ["2"]
        assert spool.ledger()["a"].accepted == 1


async def test_a_deleted_file_is_written_again(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was accepted is still at hand, and must not be lost with a name."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1"), record("2")], [])
        for side in ("", "-wal", "-shm"):
            (tmp_path / f"events.db{side}").unlink()
        await spool.append([record("3")], [])
        assert "was written again" in caplog.text
        assert stat.S_IMODE((tmp_path / "events.db").stat().st_mode) == 0o600
        await die(spool)
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert ids(await take(spool)) == ["1", "2", "3"]


async def test_a_replaced_file_stops_acceptance(tmp_path: Path, clock: ManualClock) -> None:
    """Into which file should it go?"""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])
        (tmp_path / "events.db").rename(tmp_path / "moved.db")
        (tmp_path / "events.db").touch()
        with pytest.raises(SpoolError, match="replaced"):
            await spool.append([record("2")], [])


async def test_the_file_shrinks_when_the_backlog_is_gone(tmp_path: Path, clock: ManualClock) -> None:
    """Also the log beside it."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        for start in range(0, 40_000, 500):
            await spool.append([record(str(number), body=b"x" * 700) for number in range(start, start + 500)], [])
        full = sum(file.stat().st_size for file in tmp_path.iterdir())
        assert full > 28_000_000
        while leased := await take(spool, limit=1_000):
            await spool.settle(leased, [DELIVERED] * len(leased))
        for _ in range(10):
            await spool.call(spool.store.space.shrink)
        size = sum(file.stat().st_size for file in tmp_path.iterdir() if "shm" not in file.name)
        assert size < full / 2
    # what is held in reserve does not grow with a backlog
    kept = [file for file in tmp_path.iterdir() if not file.name.endswith("-reserve")]
    assert sum(file.stat().st_size for file in kept) < 200_000


async def test_what_is_encrypted_cannot_be_read_in_the_file(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies, heads and dead letters; with the key, everything is there."""
    monkeypatch.setenv("SPOOL_KEYS", KEY)
    query = "?keys=env:SPOOL_KEYS"
    async with opened(sqlite(tmp_path, clock, query)) as spool:
        await spool.append([record("1", body=b"secret-body", head=b"secret-head", order_key="secret-key")], [])
        await spool.append([record("2", body=b"secret-letter")], [])
        await spool.settle((await take(spool))[1:], [DEAD])
        stored = b"".join(file.read_bytes() for file in tmp_path.glob("events.db*"))
        assert b"secret" not in stored
    async with opened(sqlite(tmp_path, clock, query)) as spool:
        assert await spool.replay(LetterFilter()) == {"a": 1}
        assert {one.body for one in await take(spool)} == {b"secret-body", b"secret-letter"}


async def test_keys_can_be_rotated(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first seals, all open; without the right one the file is refused, not guessed at."""
    monkeypatch.setenv("OLD", OLD_KEY)
    monkeypatch.setenv("BOTH", f"{KEY},{OLD_KEY}")
    monkeypatch.setenv("NEW", KEY)
    async with opened(sqlite(tmp_path, clock, "?keys=env:OLD")) as spool:
        await spool.append([record("1")], [])
    for query in ("", "?keys=env:NEW"):
        with pytest.raises(ConfigError, match="key that is not among"):
            await sqlite(tmp_path, clock, query).open(NAMES, lambda _name: None)
    async with opened(sqlite(tmp_path, clock, "?keys=env:BOTH")) as spool:
        assert ids(await take(spool)) == ["1"]


async def test_a_row_in_clear_among_encrypted_ones_is_not_sent(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may write the file could have made it; it counts as dead, is told in words, and costs itself only."""
    monkeypatch.setenv("SPOOL_KEYS", KEY)
    async with opened(sqlite(tmp_path, clock, "?keys=env:SPOOL_KEYS")) as spool:
        for number in range(3):
            await spool.append([record(str(number))], [])
    forged = encode([record("forged")])
    with closing(sqlite3.connect(tmp_path / "events.db")) as db, db:
        (second,) = db.execute("SELECT id FROM chunk ORDER BY id LIMIT 1 OFFSET 1").fetchone()
        db.execute("UPDATE body SET data = ? WHERE id = ?", (forged, second))
        db.execute(
            "UPDATE chunk SET sealed = '', \"left\" = 1, size = ? WHERE id = ?", (len(record("forged").body), second)
        )
    async with opened(sqlite(tmp_path, clock, "?keys=env:SPOOL_KEYS")) as spool:
        assert ids(await take(spool)) == ["0", "2"]
        assert spool.ledger()["a"] == Ledger(accepted=3, pending=2, dead=1)
    assert "they are not encrypted, though keys= is given" in caplog.text


async def test_a_spool_in_use_gets_keys_by_saying_so(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``plain=accept`` it is refused and left as it is, so that nothing is lost by the change."""
    monkeypatch.setenv("SPOOL_KEYS", KEY)
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("old")], [])
    with pytest.raises(ConfigError, match="plain=accept"):
        await sqlite(tmp_path, clock, "?keys=env:SPOOL_KEYS").open(NAMES, lambda _name: None)
    async with opened(sqlite(tmp_path, clock, "?keys=env:SPOOL_KEYS&plain=accept")) as spool:
        assert ids(await take(spool)) == ["old"]
        await spool.append([record("new")], [])
        assert ids(await take(spool)) == ["new"]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: ManualClock) -> None:
    """With the line that installs it."""
    monkeypatch.setenv("SPOOL_KEYS", KEY)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigError, match=r"pip install 'capi_async\[encryption\]'"):
        sqlite(tmp_path, clock, "?keys=env:SPOOL_KEYS")


@pytest.mark.parametrize(
    "url",
    ["sqlite://events.db", "sqlite:///", "sqlite:///:memory:", "sqlite:///a.db?synchronous=off", "sqlite:///a.db?x=1",
     "sqlite:///a.db?keys=c2VjcmV0", "sqlite:///a.db?keys=env:NOT_SET_ANYWHERE", "sqlite:///a.db?dead_max=-1"],
)  # fmt: skip
def test_an_address_that_says_something_else_is_refused(url: str) -> None:
    """Before anything is opened, and without repeating a key."""
    with pytest.raises(ConfigError) as refused:
        parse(url)
    assert "c2VjcmV0" not in str(refused.value)


def test_an_address_says_where_the_file_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three slashes: relative to where the program was when it was made; four: absolute."""
    monkeypatch.chdir(tmp_path)
    assert parse("sqlite:///events.db").path == tmp_path / "events.db"
    assert parse("sqlite:////var/lib/my%20events.db?synchronous=normal").path == Path("/var/lib/my events.db")
    assert parse("sqlite:///a.db?synchronous=normal").synchronous == "normal"


def test_a_network_disk_is_recognised_by_its_mount() -> None:
    """The last mount over a path counts."""
    mounts = (
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "35 22 0:50 / /mnt/my\\040share rw shared:1 - nfs4 host:/export rw\n"
        "36 35 0:51 / /mnt/my\\040share/local rw - xfs /dev/vdb rw\n"
    )
    assert file_system(Path("/mnt/my share/events"), mounts) == "nfs4"
    assert file_system(Path("/mnt/my share/local/events"), mounts) == "xfs"
    assert file_system(Path("/mnt/other"), mounts) == "ext4"


def test_a_network_disk_is_recognised_whatever_its_name() -> None:
    """Letters beyond ASCII, blanks and backslashes in the mount point, and names that are no valid text."""
    root = "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
    for written, name in (
        ("/mnt/größe", "/mnt/größe"), ("/mnt/a\\040b", "/mnt/a b"), ("/mnt/a\\134b", "/mnt/a\\b"),
        ("/mnt/\udce9", "/mnt/\udce9"),
    ):  # fmt: skip
        assert file_system(Path(name) / "spool", f"{root}2 1 0:30 / {written} rw - nfs4 host:/x rw\n") == "nfs4"


@pytest.mark.parametrize(
    "kind", ["nfs4", "9p", "virtiofs", "vboxsf", "fuse.grpcfuse", "fuse.rclone", "fuse.juicefs", "fuse.vmhgfs-fuse"]
)
def test_what_another_host_can_reach_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    """Network disks, and a host's folders as a guest or a container sees them."""
    monkeypatch.setattr(files, "file_system", lambda _path, _mounts: kind)
    with pytest.raises(ConfigError, match=kind):
        files.refuse_network(tmp_path)


@pytest.mark.parametrize(("kind", "warned"), [("fuse", True), ("fuse.new", True), ("fuse.mergerfs", False)])
def test_a_file_system_in_user_space_that_nobody_knows_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, warned: bool
) -> None:
    """It may be as good as a local disk, or another host's."""
    monkeypatch.setattr(files, "file_system", lambda _path, _mounts: kind)
    files.refuse_network(tmp_path)
    assert (kind in caplog.text) == warned
