"""A client whose spool file is locked by somebody else, or deleted underneath."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from capi_async import Client
from capi_async.errors import QueueFull, SpoolError
from capi_async.sandbox import Sandbox
from capi_async.testing import assert_balanced
from tests.spool.harness import eventually
from tests.spool.locker import locked
from tests.spool.test_sqlite_client import purchase, snap


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.mark.parametrize("how", ["writer", "shell"])
async def test_callers_wait_for_whoever_locks_the_file(file: Path, how: str) -> None:
    """Not for ever, but for seconds; counts can be read all the while."""
    async with Sandbox() as sandbox, Client([snap(sandbox)], spool=f"sqlite:///{file}", linger_s=0) as client:
        await client.send(purchase(0))
        assert await client.flush(10)
        async with locked(file, how):
            sends = [asyncio.create_task(client.send(purchase(number), timeout_s=30)) for number in range(1, 11)]
            done, _ = await asyncio.wait(sends, timeout=1.5)
            assert not done
            assert client.ledger()["snap"].accepted == 1
        receipts = await asyncio.gather(*sends)
        assert await client.flush(10)
        assert_balanced(client, ids=[one.event_id for one in receipts], pending=0)
        assert client.ledger()["snap"].delivered == 11
        stats = sandbox.stats()["snap"]
        assert (stats.accepted, stats.duplicates) == (11, 0)


@pytest.mark.parametrize("how", ["writer", "shell"])
async def test_a_lock_that_lasts_costs_nothing_that_was_accepted(
    file: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers hear no, and mean it; an answer that comes meanwhile is kept until it can be stored."""
    monkeypatch.setattr("capi_async.engine.commit.STORING_S", 0.1)
    async with Sandbox() as sandbox, Client([snap(sandbox)], spool=f"sqlite:///{file}", linger_s=0) as client:
        sandbox.fault("snap", "latency", latency_s=1.0, count=1)
        accepted = [one.event_id for one in await client.send_many([purchase(number) for number in range(5)])]
        await eventually(lambda: sandbox.stats()["snap"].requests == 1)
        refused = []
        async with locked(file, how):
            for number in range(5, 9):
                event = purchase(number)
                with pytest.raises(SpoolError, match="locked"):
                    await client.send(event, timeout_s=0.3)
                refused.append(event.event_id)
            await eventually(lambda: sandbox.stats()["snap"].accepted == 5)
            await asyncio.sleep(1.0)
            assert client.ledger()["snap"].pending == 5
        accepted += [one.event_id for one in await client.send_many([purchase(number) for number in range(9, 14)])]
        assert await client.flush(20)
        assert_balanced(client, pending=0)
        counts = client.ledger()["snap"]
        assert (counts.accepted, counts.delivered) == (10, 10)
        assert sandbox.stats()["snap"].duplicates == 0
        arrived = {one.event["event_id"] for one in sandbox.arrivals("snap") if one.accepted}
    assert arrived == set(accepted)
    assert not arrived & set(refused)


@pytest.mark.parametrize("how", ["writer", "shell"])
async def test_everybody_waits_for_a_locked_file_as_long_as_they_said(
    file: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handed in together: the impatient hear no, the patient are stored, also those who do not await."""
    monkeypatch.setattr("capi_async.engine.commit.STORING_S", 0.1)
    monkeypatch.setattr("capi_async.spool.sqlite.database.BUSY_S", 0.2)
    async with Sandbox() as sandbox, Client([snap(sandbox)], spool=f"sqlite:///{file}", linger_s=0) as client:
        async with locked(file, how):
            # the first asks the file, the others wait behind it
            sends = [
                asyncio.create_task(client.send(purchase(number), timeout_s=0.4 if number % 2 else 30))
                for number in range(6)
            ]
            waiting = client.enqueue(purchase(6))
            done, patient = await asyncio.wait(sends, timeout=1.2)
            assert {sends.index(task) for task in done} == {1, 3, 5}
            for task in done:
                with pytest.raises((SpoolError, QueueFull), match="nothing was stored"):
                    task.result()
        await asyncio.gather(*patient, waiting.accepted())
        assert await client.flush(10)
        assert_balanced(client, pending=0)
        assert {one.event["event_id"] for one in sandbox.arrivals("snap")} == {
            f"purchase:{one}" for one in (0, 2, 4, 6)
        }


def delete(file: Path) -> None:
    for side in ("", "-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)


async def test_a_file_deleted_underneath_is_there_again_after_closing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if nothing was written in between: closing notices."""
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "status", status=503)
        async with Client([snap(sandbox)], spool=f"sqlite:///{file}", linger_s=0) as client:
            ids = [one.event_id for one in await client.send_many([purchase(number) for number in range(20)])]
            delete(file)
            await client.aclose(0.0)
        assert "was written again" in caplog.text
        sandbox.clear_faults()
        async with Client([snap(sandbox)], spool=f"sqlite:///{file}", linger_s=0) as client:
            assert await client.flush(20)
            assert_balanced(client, ids=ids, pending=0)
            assert client.ledger()["snap"].delivered == 20
        assert {one.event["event_id"] for one in sandbox.arrivals("snap") if one.accepted} == set(ids)


async def test_an_idle_process_notices_that_its_file_was_deleted(file: Path) -> None:
    """Within seconds: what it holds is on disk again before anything else happens to it."""
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "status", status=503)
        async with Client([snap(sandbox)], spool=f"sqlite:///{file}", linger_s=600) as client:
            await client.send(purchase(1))
            delete(file)
            await eventually(file.exists, 5.0)
            assert client.ledger()["snap"].pending == 1
            await client.aclose(0.0)
        sandbox.clear_faults()
        async with Client([snap(sandbox)], spool=f"sqlite:///{file}", linger_s=0) as client:
            assert await client.flush(10)
            assert client.ledger()["snap"].delivered == 1


async def test_a_file_deleted_under_two_is_written_again_by_the_last(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While both run, nobody may accept; what both had accepted is on disk once both have stopped, as they are told."""
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "status", status=503)
        url = f"sqlite:///{file}"
        async with (
            Client([snap(sandbox)], spool=url, linger_s=0) as first,
            Client([snap(sandbox)], spool=url, linger_s=0) as second,
        ):
            ids = [one.event_id for one in await first.send_many([purchase(number) for number in range(10)])]
            ids += [one.event_id for one in await second.send_many([purchase(number) for number in range(10, 20)])]
            delete(file)
            for client in (first, second):
                with pytest.raises(SpoolError, match="was deleted while several processes use it"):
                    await client.send(purchase(99))
            await second.aclose(0.0)
            await first.aclose(0.0)
        assert "was written again" in caplog.text
        sandbox.clear_faults()
        async with Client([snap(sandbox)], spool=url, linger_s=0) as client:
            assert await client.flush(20)
            assert_balanced(client, ids=ids, pending=0)
            assert (client.ledger()["snap"].accepted, client.ledger()["snap"].delivered) == (20, 20)
        assert {one.event["event_id"] for one in sandbox.arrivals("snap") if one.accepted} == set(ids)
