"""A file that was deleted while it was open: written out again under its name."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path

from capi_async.errors import SpoolError
from capi_async.files import create_private
from capi_async.spool.sqlite import schema

logger = logging.getLogger(__name__)


def restore(source: sqlite3.Connection, path: Path, *, busy_s: float) -> sqlite3.Connection:
    """A connection to a fresh copy under the old name; call it while holding the writers' lock.

    Raises:
        SpoolError: The copy could not be made; nothing is there under the name then.
    """
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    try:
        if not create_private(path):
            raise SpoolError(f"{path} was replaced by another file while it was in use")
        target = sqlite3.connect(path, isolation_level=None)
        try:
            source.backup(target)
        finally:
            target.close()
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise SpoolError(f"{path} was deleted while it was in use, and cannot be written again") from error
    logger.error(
        "spool: %s was deleted while it was in use, and was written again; keep whatever tidies up there away from it",
        path, extra={"path": str(path)},
    )  # fmt: skip
    return schema.connect(path, busy_s=busy_s)
