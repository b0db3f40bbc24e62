"""Order lines: neighbouring rows of one order as one event with several items."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from capi_async.cli.lines import Good, Problem, Read
from capi_async.cli.mapping import NO_TIME_FIX, Mapper, event_of
from capi_async.errors import ConfigError, EventError


class Groups:
    """Collects the rows of one order, and makes an event of them when the next order begins.

    Raises:
        ConfigError: The mapping has no column for the field to group by.
    """

    def __init__(self, name: str, mapper: Mapper, field: str) -> None:
        if field not in mapper.columns:
            raise ConfigError(
                f"--group-lines: {field} is not in the mapping's columns; there are {', '.join(mapper.columns)}"
            )
        self._name = name
        self._field = field
        self._needs_time = mapper.time is not None and not mapper.time.empty_is_now
        self._key: Any = None
        self._lines: list[tuple[int, dict[str, Any]]] = []
        self._spoilt = False

    def add(self, line: int, found: dict[str, Any]) -> list[Read]:
        """One row; returns the event of the rows before it, if they are those of another order.

        Raises:
            EventError: The row does not say which order it belongs to.
        """
        part, _, name = self._field.partition(".")
        key = found.get(part)
        key = key.get(name) if name and isinstance(key, dict) else key
        if not key:
            raise EventError(self._field, "is empty, so that the order of this row is not known")
        ended: list[Read] = []
        if key != self._key:
            ended = self.close()
            self._key = key
        self._lines.append((line, found))
        return ended

    def spoil(self, problem: Problem) -> list[Read]:
        """A bad row: it may belong to the order at hand, which is not sent without it."""
        if self._lines:
            self._spoilt = True
        return [problem]

    def close(self) -> list[Read]:
        """The event of the rows at hand."""
        lines, self._lines, self._key = self._lines, [], None
        spoilt, self._spoilt = self._spoilt, False
        if not lines:
            return []
        first = lines[0][0]
        if spoilt:
            return [Problem(self._name, first, "", "is not sent: a row of this order, or the row behind it, is bad")]
        try:
            merged = _merged([found for _, found in lines])
            if self._needs_time and "time" not in merged:
                raise EventError("time", f"is empty in every row of this order; {NO_TIME_FIX}")
            return [Good(self._name, first, event_of(merged))]
        except EventError as error:
            return [Problem(self._name, first, error.field, error.reason)]


def _merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of all rows: of each the first that is given, the items one after another, and the order's value."""
    merged: dict[str, Any] = {}
    for row in rows:
        for field, value in row.items():
            if isinstance(value, dict) and field != "items":
                merged[field] = {**value, **merged.get(field, {})}
            else:
                merged.setdefault(field, value)
    items = [row["items"] for row in rows if isinstance(row.get("items"), dict) and row["items"].get("id")]
    if items:
        merged["items"] = items
    values = [Decimal(row["value"]) for row in rows if row.get("value") is not None]
    if len(values) > 1:
        merged["value"] = str(_value(values, items))
    return merged


def _value(values: list[Decimal], items: list[dict[str, Any]]) -> Decimal:
    """The order's value: the rows hold either parts of it, or all of them the whole."""
    if len(set(values)) > 1:
        return sum(values, Decimal())
    prices = [item.get("price") for item in items]
    if not prices or None in prices:
        raise EventError(
            "value",
            f"is the same in all {len(values)} rows of this order: the order's value, or each row's? Map items.price "
            "and items.quantity so that it can be told",
        )
    total = sum((Decimal(item["price"]) * item.get("quantity", 1) for item in items), Decimal())
    each, whole = sum(values, Decimal()), values[0]
    return each if abs(each - total) < abs(whole - total) else whole
