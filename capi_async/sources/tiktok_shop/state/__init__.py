"""Which memory a forwarder has: see :class:`~capi_async.sources.tiktok_shop.state.base.ForwarderState`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from capi_async.errors import ConfigError
from capi_async.sources.tiktok_shop.state.base import Fate, ForwarderState, Waiting
from capi_async.sources.tiktok_shop.state.memory import MemoryState
from capi_async.sources.tiktok_shop.state.sqlite import SqliteState

__all__ = ["Fate", "ForwarderState", "MemoryState", "SqliteState", "Waiting", "open_state"]


def open_state(state: str | ForwarderState) -> ForwarderState:
    """The state that a setting names.

    Args:
        state: ``"memory"``, ``"sqlite:///relative.db"``, ``"sqlite:////absolute.db"``, or an object of your own.

    Raises:
        ConfigError: There is no such state.
    """
    if not isinstance(state, str):
        return state
    if state == "memory":
        return MemoryState()
    name = unquote(state.removeprefix("sqlite://"))
    if not state.startswith("sqlite://") or not name.startswith("/") or name.endswith("/") or "?" in name:
        raise ConfigError("state: write 'memory', sqlite:///relative.db or sqlite:////absolute.db")
    return SqliteState(Path(name[1:]).absolute())
