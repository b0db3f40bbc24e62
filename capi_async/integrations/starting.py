"""From what an application gives to a client: a client, or a function that makes one in each process."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from capi_async.client import Client
from capi_async.errors import ConfigError

ClientOrFactory: TypeAlias = Client | Callable[[], Client | Awaitable[Client]]


async def made(client: ClientOrFactory) -> Client:
    """The client; a function, async or not, is called for it.

    Raises:
        ConfigError: It gives something else, or settings are missing.
    """
    found = client if isinstance(client, Client) else client()
    if inspect.isawaitable(found):
        found = await found
    return checked(found)


def checked(found: object) -> Client:
    """What a function gave, if it is a client.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(found, Client):
        raise ConfigError(f"needs a Client, or a function that makes one, not {type(found).__name__}")
    return found


def check_given(client: object) -> None:
    """Refuse at once what can be neither.

    Raises:
        ConfigError: It is no client and cannot be called.
    """
    if not isinstance(client, Client) and not callable(client):
        raise ConfigError(f"needs a Client, or a function that makes one, not {type(client).__name__}")
