"""CSV columns to event fields, as a small TOML file says."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from string import Formatter
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from capi_async.cli.cells import GROUPERS, Moments, Numbers, moment, typed
from capi_async.cli.encodings import text_of
from capi_async.errors import ConfigError, EventError
from capi_async.event import SEVERAL, App, ClickIds, Consent, Device, Event, Item, Page, User
from capi_async.nearest import nearest
from capi_async.pii.spreadsheets import without_formula
from capi_async.plain import listed
from capi_async.platform_fields import PLATFORM_FIELDS

EXAMPLE: Final = """\
delimiter = ";"                  # without it: what the header fits
decimal = ","                    # without it, 1.234 is refused: unclear
thousands = "."
encoding = "cp1252"              # without it: UTF-8
trim = true                      # blanks around a cell; false keeps them

[constants]                      # the same on every row
name = "purchase"
currency = "GBP"

[columns]                        # event field = column
order_id = "InvoiceNo"
value = "Total"
"user.email" = ["Email", "Email 2"]  # of a person, several columns
"user.country" = "Country"
"items.id" = "StockCode"         # one item a row; see --group-lines
event_id = "{InvoiceNo}-{line}"  # template; {line} is the line's number

[defaults]                       # where the column's cell is empty
"user.country" = "GB"

[time]                           # without it: when the row is read
column = "InvoiceDate"
format = "%Y-%m-%d %H:%M:%S"     # or iso, epoch_seconds, epoch_millis
zone = "Europe/London"           # for times that state no offset
empty = "now"                    # without it, no time is a bad row

[values."user.country"]          # cell = what it stands for; others stay
EIRE = "IE"
"""

_PARTS: Final[Mapping[str, type[Struct]]] = {
    "user": User, "page": Page, "click": ClickIds, "app": App, "device": Device, "consent": Consent, "items": Item,
    **PLATFORM_FIELDS,
}  # fmt: skip
_NOT_FROM_CELLS: Final = frozenset({"time", "to", "properties", "extra", *_PARTS})
#: Fields of one platform that are no single value.
_NO_CELLS: Final = frozenset(
    ["meta.original_event", "meta.attribution_data"]
    + [f"{part}.{name}" for part, kind in PLATFORM_FIELDS.items() for name in kind.lists]
)
_FIELDS: Final = (
    frozenset(
        [name for name in Event.__struct_fields__ if name not in _NOT_FROM_CELLS]
        + [f"{part}.{name}" for part, kind in _PARTS.items() for name in kind.__struct_fields__]
    )
    - _NO_CELLS
)
#: What a cell of the field holds; every other field is text.
_KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("click.fbclid_seen", "app.install_time"), "time"),
    **dict.fromkeys(("value", "predicted_ltv", "items.price", "device.screen_density", "meta.net_revenue"), "number"),
    **dict.fromkeys(("num_items", "items.quantity"), "whole"),
    **dict.fromkeys(
        (f"device.{name}" for name in ("screen_width", "screen_height", "cpu_cores", "storage_gb", "storage_free_gb")),
        "whole",
    ),
    **dict.fromkeys(("test", "app.application_tracking"), "bool"),
    **{f"{part}.{name}": "bool" for part, kind in PLATFORM_FIELDS.items() for name in kind.flags},
    **{f"{part}.{name}": "whole" for part, kind in PLATFORM_FIELDS.items() for name in kind.whole},
    **dict.fromkeys((f"consent.{name}" for name in Consent.__struct_fields__ if name != "region"), "bool"),
}


class _Time(Struct, frozen=True):
    column: str
    moments: Moments
    empty_is_now: bool


class Mapper(Struct, frozen=True, kw_only=True):
    """A mapping file that was read and checked; see :data:`EXAMPLE`.

    Attributes:
        delimiter: Between cells; empty: to be found out from the header.
        encoding: Of the file; empty: UTF-8, with or without a byte order mark.
    """

    path: str
    constants: Mapping[str, Any]
    columns: Mapping[str, Sequence[str]]
    defaults: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    time: _Time | None
    delimiter: str
    encoding: str
    numbers: Numbers
    trim: bool

    @classmethod
    def load(cls, path: Path) -> Mapper:
        """Read a mapping file.

        Raises:
            ConfigError: It cannot be read or is wrong; the text names the key.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
        return cls.of(text_of(data, str(path)), str(path))

    @classmethod
    def of(cls, text: str, path: str) -> Mapper:
        """Read the text of a mapping file; ``path`` names it in errors.

        Raises:
            ConfigError: It is wrong; the text names the key.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        return _Reading(path, data).mapper()

    def bind(self, header: Sequence[str], file: str) -> Columns:
        """Tie the mapping to a file's header.

        Raises:
            ConfigError: A column is missing from it, or stands in it twice.
        """
        return Columns(self, header, file)


class Columns:
    """Makes events of the rows of one file."""

    def __init__(self, mapper: Mapper, header: Sequence[str], file: str) -> None:
        places = _Places([name.strip() for name in header], file)
        self._width = len(header)
        self._mapper = mapper
        self._fields = [
            (
                field,
                [_cell(f"columns.{field}", source, places, mapper.encoding) for source in sources],
                mapper.values.get(field),
                _KINDS.get(field, "text"),
            )
            for field, sources in mapper.columns.items()
        ]
        #: What was read in a way that the mapping does not state, and the first line of it.
        self.taken: dict[str, int] = {}
        self._time = mapper.time
        self._time_at = -1 if mapper.time is None else places.find("time.column", mapper.time.column)

    @property
    def width(self) -> int:
        """Cells of a row."""
        return self._width

    def event(self, row: Sequence[str], line: int) -> Event:
        """The event of one row; empty cells are absent fields.

        Raises:
            EventError: ``field`` names the event's field.
        """
        found = self.fields(row, line)
        if self._time is not None and "time" not in found and not self._time.empty_is_now:
            raise EventError("time", f"column {self._time.column!r} is empty; {NO_TIME_FIX}")
        return event_of(found)

    def fields(self, row: Sequence[str], line: int) -> dict[str, Any]:
        """The fields of one row, ``items`` as the one item that it holds; see :func:`event_of`.

        Raises:
            EventError: ``field`` names the event's field.
        """
        if len(row) != self._width:
            raise EventError("", f"has {len(row)} cells instead of {self._width}")
        mapper = self._mapper
        found: dict[str, Any] = {}
        for field, value in mapper.constants.items():
            _lay(found, field, value)
        for field, cells, meanings, kind in self._fields:
            values: list[Any] = []
            for cell in cells:
                text = without_formula(cell(row, line))
                stripped = text.strip()
                if meanings is not None:
                    text = stripped = meanings.get(stripped, stripped)
                if not stripped:
                    text = stripped = mapper.defaults.get(field, "")
                if not stripped:
                    # it holds the place: the second state belongs to the second country
                    values.append("")
                    continue
                kept = stripped if mapper.trim or kind != "text" else text
                value = typed(field, kept, kind, mapper.numbers, _NO_MOMENTS)
                if kind == "number" and value != kept and not mapper.numbers.decimal:
                    self.taken.setdefault(DECIMALS_TAKEN, line)
                values.append(value)
            while values and values[-1] == "":
                values.pop()
            if values:
                _lay(found, field, values if len(values) > 1 else values[0])
        if self._time is not None and (stamp := row[self._time_at].strip()):
            found["time"] = moment("time", stamp, self._time.moments)
            if not self._time.moments.format and not stamp[:4].isdigit():
                self.taken.setdefault(DATES_TAKEN, line)
        return found


#: What to do about a row without a time.
NO_TIME_FIX: Final = 'fill it, or say time.empty = "now" in the mapping'
DECIMALS_TAKEN: Final = (
    "amounts with separators are read by their form, here first (72,39 is 72.39, 1.234,50 is 1234.50); "
    "the mapping's decimal states it"
)
DATES_TAKEN: Final = (
    "dates are read by their form, here first (31.12.2026, 31/12/2026 and 12/31/2026 are New Year's Eve); "
    "the mapping's time.format states it"
)
#: Of columns other than [time]: only a form that says everything by itself.
_NO_MOMENTS: Final = Moments()


def event_of(found: Mapping[str, Any]) -> Event:
    """The event of what :meth:`Columns.fields` found in a row.

    Raises:
        EventError: ``field`` names the event's field.
    """
    made = dict(found)
    if "items" in made and not isinstance(made["items"], list):
        made["items"] = [made["items"]]
    return Event.from_dict(made)


class _Places:
    """Where the columns of a file are."""

    def __init__(self, header: Sequence[str], file: str) -> None:
        self._header = header
        self._file = file

    def __contains__(self, column: str) -> bool:
        return column in self._header

    def find(self, key: str, column: str) -> int:
        """The place of a column that a mapping's ``key`` names."""
        if column not in self._header:
            columns = f"there are {listed(self._header)}{nearest(column, self._header)}"
            raise ConfigError(f"{key}: {self._file} has no column {column!r}; {columns}")
        if self._header.count(column) > 1:
            raise ConfigError(
                f"{key}: {self._file} has {self._header.count(column)} columns that are called {column!r}; "
                "give the one that is meant another name"
            )
        return self._header.index(column)


def _cell(key: str, source: str, places: _Places, encoding: str) -> Callable[[Sequence[str], int], str]:
    """How to get the text of one field out of a row: a column, or a template of several."""
    if "{" not in source or source in places:
        at = places.find(key, source)
        return lambda row, _line: _clean(row[at], source, encoding)
    parts: list[tuple[str, int]] = []
    try:
        template = list(Formatter().parse(source))
    except ValueError:
        raise ConfigError(f"{key}: a brace is missing in the template {source!r}") from None
    for literal, name, _, _ in template:
        at = -1 if name is None else -2 if name == "line" and name not in places else places.find(key, name)
        parts.append((literal, at))

    def fill(row: Sequence[str], line: int) -> str:
        cells = [
            str(line) if at == -2 else "" if at == -1 else _clean(row[at], source, encoding).strip() for _, at in parts
        ]
        # with a cell missing, the rest would look like a value and be the same on every such row
        if any(at >= 0 and not cell for (_, at), cell in zip(parts, cells, strict=True)):
            return ""
        return "".join(literal + cell for (literal, _), cell in zip(parts, cells, strict=True))

    return fill


def _clean(text: str, column: str, encoding: str) -> str:
    if not text.isascii() and _SURROGATE.search(text):
        said = f"column {column!r} is not {encoding or 'UTF-8'} text"
        raise EventError("", f"{said}; say another encoding in the mapping, or save as UTF-8")
    return text


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _lay(found: dict[str, Any], field: str, value: Any) -> None:
    part, dot, name = field.partition(".")
    if dot:
        found.setdefault(part, {})[name] = value
    else:
        found[part] = value


class _Reading:
    """Checks one mapping file, key by key."""

    def __init__(self, path: str, data: dict[str, Any]) -> None:
        self._path = path
        self._data = data

    def mapper(self) -> Mapper:
        self._known("", self._data, _KEYS)
        constants = self._fields("constants")
        columns = self._columns(self._fields("columns"))
        if twice := sorted(set(constants) & set(columns)):
            raise self._error(f"constants.{twice[0]}", "stands in columns too")
        if "name" not in constants and "name" not in columns:
            raise self._error("constants.name", 'is missing: the event\'s name, such as "purchase"')
        defaults = self._texts("defaults", self._fields("defaults"))
        if alone := sorted(set(defaults) - set(columns)):
            raise self._error(f"defaults.{alone[0]}", "is not in columns; what is the same on every row is a constant")
        values = {field: self._texts(f"values.{field}", table) for field, table in self._fields("values").items()}
        decimal = self._character("decimal", ".,")
        thousands = self._character("thousands", GROUPERS)
        if decimal and decimal == thousands:
            raise self._error("thousands", "is the same as decimal")
        trim = self._data.get("trim", True)
        if not isinstance(trim, bool):
            raise self._error("trim", "needs true or false")
        self._try(constants)
        return Mapper(
            path=self._path,
            constants=constants,
            columns=columns,
            defaults=defaults,
            values=values,
            time=self._time(),
            delimiter=self._character("delimiter", None),
            encoding=self._encoding(),
            numbers=Numbers(decimal=decimal, thousands=thousands),
            trim=trim,
        )

    def _character(self, key: str, allowed: str | None) -> str:
        """A key that holds one character; empty if the mapping lacks it."""
        if key not in self._data:
            return ""
        value = self._data[key]
        if not isinstance(value, str) or len(value) != 1 or value in '"\r\n' or (allowed and value not in allowed):
            raise self._error(key, f"needs a single character{f', one of {allowed!r}' if allowed else ''}")
        return value

    def _encoding(self) -> str:
        value = self._data.get("encoding", "")
        try:
            # a codec that is not for text, such as base64, has no name that text can be read with
            "".encode(value or "utf-8")
            codecs.lookup(value or "utf-8")
        except (LookupError, TypeError, ValueError):
            raise self._error("encoding", "is not known; write one such as utf-8, cp1252, latin-1 or utf-16") from None
        return str(value)

    def _known(self, key: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
        """Refuse a key that is not among ``known``, and name the one that is probably meant."""
        if unknown := sorted(set(table) - set(known)):
            raise self._error(
                f"{key}{unknown[0]}", f"there is no such key; there are {', '.join(known)}{nearest(unknown[0], known)}"
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
                raise self._error(
                    f"{key}.{name}", f"is no field of an event that a cell can fill{nearest(name, _FIELDS)}"
                )
        return flat

    def _columns(self, table: dict[str, Any]) -> dict[str, Sequence[str]]:
        """Field to its columns, of which nearly all fields have one."""
        found: dict[str, Sequence[str]] = {}
        for name, value in table.items():
            sources = value if isinstance(value, list) else [value]
            if not sources or not all(isinstance(source, str) and source for source in sources):
                raise self._error(f"columns.{name}", "needs text: the name of a column")
            if len(sources) > 1 and name.removeprefix("user.") not in SEVERAL:
                raise self._error(
                    f"columns.{name}",
                    'takes one column; a template such as "{first} {second}" joins what stands in two',
                )
            found[name] = sources
        return found

    def _texts(self, key: str, table: Any) -> dict[str, str]:
        if not isinstance(table, dict):
            raise self._error(key, "needs a table")
        for name, value in table.items():
            if not isinstance(value, str):
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
        self._known("time.", table, _TIME_KEYS)
        self._texts("time", table)
        if "column" not in table:
            raise self._error("time.column", "is missing")
        if "zone" in table and "timezone" in table:
            raise self._error("time.timezone", "is the older name of time.zone; write one of them")
        key = "timezone" if "timezone" in table else "zone"
        zone: tzinfo | None = None
        if key in table:
            try:
                zone = ZoneInfo(table[key])
            except (KeyError, ValueError, OSError):
                raise self._error(f"time.{key}", "is not known here; on Windows, install tzdata") from None
        if (empty := table.get("empty", "refuse")) not in ("refuse", "now"):
            raise self._error("time.empty", f"needs refuse or now, not {empty!r}")
        self._form(table.get("format", ""))
        return _Time(table["column"], Moments(table.get("format", ""), zone), empty == "now")

    def _form(self, form: str) -> None:
        """A format that no text can have would make every row a bad one."""
        if form and form not in _FORMS:
            try:
                datetime.strptime(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).strftime(form), form)  # noqa: DTZ007
            except ValueError:
                raise self._error(
                    "time.format", f"needs one of {', '.join(_FORMS)}, or a form such as %d.%m.%Y"
                ) from None
            if "%" not in form:
                raise self._error(
                    "time.format",
                    f"needs one of {', '.join(_FORMS)}, or a form such as %d.%m.%Y{nearest(form, _FORMS)}",
                )


_KEYS: Final = (
    "columns", "constants", "decimal", "defaults", "delimiter", "encoding", "thousands", "time", "trim", "values",
)  # fmt: skip
_TIME_KEYS: Final = ("column", "format", "zone", "timezone", "empty")
_FORMS: Final = ("iso", "epoch_seconds", "epoch_millis")
