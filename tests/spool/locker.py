"""Another process that has a spool file to itself."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

HOLDER = """
    import fcntl, sqlite3, sys

    path, how = sys.argv[1:]
    if how == "writer":
        file = open(path + "-lock", "rb")
        fcntl.flock(file, fcntl.LOCK_EX)
    else:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
    print("locked", flush=True)
    sys.stdin.readline()
"""


@asynccontextmanager
async def locked(file: Path, how: str) -> AsyncIterator[None]:
    """Meanwhile it has: a ``writer`` is one of ours, a ``shell`` one that knows nothing of our lock."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(HOLDER), str(file), how, stdin=PIPE, stdout=PIPE
    )
    assert holder.stdout is not None
    try:
        assert await holder.stdout.readline() == b"locked\n"
        yield
    finally:
        await holder.communicate(b"\n")
