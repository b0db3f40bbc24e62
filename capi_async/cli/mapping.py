"""CSV columns to event fields, as a small TOML file says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from string import Formatter
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from capi_async.errors import ConfigError, EventError
from capi_async.event import App, ClickIds, Consent, Device, Event, Item, Page, User

EXAMPLE: Final = """\
[constants]                          # the same on every row
name = "purchase"
currency = "GBP"

[columns]                            # event field = column
order_id = "InvoiceNo"
value = "Total"
"user.email" = "Email"
"items.id" = "StockCode"             # a row holds one item at most
event_id = "{InvoiceNo}-{line}"      # a template of columns; {line} is the line's number

[time]                               # without it an event happens when it is read
column = "InvoiceDate"
format = "%Y-%m-%d %H:%M:%S"         # or iso, epoch_seconds, epoch_millis
timezone = "Europe/London"           # for times that state no offset

[values."user.country"]              # cell = what it stands for; other cells stay
EIRE = "IE"
"""

_PARTS: Final[Mapping[str, type[Struct]]] = {
    "user": User, "page": Page, "click": ClickIds, "app": App, "device": Device, "consent": Consent, "items": Item,
}  # fmt: skip
_NOT_FROM_CELLS: Final = frozenset({"time", "to", "properties", "extra", *_PARTS})
_TIMES: Final = frozenset({"click.fbclid_seen", "app.install_time"})
_WHOLE: Final = frozenset(
    {"num_items", "items.quantity"}
    | {f"device.{name}" for name in ("screen_width", "screen_height", "cpu_cores", "storage_gb", "storage_free_gb")}
)
_YES_NO: Final = frozenset(
    {"test", "app.application_tracking", *(f"consent.{name}" for name in Consent.__struct_fields__ if name != "region")}
)
_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_FIELDS: Final = frozenset(
    [name for name in Event.__struct_fields__ if name not in _NOT_FROM_CELLS]
    + [f"{part}.{name}" for part, kind in _PARTS.items() for name in kind.__struct_fields__]
)


class _Time(Struct, frozen=True):
    column: str
    format: str
    zone: tzinfo | None


class Mapper(Struct, frozen=True, kw_only=True):
    """A mapping file that was read and checked; see :data:`EXAMPLE`."""

    path: str
    constants: Mapping[str, Any]
    columns: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    time: _Time | None
    delimiter: str

    @classmethod
    def load(cls, path: Path) -> Mapper:
        """Read a mapping file.

        Raises:
            ConfigError: It cannot be read or is wrong; the text names the key.
        """
        try:
            data = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        return _Reading(str(path), data).mapper()

    def bind(self, header: Sequence[str], file: str) -> Columns:
        """Tie the mapping to a file's header.

        Raises:
            ConfigError: A column is missing from it.
        """
        return Columns(self, header, file)


class Columns:
    """Makes events of the rows of one file."""

    def __init__(self, mapper: Mapper, header: Sequence[str], file: str) -> None:
        places = {name.strip(): index for index, name in enumerate(header)}
        self._width = len(header)
        self._constants = mapper.constants
        self._fields = [
            (field, _cell(f"columns.{field}", source, places, file), mapper.values.get(field))
            for field, source in mapper.columns.items()
        ]
        self._time = mapper.time
        self._time_at = -1 if mapper.time is None else _place("time.column", mapper.time.column, places, file)

    def event(self, row: Sequence[str], line: int) -> Event:
        """The event of one row; empty cells are absent fields.

        Raises:
            EventError: ``field`` names the event's field.
        """
        if len(row) != self._width:
            raise EventError("", f"has {len(row)} cells instead of {self._width}")
        found: dict[str, Any] = {}
        for field, value in self._constants.items():
            _lay(found, field, value)
        for field, cell, meanings in self._fields:
            text = cell(row, line).strip()
            if meanings is not None:
                text = meanings.get(text, text)
            if text:
                _lay(found, field, _typed(field, text))
        if "items" in found:
            found["items"] = [found["items"]]
        if self._time is not None and (stamp := row[self._time_at].strip()):
            found["time"] = _moment("time", stamp, self._time)
        return Event.from_dict(found)


def _place(key: str, column: str, places: Mapping[str, int], file: str) -> int:
    if column not in places:
        raise ConfigError(f"{key}: {file} has no column {column!r}; there are {', '.join(places)}")
    return places[column]


def _cell(key: str, source: str, places: Mapping[str, int], file: str) -> Callable[[Sequence[str], int], str]:
    """How to get the text of one field out of a row: a column, or a template of several."""
    if "{" not in source or source in places:
        at = _place(key, source, places, file)
        return lambda row, _line: _clean(row[at], source)
    parts: list[tuple[str, int]] = []
    try:
        template = list(Formatter().parse(source))
    except ValueError:
        raise ConfigError(f"{key}: a brace is missing in the template {source!r}") from None
    for literal, name, _, _ in template:
        at = -1 if name is None else -2 if name == "line" and name not in places else _place(key, name, places, file)
        parts.append((literal, at))

    def fill(row: Sequence[str], line: int) -> str:
        cells = [str(line) if at == -2 else "" if at == -1 else _clean(row[at], source).strip() for _, at in parts]
        # with a cell missing, the rest would look like a value and be the same on every such row
        if any(at >= 0 and not cell for (_, at), cell in zip(parts, cells, strict=True)):
            return ""
        return "".join(literal + cell for (literal, _), cell in zip(parts, cells, strict=True))

    return fill


def _clean(text: str, column: str) -> str:
    if not text.isascii() and _SURROGATE.search(text):
        raise EventError("", f"column {column!r} is not UTF-8 text")
    return text


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _lay(found: dict[str, Any], field: str, value: Any) -> None:
    part, dot, name = field.partition(".")
    if dot:
        found.setdefault(part, {})[name] = value
    else:
        found[part] = value


def _typed(field: str, text: str) -> Any:
    if field in _WHOLE:
        try:
            return int(text)
        except ValueError:
            raise EventError(field, "needs a whole number") from None
    if field in _YES_NO:
        if text.lower() not in _WORDS:
            raise EventError(field, "needs true or false")
        return _WORDS[text.lower()]
    if field in _TIMES:
        return _moment(field, text, _Time("", "iso", None))
    return text


def _moment(field: str, text: str, how: _Time) -> datetime:
    try:
        if how.format in ("epoch_seconds", "epoch_millis"):
            return datetime.fromtimestamp(float(text) / (1000 if how.format == "epoch_millis" else 1), UTC)
        time = datetime.fromisoformat(text) if how.format == "iso" else datetime.strptime(text, how.format)  # noqa: DTZ007
    except (ValueError, OverflowError, OSError):
        raise EventError(field, f"does not have the form {how.format}") from None
    if time.tzinfo is None:
        if how.zone is None:
            raise EventError(field, "states no offset, and the mapping no time.timezone")
        time = time.replace(tzinfo=how.zone)
    # an hour's shift may lead out of the calendar
    try:
        return time.astimezone(UTC)
    except (OverflowError, ValueError):
        raise EventError(field, "lies outside the calendar") from None


class _Reading:
    """Checks one mapping file, key by key."""

    def __init__(self, path: str, data: dict[str, Any]) -> None:
        self._path = path
        self._data = data

    def mapper(self) -> Mapper:
        known = {"constants", "columns", "values", "time", "delimiter"}
        if unknown := sorted(set(self._data) - known):
            raise self._error(unknown[0], f"there is no such key; there are {', '.join(sorted(known))}")
        constants = self._fields("constants")
        columns = self._texts("columns", self._fields("columns"))
        if twice := sorted(set(constants) & set(columns)):
            raise self._error(f"constants.{twice[0]}", "stands in columns too")
        if "name" not in constants and "name" not in columns:
            raise self._error("constants.name", 'is missing: the event\'s name, such as "purchase"')
        values = {field: self._texts(f"values.{field}", table) for field, table in self._fields("values").items()}
        delimiter = self._data.get("delimiter", ",")
        if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
            raise self._error("delimiter", "needs a single character")
        self._try(constants)
        return Mapper(
            path=self._path, constants=constants, columns=columns, values=values, time=self._time(), delimiter=delimiter
        )

    def _error(self, key: str, reason: str) -> ConfigError:
        return ConfigError(f"{self._path}: {key}: {reason}")

    def _table(self, key: str) -> dict[str, Any]:
        table = self._data.get(key, {})
        if not isinstance(table, dict):
            raise self._error(key, "needs a table")
        return table

    def _fields(self, key: str) -> dict[str, Any]:
        """A table whose keys are event fields; ``user.email`` may be written as a nested table too."""
        flat: dict[str, Any] = {}
        for name, value in self._table(key).items():
            if name in _PARTS and isinstance(value, dict):
                flat |= {f"{name}.{below}": it for below, it in value.items()}
            else:
                flat[name] = value
        for name in flat:
            if name == "time":
                raise self._error(f"{key}.time", "write a [time] table")
            if name not in _FIELDS and not re.fullmatch(r"properties\.[^.]+", name):
                raise self._error(f"{key}.{name}", "is no field of an event that a cell can fill")
        return flat

    def _texts(self, key: str, table: Any) -> dict[str, str]:
        if not isinstance(table, dict):
            raise self._error(key, "needs a table")
        for name, value in table.items():
            if not isinstance(value, str) or (key == "columns" and not value):
                raise self._error(f"{key}.{name}", "needs text")
        return table

    def _try(self, constants: Mapping[str, Any]) -> None:
        """What is wrong with a constant would be wrong on every row."""
        probe: dict[str, Any] = {"name": "probe", "items": {"id": "probe"}}
        for field, value in constants.items():
            _lay(probe, field, value)
        probe["items"] = [probe["items"]]
        try:
            Event.from_dict(probe)
        except EventError as error:
            raise self._error(f"constants.{error.field.replace('items[0]', 'items')}", error.reason) from None

    def _time(self) -> _Time | None:
        table = self._table("time")
        if not table:
            return None
        if unknown := sorted(set(table) - {"column", "format", "timezone"}):
            raise self._error(f"time.{unknown[0]}", "there is no such key; there are column, format, timezone")
        self._texts("time", table)
        if "column" not in table:
            raise self._error("time.column", "is missing")
        zone: tzinfo | None = None
        if "timezone" in table:
            try:
                zone = ZoneInfo(table["timezone"])
            except (KeyError, ValueError, OSError):
                raise self._error("time.timezone", "is not known here; on Windows, install tzdata") from None
        return _Time(table["column"], table.get("format", "iso"), zone)
