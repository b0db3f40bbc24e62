"""Where events wait: room, rights and speed of a disk, and the settings of a Redis that lose data."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from capi_async.doctor.deliveries import ended
from capi_async.doctor.findings import Finding, Level
from capi_async.errors import ConfigError, SpoolError
from capi_async.plain import listed
from capi_async.spool.base import Spool

_LITTLE_ROOM_BYTES: Final = 100 * 1024 * 1024
_SLOW_SYNC_S: Final = 0.05
_OK_TEXT: Final = "events outlive this process"


async def spool_health(spool: Spool, names: Collection[str], *, ends: bool = True) -> list[Finding]:
    """Look at the spool without opening it: what waits in it stays as it is.

    Args:
        names: The configured destinations.
        ends: Tell how many events ended in which bad way, where a file has counts of them.
    """
    options: Any = getattr(spool, "options", None)
    if isinstance(path := getattr(options, "path", None), Path):
        content = await _content(options, names, ends=ends) if path.exists() else ()
        return [*await asyncio.to_thread(disk, path), *content]
    if getattr(options, "hosts", None):
        return await redis(options)
    if spool.durable:
        return [Finding("spool", "kind", "note", "a spool of your own", "check that it outlives the process")]
    return [
        Finding(
            "spool", "kind", "warning", "events wait in memory: a crash loses them",
            'set spool = "sqlite:///events.db" or a Redis',
        )
    ]  # fmt: skip


async def _content(options: Any, names: Collection[str], *, ends: bool) -> list[Finding]:
    """What waits in a spool file, and for whom."""
    from capi_async.spool.sqlite import SqliteReader

    reader = SqliteReader(options)
    try:
        await reader.open((), lambda _name: None)
        ledger = await asyncio.to_thread(reader.ledger)
    except (ConfigError, SpoolError) as error:
        return [Finding("spool", "content", "failure", str(error), "name another file, or mend what is named")]
    waiting = sum(counts.pending for counts in ledger.values())
    dead = sum(counts.dead + counts.uncertain for counts in ledger.values())
    found = [Finding("spool", "content", "ok", f"{waiting:,} events wait, {dead:,} ended dead or uncertain")]
    found += ended(ledger) if ends else ()
    unconfigured = sorted(name for name, counts in ledger.items() if counts.pending and name not in names)
    if unconfigured:
        text = f"events wait for {listed(unconfigured)}, which this configuration does not name"
        fix = "configure it again under that name, or erase what waits: capi-async queue --help"
        found.append(Finding("spool", "unconfigured", "warning", text, fix))
    return found


def disk(path: Path, *, slow_s: float = _SLOW_SYNC_S) -> list[Finding]:
    """The file's folder: whether it can be written, how much room there is, and how long a sync takes.

    Args:
        slow_s: A sync that takes longer is warned of.
    """
    folder = path.parent
    where = f"{path}"
    if not folder.is_dir():
        return [Finding("spool", "file", "failure", f"{where}: its folder is not there", "make it, or change spool")]
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return [Finding("spool", "file", "failure", f"{where}: may not be written", "chown or chmod it for this user")]
    found: list[Finding] = []
    try:
        took_s = _synced(folder)
    except OSError as error:
        text = f"{folder}: cannot be written ({error.strerror or type(error).__name__})"
        return [Finding("spool", "file", "failure", text, "free space, or give this user the right to write there")]
    free = shutil.disk_usage(folder).free
    found.append(Finding("spool", "file", "ok", f"{where}: {_OK_TEXT}"))
    room = f"{free // 1024**2:,} MB free"
    if free < _LITTLE_ROOM_BYTES:
        found.append(Finding("spool", "room", "warning", room, "free space: new events are refused when it is full"))
    else:
        found.append(Finding("spool", "room", "ok", room))
    speed = f"a sync takes {took_s * 1000:.1f} ms"
    if took_s > slow_s:
        found.append(Finding("spool", "disk", "warning", speed, "use a local disk, or ?synchronous=normal"))
    else:
        found.append(Finding("spool", "disk", "ok", speed))
    return found


def _synced(folder: Path) -> float:
    """Seconds that it takes to write a block to the disk."""
    file, name = tempfile.mkstemp(prefix=".capi-doctor-", dir=folder)
    try:
        os.write(file, b"\0" * 4096)
        started = time.perf_counter()
        os.fsync(file)
        return time.perf_counter() - started
    finally:
        os.close(file)
        with suppress(OSError):
            Path(name).unlink()


async def redis(options: Any) -> list[Finding]:
    """Whether it answers, keeps what it is told over a restart, and never throws events away."""
    from capi_async.spool.redis.connection import Connection

    try:
        connection = Connection(options)
    except ConfigError as error:
        return [Finding("spool", "redis", "failure", str(error), "install the extra")]
    try:
        about = _facts(await connection.command("INFO"))
        saved = await _setting(connection, "save")
    except SpoolError as error:
        return [
            Finding("spool", "redis", "failure", f"{options.place}: {error}", "check address, password and network")
        ]
    finally:
        await connection.close()
    return [
        Finding("spool", "redis", "ok", f"Redis {about.get('redis_version', '')} answers at {options.place}"),
        _kept(about, saved),
        _policy(about),
    ]


def _kept(about: dict[str, str], saved: str | None) -> Finding:
    if about.get("aof_enabled") == "1":
        return Finding("spool", "persistence", "ok", "appendonly yes: a restart loses a second at most")
    if saved:
        return Finding(
            "spool", "persistence", "warning", "snapshots only: a restart loses what came after the last one",
            "set appendonly yes",
        )  # fmt: skip
    return Finding(
        "spool", "persistence", "failure", "keeps nothing over a restart: what waits would be gone",
        "set appendonly yes",
    )  # fmt: skip


def _policy(about: dict[str, str]) -> Finding:
    policy, limit = about.get("maxmemory_policy", "noeviction"), about.get("maxmemory", "0")
    if policy != "noeviction":
        level: Level = "failure" if limit != "0" else "warning"
        return Finding(
            "spool", "memory", level, f"maxmemory-policy {policy}: events are thrown away when memory is short",
            "set maxmemory-policy noeviction",
        )  # fmt: skip
    return Finding("spool", "memory", "ok", "maxmemory-policy noeviction: a full Redis refuses instead of forgetting")


async def _setting(connection: Any, name: str) -> str | None:
    """A setting, where it may be asked for; hosted ones often refuse that."""
    try:
        found = await connection.command("CONFIG", "GET", name)
    except SpoolError:
        return None
    parts = [part.decode() if isinstance(part, bytes) else str(part) for part in _flat(found)]
    return parts[1] if len(parts) > 1 else None


def _flat(found: Any) -> list[Any]:
    if isinstance(found, dict):
        return [part for pair in found.items() for part in pair]
    return list(found)


def _facts(answer: Any) -> dict[str, str]:
    if isinstance(answer, dict):
        return {str(key): str(value) for key, value in answer.items()}
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
