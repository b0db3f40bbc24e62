"""What hosts share whose code runs in threads: one blocking client per process, and a tracker for each request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeAlias

from capi_async.client import Client
from capi_async.errors import ConfigError
from capi_async.sync import SyncClient

BlockingOrFactory: TypeAlias = SyncClient | Client | Callable[[], SyncClient | Client]


class OnePerProcess:
    """A blocking client that is made when it is first needed, and closed when its process ends.

    Made by a worker's first request, it is the worker's own, whether or not the server forked after it had loaded the
    application.

    Args:
        given: A client, or a function or classmethod that makes one.
    """

    def __init__(self, given: BlockingOrFactory) -> None:
        if not isinstance(given, (SyncClient, Client)) and not callable(given):
            raise ConfigError(f"{_NEEDS}, not {type(given).__name__}")
        self._given = given
        self._lock = threading.Lock()
        self._client: SyncClient | None = None

    def __call__(self) -> SyncClient:
        """The client.

        Raises:
            ConfigError: The function gave something else, or settings are missing.
        """
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = _blocking(self._given)
        return client

    def close(self, deadline_s: float = 10.0) -> None:
        """Close it, if there is one; the next use makes or starts it again. For tests."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(deadline_s)


_NEEDS: Final = "needs a SyncClient or Client, or a function that makes one"


def _blocking(given: BlockingOrFactory) -> SyncClient:
    found = given if isinstance(given, (SyncClient, Client)) else given()
    if isinstance(found, Client):
        return SyncClient.around(found)
    if not isinstance(found, SyncClient):
        raise ConfigError(f"{_NEEDS}, not {type(found).__name__}")
    return found
