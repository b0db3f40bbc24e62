"""What a spool's address says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from capi_async.errors import ConfigError
from capi_async.spool.sealing import accepts

_SCHEME: Final = "sqlite://"
DAY: Final = 86_400.0


class Options(Struct, frozen=True, kw_only=True):
    """How a file is kept.

    Attributes:
        path: Where it lies.
        synchronous: ``full``: an accepted event is on the disk. ``normal``: it is with the operating system,
            so that a killed process loses nothing, and a power cut loses what came in the last seconds.
        keys: What is stored is encrypted with the first; all of them open what is there.
        plain: With ``keys``, also send what is stored in clear, as it was before there were keys.
        old_seals: With ``keys``, also send what an earlier release encrypted, without binding it to its row.
        dead_days: Dead letters are kept for so long,
        dead_max: and so many of them, newest first.
        remember_days: Ids of accepted events are remembered for so long, written with the events themselves: who
            hands events over from a store of their own can ask what a crash kept them from noting. 0: not at all.
    """

    path: Path
    synchronous: Literal["full", "normal"] = "full"
    keys: tuple[str, ...] = ()
    plain: bool = False
    old_seals: bool = False
    dead_days: float = 30.0
    dead_max: int = 1_000_000
    remember_days: float = 0.0

    def __repr__(self) -> str:
        return f"Options(path={str(self.path)!r}, keys={len(self.keys)})"


def parse(url: str) -> Options:
    """Read ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?synchronous=normal`` and others behind.

    ``keys`` names where the keys are, never the keys: ``env:NAME`` or ``file:/path``, several separated by commas.

    Raises:
        ConfigError: It is malformed; the text says how it should look.
    """
    place, _, query = url.partition("?")
    name = unquote(place.removeprefix(_SCHEME))
    if not place.startswith(_SCHEME) or not name.startswith("/") or name.endswith("/") or name[1:] == ":memory:":
        raise ConfigError("spool: write sqlite:///relative.db or sqlite:////absolute.db")
    synchronous: Literal["full", "normal"] = "full"
    keys: tuple[str, ...] = ()
    plain = old_seals = False
    numbers = {"dead_days": 30.0, "dead_max": 1e6, "remember_days": 0.0}
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option == "synchronous" and value in ("full", "normal"):
            synchronous = "normal" if value == "normal" else "full"
        elif option == "keys":
            keys = _keys(value)
        elif option == "plain":
            plain = accepts(option, value)
        elif option == "old_seals":
            old_seals = accepts(option, value)
        elif option in numbers:
            numbers[option] = _number(option, value)
        else:
            raise ConfigError(
                f"spool: there is no {option}={value if option == 'synchronous' else '...'}; there are "
                "synchronous=full|normal, keys=env:NAME, plain=accept, old_seals=accept, dead_days, dead_max, "
                "remember_days"
            )
    return Options(
        # at once: the directory that a name is relative to may change while the program runs
        path=Path(name[1:]).absolute(),
        synchronous=synchronous,
        keys=keys,
        plain=plain,
        old_seals=old_seals,
        dead_days=numbers["dead_days"],
        dead_max=int(numbers["dead_max"]),
        remember_days=numbers["remember_days"],
    )


def _number(option: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e15:
        raise ConfigError(f"spool: {option} must be a number, 0 or more")
    return number


def _keys(value: str) -> tuple[str, ...]:
    kind, _, name = value.partition(":")
    if kind == "env":
        text = os.environ.get(name, "")
    elif kind == "file":
        try:
            text = Path(name).read_text("utf-8")
        except (OSError, ValueError) as error:  # ValueError: not a path, or not text
            raise ConfigError(f"spool: keys: {name} cannot be read ({type(error).__name__})") from None
    else:
        raise ConfigError("spool: keys names where the keys are: keys=env:NAME or keys=file:/path")
    keys = tuple(text.replace(",", " ").split())
    if not keys:
        raise ConfigError(f"spool: keys: {kind}:{name} holds no key")
    return keys
