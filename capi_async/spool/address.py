"""Options that the addresses of all durable spools share, and how their values are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from capi_async.errors import ConfigError

#: Seconds in a day.
DAY: Final = 86_400.0


class StorageOptions(Struct, frozen=True, kw_only=True):
    """How stored events are kept, in every durable spool.

    Attributes:
        keys: Stored events are encrypted with the first key; all keys decrypt.
        plain: With ``keys``, also send what is stored in clear, as it was before there were keys.
        old_seals: With ``keys``, also send what an earlier release encrypted, without binding it to its place.
        dead_days: Days to keep dead letters.
        dead_max: Most dead letters to keep; the oldest are deleted first.
    """

    keys: tuple[str, ...] = ()
    plain: bool = False
    old_seals: bool = False
    dead_days: float = 30.0
    dead_max: int = 1_000_000


def number(option: str, value: str) -> float:
    """The value of an option that is a number.

    Raises:
        ConfigError: It is no number, or is negative.
    """
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e15:
        raise ConfigError(f"spool: {option} must be a number, 0 or more")
    return found


def whole_number(option: str, value: str) -> int:
    """The value of an option that is a whole number; what follows the point is cut off.

    Raises:
        ConfigError: It is no number, or is negative.
    """
    return int(number(option, value))


def accepts(option: str, value: str) -> bool:
    """The value of the options ``plain`` and ``old_seals``.

    Raises:
        ConfigError: It is anything but ``accept``.
    """
    if value != "accept":
        raise ConfigError(f"spool: write {option}=accept, or leave it out")
    return True


def secret(option: str, value: str) -> str:
    """The secret that an option names by ``env:NAME`` or ``file:/path``; the address never holds it.

    Raises:
        ConfigError: There is none.
    """
    kind, _, name = value.partition(":")
    if kind == "env":
        text = os.environ.get(name, "")
    elif kind == "file":
        try:
            text = Path(name).read_text("utf-8").strip()
        except (OSError, ValueError) as error:  # ValueError: not a path, or not text
            raise ConfigError(f"spool: {option}: {name} cannot be read ({type(error).__name__})") from None
    else:
        raise ConfigError(f"spool: {option} names where it is: {option}=env:NAME or {option}=file:/path")
    if not text:
        raise ConfigError(f"spool: {option}: {kind}:{name} is empty")
    return text


def keys(option: str, value: str) -> tuple[str, ...]:
    """The keys that an option names, several separated by commas or white space.

    Raises:
        ConfigError: There is none.
    """
    found = tuple(secret(option, value).replace(",", " ").split())
    if not found:
        raise ConfigError(f"spool: {option}: {value} holds no key")
    return found


#: Option to the function that reads and checks its value, of those that all durable spools share.
READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "keys": keys,
    "plain": accepts,
    "old_seals": accepts,
    "dead_days": number,
    "dead_max": whole_number,
}
