"""Settings from TOML and environment, checked before any I/O."""

from __future__ import annotations

import logging
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from capi_async.destinations import destination_class, destination_types, installed_types, row_of
from capi_async.engine.capacity import Overflow
from capi_async.engine.prepare import ConsentPolicy, Prepare
from capi_async.errors import ConfigError
from capi_async.frames import frameless
from capi_async.modes import Mode
from capi_async.nearest import nearest
from capi_async.plain import listed, shown
from capi_async.profiles import Profile
from capi_async.spec import Destination, Secret

logger = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Field names whose literal values in a file that others may read deserve a warning.
_CREDENTIALS: Final = ("access_token", "token", "api_secret", "app_secret", "secret")
_SPOOL_CREDENTIALS: Final = ("password", "sentinel_password", "keys")


class ClientOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The client's settings that a file may hold; see :class:`~capi_async.client.Client` for their meaning."""

    spool: str = "memory"
    deliver: bool = True
    overflow: Overflow = "wait"
    linger_s: float = 1.0
    max_pending_events: int = 100_000
    max_pending_bytes: int = 256 * 1024 * 1024
    max_intake_events: int = 10_000
    max_attempts: int = 8
    prepare: Prepare = "auto"
    consent: ConsentPolicy = "vouch"
    phone_region: str | None = None
    trust_env: bool = False
    recent_events: int = 0
    mode: Mode = "live"
    sandbox_url: str | None = None
    summary_s: float | None = None
    profile: Profile = "server"
    flush_s: float = 3.0

    def __repr__(self) -> str:
        # the address of a spool may hold a password
        return f"ClientOptions(spool={self.spool.partition(':')[0]!r}, deliver={self.deliver})"


@frameless(ConfigError)
def load(
    path: str | os.PathLike[str], environ: Mapping[str, str] | None = None, *, mode: Mode | None = None
) -> tuple[list[Destination], ClientOptions]:
    """Read ``capi.toml``.

    ``"env:NAME"`` takes a value from the environment and ``"file:/run/secrets/x"`` from a file.

    Args:
        mode: The client's, instead of the file's. Unless it is ``live``, what leads nowhere is filled in as
            :func:`from_env` does.

    Raises:
        ConfigError: The file cannot be read, is no TOML, or a setting is unknown or wrong; the text names it.
    """
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({type(error).__name__})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # the parser's words may quote what stands there, and credentials do
        place = _PLACE.search(str(error))
        raise ConfigError(f"{file}: not TOML{f': {place[0]}' if place else ''}") from None
    environment = os.environ if environ is None else environ
    tables = data.pop("destinations", {})
    if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        hint = next((hint for key in data if (hint := nearest(key, ("destinations",)))), "")
        raise ConfigError(f"{file}: needs a table per destination, such as [destinations.snap]{hint}")
    literal = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, value in table.items()
        if key in _CREDENTIALS and isinstance(value, str) and not value.startswith(("env:", "file:"))
    ]
    if _holds_secret(data.get("spool")):
        literal.append("spool (the password in its address)")
    if literal and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        logger.warning(
            "config: %s may be read by others, and it holds credentials (%s): use env:NAME or file:/path, or chmod 600",
            file,
            ", ".join(literal),
            extra={"settings": ", ".join(literal), "fix": "use env:NAME or file:/path, or chmod 600"},
        )
    live = (mode or data.get("mode", "live")) == "live"
    if not live:
        tables = {name: _filled(name, table, environment) for name, table in tables.items()}
        data.pop("spool", None)  # events wait in memory
    destinations = [make(name, _resolved(name, table, environment)) for name, table in tables.items()]
    options = _converted(_resolved("", data, environment), ClientOptions, str(file))
    return destinations, options


@frameless(ConfigError)
def from_env(environ: Mapping[str, str] | None = None, *, mode: Mode = "live") -> list[Destination]:
    """Every destination whose required variables are set, such as ``SNAP_PIXEL_ID`` and ``SNAP_ACCESS_TOKEN``.

    Where two types read the same variables (a current API and its older form), only the current one is looked at.
    ``SNAP_BASE_URL``, ``SNAP_TEST`` (``true``) and, where the platform has one, ``TIKTOK_TEST_EVENT_CODE`` are read
    for every type.

    Args:
        mode: Unless it is ``live``, an account that is missing or half set is filled in with one that the sandbox has;
            if none is named, every platform is taken.

    Raises:
        ConfigError: No destination is complete, or one is half set; the text names the missing variables.
    """
    environment = os.environ if environ is None else environ
    made: list[Destination] = []
    seen: set[frozenset[str]] = set()
    half: list[str] = []
    for type_name in installed_types():
        kind = destination_class(type_name)
        required = [field.name for field in msgspec.structs.fields(kind) if field.required]
        names = frozenset(name for field in required for name in kind.env.get(field, ()))
        if names in seen:
            continue
        seen.add(names)
        values: dict[str, Any] = {
            field: environment[name]
            for field, candidates in kind.env.items()
            if (name := next((one for one in candidates if environment.get(one)), None))
        }
        values = _shared_settings(type_name, kind, environment) | values
        if mode != "live" and any(field in values for field in required):
            values = {**row_of(type_name).settings(), **values}
        missing = [field for field in required if field not in values]
        if not missing:
            made.append(make(type_name, values))
        elif any(field in values for field in required):
            lacking = ", ".join(" or ".join(kind.env.get(field, (field,))) for field in missing)
            half.append("; ".join([f"{type_name} lacks {lacking}", *_misspelt(kind, environment)]))
    if half:
        raise ConfigError(f"the environment is half set: {'; '.join(half)}")
    if not made and mode != "live":
        return [make(name, row_of(name).settings()) for name in destination_types()]
    if not made:
        hints = (
            hint for type_name in installed_types() for hint in _misspelt(destination_class(type_name), environment)
        )
        none = "the environment names no destination; set, for example, SNAP_PIXEL_ID and SNAP_ACCESS_TOKEN"
        raise ConfigError("; ".join([none, *dict.fromkeys(hints)]))
    for one in made:
        for hint in _misspelt(type(one), environment):
            logger.warning("config: %s: %s", one.name, hint, extra={"destination": one.name})
    for hint in _misspelt_own(environment):
        logger.warning("config: %s", hint)
    return made


def _misspelt_own(environment: Mapping[str, str]) -> list[str]:
    """Variables that nothing reads and whose names are nearly those of the client's own: such as the switch's."""
    unset = [name for name in _OWN_VARIABLES if not environment.get(name)]
    return [
        f"{name} is set, which nothing reads{hint}"
        for name in environment
        if name.startswith("CAPI")
        and name not in _OWN_VARIABLES
        and _VARIABLE.fullmatch(name)
        and (hint := nearest(name, unset, _NEAR))
    ]


#: What the client itself reads: a misspelt switch would send to the platforms what was to go nowhere.
_OWN_VARIABLES: Final = ("CAPI_ASYNC_MODE", "CAPI_ASYNC_SANDBOX_URL", "CAPI_ASYNC_PROFILE", "CAPI_ASYNC_SUMMARY_S")


def _misspelt(kind: type[Destination], environment: Mapping[str, str]) -> list[str]:
    """Variables that nothing reads and whose names are nearly those that this destination would read."""
    unset = [name for names in kind.env.values() for name in names if not environment.get(name)]
    starts = {name[:3] for name in unset}
    every = {name for one in installed_types() for names in destination_class(one).env.values() for name in names}
    every |= {f"{one.upper()}_{shared}" for one in installed_types() for shared in _SHARED_VARIABLES}
    return [
        f"{name} is set, which nothing reads{hint}"
        for name in environment
        if name[:3] in starts
        and name not in every
        and _VARIABLE.fullmatch(name)
        and (hint := nearest(name, unset, _NEAR))
    ]


#: What is read for every type, behind its name.
_SHARED_VARIABLES: Final = ("BASE_URL", "TEST", "TEST_EVENT_CODE")
#: Share of equal characters from which on a variable's name is taken for a misspelt one.
_NEAR: Final = 0.85


@frameless(ConfigError)
def make(name: str, settings: Mapping[str, Any]) -> Destination:
    """A destination from plain values; ``type`` defaults to ``name``.

    Raises:
        ConfigError: Unknown type or setting, or a value of the wrong kind.
    """
    values = dict(settings)
    kind = destination_class(values.pop("type", name))
    known = {field.name for field in msgspec.structs.fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(
            f"{name}: unknown setting {listed(unknown)}; there are {', '.join(sorted(known))}"
            f"{nearest(str(unknown[0]), known)}"
        )
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in values:
            names = " or ".join(kind.env.get(field.name, ()))
            raise ConfigError(f"{name}: {field.name} is missing{f' (environment: {names})' if names else ''}")
    for key, value in values.items():
        # the id of an account without its quotes is a number to TOML
        if type(value) is int and key in kind.env and key not in _CREDENTIALS:
            values[key] = str(value)
    return _converted({"name": name, **values}, kind, name)


def _shared_settings(type_name: str, kind: type[Destination], environment: Mapping[str, str]) -> dict[str, Any]:
    """What every type reads from the environment beside its own variables.

    Raises:
        ConfigError: A switch that is neither on nor off.
    """
    found: dict[str, Any] = {}
    prefix = type_name.upper()
    for field in ("base_url", "test_event_code"):
        if field in kind.__struct_fields__ and (text := environment.get(f"{prefix}_{field.upper()}", "").strip()):
            found[field] = text
    if text := environment.get(f"{prefix}_TEST", "").strip().lower():
        if text not in _SWITCH:
            raise ConfigError(f"{prefix}_TEST is one of {', '.join(_SWITCH)}, not {shown(text)!r}")
        found["test"] = _SWITCH[text]
    return found


_SWITCH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _filled(name: str, table: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """A table in which what leads nowhere is what the sandbox's account has; credentials are not even looked for."""
    row = row_of(str(table.get("type", name)))
    found: dict[str, Any] = dict(row.settings()) if row.account is not None else {}
    for key, value in table.items():
        try:
            if key not in _CREDENTIALS:
                found[key] = _value(f"{name}.{key}", value, environment)
            elif row.account is None:
                found[key] = value
        except ConfigError:
            continue
    return found


def _holds_secret(spool: object) -> bool:
    """Whether the address of a spool has a password in it: before the ``@``, or by name and not as a reference."""
    if not isinstance(spool, str) or spool.startswith(("env:", "file:")):
        return False
    address, _, query = spool.partition("?")
    place, at, _ = address.partition("://")[2].rpartition("@")
    return bool(at and place.partition(":")[2]) or any(
        name in _SPOOL_CREDENTIALS and value and not value.startswith(("env:", "file:"))
        for name, value in parse_qsl(query)
    )


def _converted(values: Mapping[str, Any], kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(values, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        raise ConfigError(f"{where}: {_unquoted(str(error), kind)}") from None


def _unquoted(text: str, kind: type) -> str:
    """A decoder's words without the value that was wrong: it may be a credential in the wrong place."""
    said, at, path = text.partition(" - at `")
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    if said.startswith("Invalid enum value"):
        values = _values(fields.get(path.removeprefix("$.").rstrip("`")))
        said = f"not one of the values of this setting{f': {values}' if values else ''}"
    elif unknown := _UNKNOWN.match(said):
        said = (
            f"unknown setting {shown(unknown[1])}; there are {', '.join(sorted(fields))}{nearest(unknown[1], fields)}"
        )
    return f"{said}{at}{path[:_MAX_PATH]}"


def _values(kind: object) -> str:
    """What a setting of a few values takes."""
    literals = [kind, *get_args(kind)]
    return ", ".join(str(value) for one in literals if get_origin(one) is Literal for value in get_args(one))


_PLACE: Final = re.compile(r"at (line \d+, column \d+|end of document)")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MAX_PATH: Final = 100
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    raise ConfigError(f"cannot read a {kind.__name__} from a file")


def _resolved(where: str, table: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    return {key: _value(f"{where}.{key}".lstrip("."), value, environment) for key, value in table.items()}


def _value(where: str, value: Any, environment: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    kind, _, rest = value.partition(":")
    if kind == "env":
        if not environment.get(rest):
            named = f"the environment variable {rest}" if _is_variable(rest) else "the environment variable it names"
            hint = (
                nearest(rest, [name for name in environment if environment[name]], _NEAR) if _is_variable(rest) else ""
            )
            raise ConfigError(f"{where}: {named} is not set{hint}")
        return environment[rest]
    if kind == "file":
        try:
            return Path(rest).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            named = rest if rest.startswith(("/", ".")) and rest.isprintable() else "the file it names"
            raise ConfigError(f"{where}: {named} cannot be read ({type(error).__name__})") from None
    return value


def _is_variable(name: str) -> bool:
    """Whether this is a variable's usual name and no credential: those have both cases, digits and length."""
    return bool(_VARIABLE.fullmatch(name)) and (name.isupper() or len(name) < _SHORT_NAME)


_SHORT_NAME: Final = 24
