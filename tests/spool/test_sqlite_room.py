"""A volume that is nearly full: new events are refused while what is stored can still be delivered."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from capi_async.errors import SpoolError
from capi_async.spool.base import Ledger
from capi_async.testing import ManualClock
from tests.spool.harness import DELIVERED, opened, record, sqlite, take

MB = 1024 * 1024


class Volume:
    """What ``os.statvfs`` says of a volume; with room for so many bytes more than are there now."""

    f_frsize = 4096

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.f_blocks = size // self.f_frsize
        #: What others than the spool take.
        self.others = 0

    @property
    def f_bavail(self) -> int:
        used = sum(file.stat().st_blocks * 512 for file in self.folder.iterdir())
        return max(0, self.f_blocks - (used + self.others) // self.f_frsize)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """Sixteen megabytes, as far as the spool can tell."""
    made = Volume(tmp_path, 16 * MB)
    monkeypatch.setattr("capi_async.spool.sqlite.space.os.statvfs", lambda _path: made)
    return made


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A volume of eight megabytes."""
    folder = tmp_path / "volume"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small volume can only be mounted by root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no volume can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def fill(folder: Path, clock: ManualClock) -> int:
    """Append until nothing more is taken; how many were."""
    accepted = 0
    async with opened(sqlite(folder, clock)) as spool:
        refused = None
        while refused is None and accepted < 2_000:
            try:
                await spool.append([record(str(accepted), body=os.urandom(100_000))], [])
                accepted += 1
            except SpoolError as error:
                refused = error
        assert refused is not None
        assert "nearly full" in str(refused)
        assert refused.stored is False
        assert spool.ledger()["a"] == Ledger(accepted=accepted, pending=accepted)
    return accepted


async def drain(folder: Path, clock: ManualClock, events: int) -> None:
    """Deliver so many."""
    async with opened(sqlite(folder, clock)) as spool:
        left = events
        while left:
            leased = await take(spool)
            await spool.mark_attempted(leased)
            await spool.settle(leased, [DELIVERED] * len(leased))
            left -= len(leased)
        assert spool.ledger()["a"] == Ledger(accepted=events, delivered=events)


async def test_new_events_are_refused_in_words_while_there_is_room_for_delivering(
    tmp_path: Path, clock: ManualClock, volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    """It says which file, how much is free, and what to do, once; there is room left."""
    with caplog.at_level(logging.ERROR):
        accepted = await fill(tmp_path, clock)
        assert accepted > 50
        assert volume.f_bavail * volume.f_frsize > MB // 2
    said = [entry.getMessage() for entry in caplog.records]
    assert len(said) == 1
    for words in (str(tmp_path / "events.db"), "MB are free", "delete something else there"):
        assert words in said[0]
    await drain(tmp_path, clock, accepted)


async def test_refused_events_keep_nothing_of_older_ones_from_being_noted(
    tmp_path: Path, clock: ManualClock, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both come in the same moment: what is noted is noted, what is new is refused, and taken when there is room."""
    monkeypatch.setattr("capi_async.spool.sqlite.space._MEASURE_S", 0.0)
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])
        leased = await take(spool)
        volume.others = 16 * MB
        for number in range(3):
            with pytest.raises(SpoolError, match="nearly full"):
                await spool.append([record(f"new {number}", body=b"x" * 3 * MB)], [])
            await spool.mark_attempted(leased)
        await spool.settle(leased, [DELIVERED])
        assert spool.ledger()["a"] == Ledger(accepted=1, delivered=1)
        volume.others = 0
        await spool.append([record("2")], [])
        assert spool.ledger()["a"].pending == 1


async def test_callers_who_try_again_at_once_keep_no_outcome_from_being_written(
    tmp_path: Path, clock: ManualClock, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full volume each is refused, and what was delivered is noted between two of them."""
    monkeypatch.setattr("capi_async.spool.sqlite.space._MEASURE_S", 0.0)

    async def insist() -> None:
        while True:
            with pytest.raises(SpoolError, match="nearly full"):
                await spool.append([record("new", body=b"x" * 3 * MB)], [])

    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])
        leased = await take(spool)
        volume.others = 16 * MB
        callers = asyncio.gather(insist(), insist())
        try:
            async with asyncio.timeout(20):
                await spool.mark_attempted(leased)
                await spool.settle(leased, [DELIVERED])
        finally:
            callers.cancel()
            with suppress(asyncio.CancelledError):
                await callers
        assert spool.ledger()["a"] == Ledger(accepted=1, delivered=1)


@pytest.mark.parametrize("others_fill_it", [False, True])
async def test_a_full_volume_is_drained_after_a_restart(
    mounted: Path, clock: ManualClock, others_fill_it: bool
) -> None:
    """Also if others than the spool have taken the last byte: the reserve is used then, and made again afterwards."""
    accepted = await fill(mounted, clock)
    reserve = mounted / "events.db-reserve"
    assert reserve.stat().st_mode & 0o777 == 0o600
    if others_fill_it:
        with (mounted / "other").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
    await drain(mounted, clock, accepted)
    assert reserve.exists() != others_fill_it
    if others_fill_it:
        (mounted / "other").unlink()
        async with opened(sqlite(mounted, clock)) as spool:
            assert reserve.exists()
            await spool.append([record("new")], [])


async def test_what_lies_under_the_reserve_files_name_is_not_written_to(tmp_path: Path, clock: ManualClock) -> None:
    """A link that somebody planted leads to a file that stays as it is."""
    target = tmp_path / "precious"
    target.write_bytes(b"mine")
    (tmp_path / "events.db-reserve").symlink_to(target)
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])
    assert target.read_bytes() == b"mine"
