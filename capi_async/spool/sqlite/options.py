"""The settings in a SQLite spool's address."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote

from capi_async.errors import ConfigError
from capi_async.spool.address import READERS, StorageOptions, number

_SCHEME: Final = "sqlite://"
_READERS: Final = {**READERS, "synchronous": lambda _option, value: value, "remember_days": number}


class Options(StorageOptions, frozen=True, kw_only=True):
    """Where a spool file is, and how it is kept.

    Attributes:
        path: Of the file.
        synchronous: ``full``: an accepted event is on the disk. ``normal``: it is with the operating system,
            so that a killed process loses nothing, and a power cut loses what came in the last seconds.
        remember_days: Days for which the ids of accepted events are kept, written with the events themselves: who
            hands events over from a store of their own can ask what a crash kept them from noting. 0: they are not.
    """

    path: Path
    synchronous: Literal["full", "normal"] = "full"
    remember_days: float = 0.0

    def __repr__(self) -> str:
        return f"Options(path={str(self.path)!r}, keys={len(self.keys)})"


def parse(url: str) -> Options:
    """Read ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?synchronous=normal`` and others behind.

    ``keys`` names where the keys are, never the keys: ``env:NAME`` or ``file:/path``.

    Raises:
        ConfigError: It is malformed; the text says how it should look.
    """
    place, _, query = url.partition("?")
    name = unquote(place.removeprefix(_SCHEME))
    if not place.startswith(_SCHEME) or not name.startswith("/") or name.endswith("/") or name[1:] == ":memory:":
        raise ConfigError("spool: write sqlite:///relative.db or sqlite:////absolute.db")
    settings: dict[str, Any] = {}
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option not in _READERS or (option == "synchronous" and value not in ("full", "normal")):
            raise ConfigError(
                f"spool: there is no {option}={value if option == 'synchronous' else '...'}; there are "
                "synchronous=full|normal, keys=env:NAME, plain=accept, old_seals=accept, dead_days, dead_max, "
                "remember_days"
            )
        settings[option] = _READERS[option](option, value)
    # absolute: the directory that a name is relative to may change while the program runs
    return Options(path=Path(name[1:]).absolute(), **settings)
