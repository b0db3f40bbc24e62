"""The durable spool for one host."""

from __future__ import annotations

from capi_async.spool.sqlite.options import Options, parse
from capi_async.spool.sqlite.reader import SqliteReader
from capi_async.spool.sqlite.spool import SqliteSpool

__all__ = ["Options", "SqliteReader", "SqliteSpool", "parse"]
