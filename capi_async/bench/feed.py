"""The events of a run as plain rows: seeded ones or real ones, written to a file once and read by every contender.

A row is what a shop knows about an order. Making an event of it is each contender's own work, and measured; reading the
row is the harness's, and is subtracted by the clock of the thread that does it.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

#: Rows that are read from the file in one go: holds the loop for about a fifth of a millisecond.
CHUNK: Final = 250

_SYLLABLES: Final = (
    "an", "be", "cor", "da", "el", "fi", "gar", "ha", "il", "jo", "ka", "lo", "mi", "nor", "ol", "pe", "ri", "sa",
)  # fmt: skip
_STATES: Final = ("CA", "NY", "TX", "WA", "Ohio", "Florida", "Oregon", "IL", "GA", "Maine")


class Row(msgspec.Struct, array_like=True, gc=False):
    """One order line of a shop, in no library's dialect.

    Attributes:
        name: Standard event name, such as ``purchase``.
        time: Seconds since the epoch.
        value: Amount in major units of ``currency``.
        items: Product id, price and quantity of each.
    """

    name: str
    order_id: str
    time: float
    value: str
    currency: str
    url: str
    items: list[tuple[str, str, int]]
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None
    external_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[Row])


def _words(rng: random.Random, count: int, syllables: int) -> list[str]:
    words: set[str] = set()
    while len(words) < count:
        words.add("".join(rng.choice(_SYLLABLES) for _ in range(syllables)).title())
    return sorted(words)


@cache
def _population() -> tuple[list[str], list[str], list[str], list[str]]:
    """Names and places of one country, the same for every seed: a shop's next customers live where the others do."""
    rng = random.Random("population")
    firsts, cities, lasts = _words(rng, 1_500, 3), _words(rng, 4_000, 4), _words(rng, 40_000, 5)
    cities += [f"{city} Springs" for city in cities]
    return firsts, lasts, cities, [f"{rng.randrange(100_000):05d}" for _ in range(30_000)]


def seeded(count: int, *, seed: int = 0, now: float | None = None) -> Iterator[Row]:
    """Purchases of the last hour by invented people, each with seven identifiers that are hashed, and the country.

    First names repeat most (1,500 of them), then cities (8,000), zips (30,000) and last names (40,000), by a
    power law; e-mail addresses and phone numbers never do.
    """
    rng = random.Random(seed)
    firsts, lasts, cities, zips = _population()
    newest = time.time() - 60 if now is None else now

    def often(words: list[str]) -> str:
        return words[int(len(words) * rng.random() ** 3)]

    for index in range(count):
        yield Row(
            name="purchase",
            order_id=f"{seed}-{index}",
            time=newest - rng.randrange(3_600_000) / 1_000,
            value=f"{rng.randrange(100, 50_000) / 100:.2f}",
            currency="USD",
            url=f"https://shop.example/thanks?order={seed}-{index}",
            items=[(f"sku-{rng.randrange(5_000)}", "19.99", 2)],
            email=f"{often(firsts)}.{often(lasts)}{index}@Example.com",
            phone=f"+1415{index % 10_000_000:07d}",
            first_name=often(firsts),
            last_name=often(lasts),
            city=often(cities),
            state=rng.choice(_STATES),
            zip=often(zips),
            country="US",
        )


def real(path: Path) -> Iterator[Row]:
    """The events of a JSON Lines file in the form of ``capi-async send``; fields that a row lacks are left out.

    Raises:
        ValueError: A line is no such event.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _row_of(json.loads(line, parse_float=Decimal), number)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}: line {number} is no event ({type(error).__name__})") from None


def _row_of(event: dict[str, Any], number: int) -> Row:
    user, page = event.get("user") or {}, event.get("page") or {}
    first = {name: _first(user.get(name)) for name in Row.__struct_fields__[7:]}
    items = [
        (str(one["id"]), str(one.get("price", "0")), int(one.get("quantity", 1))) for one in event.get("items") or ()
    ]
    return Row(
        name=event["name"],
        order_id=f"{event.get('event_id') or event.get('order_id') or number}",
        # platforms refuse what is older than a week: the file's order, within the last hour
        time=time.time() - 3_600 + number % 3_500,
        value=str(event.get("value", "0")),
        currency=event.get("currency", "USD"),
        url=page.get("url", "https://shop.example/"),
        items=items,
        **first,
    )


def _first(value: Any) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None else str(value)


def write(path: Path, rows: Iterator[Row], count: int) -> int:
    """Write up to ``count`` rows in chunks; returns how many there were."""
    written = 0
    with path.open("wb") as file:
        while written < count and (chunk := list(itertools.islice(rows, min(CHUNK, count - written)))):
            packed = _ENCODER.encode(chunk)
            file.write(len(packed).to_bytes(4, "little") + packed)
            written += len(chunk)
    return written


class Feed:
    """Reads rows, over and over if the file has fewer, and keeps account of what that took.

    Attributes:
        cpu_s, wall_s: Spent on reading so far; not the contender's.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb")
        self._round = 0
        self._rest: list[Row] = []
        self.cpu_s = self.wall_s = 0.0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def batches(self, count: int, size: int) -> Iterator[list[Row]]:
        """The next ``count`` rows, ``size`` at a time."""
        while count > 0:
            cpu, wall = time.thread_time(), time.perf_counter()
            batch = self._take(min(size, count))
            self.cpu_s += time.thread_time() - cpu
            self.wall_s += time.perf_counter() - wall
            count -= len(batch)
            yield batch

    def rows(self, count: int) -> Iterator[Row]:
        """The next ``count`` rows, one at a time."""
        for batch in self.batches(count, CHUNK):
            yield from batch

    def _take(self, size: int) -> list[Row]:
        while len(self._rest) < size:
            self._rest += self._chunk()
        batch, self._rest = self._rest[:size], self._rest[size:]
        return batch

    def _chunk(self) -> list[Row]:
        size = self._file.read(4)
        if not size:
            self._file.seek(0)
            self._round += 1
            size = self._file.read(4)
        rows = _DECODER.decode(self._file.read(int.from_bytes(size, "little")))
        if self._round:
            for row in rows:  # a repeated order is another order: platforms would take it for a duplicate
                row.order_id = f"{row.order_id}.{self._round}"
        return rows
