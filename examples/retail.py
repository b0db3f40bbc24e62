"""Real orders as canonical events: the excerpt in ``data/`` (its README.md tells where it comes from).

Orders, products, prices and countries are real. Whoever placed them is not: the data names nobody, so e-mail
addresses, phones, names, cities, browsers and pages are made up by a seeded generator, from ranges that are reserved
for examples and belong to nobody.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Final, NamedTuple

from capi_async import Event, Item, Page, User

DATA: Final = Path(__file__).parent / "data" / "online-retail-2011-10.csv.gz"

#: Google Analytics takes events of 72 hours, and no three days of the data hold 20,000: a day of the shop becomes six
#: hours.
PACE: Final = 0.25
_NEWEST_AGE: Final = timedelta(minutes=1)
#: Europe/London in these weeks, spelt out: a bare machine has no time zone data. The shop sells nothing at night.
_SUMMER_ENDS: Final = datetime(2011, 10, 30, 2)  # noqa: DTZ001
_SUMMER: Final = timezone(timedelta(hours=1))
_PENNY: Final = Decimal("0.01")
#: The most items of one event that every platform of the demo takes.
MAX_ITEMS: Final = 200
_COUNTRIES: Final = {
    "Belgium": "BE", "Denmark": "DK", "EIRE": "IE", "Finland": "FI", "France": "FR", "Germany": "DE",
    "Hong Kong": "HK", "Italy": "IT", "Japan": "JP", "Netherlands": "NL", "Norway": "NO", "Portugal": "PT",
    "Spain": "ES", "Sweden": "SE", "Switzerland": "CH", "USA": "US", "United Kingdom": "GB",
}  # fmt: skip


class Line(NamedTuple):
    """One sale line: a product on an order."""

    row: int
    item: Item
    amount: Decimal


class Order(NamedTuple):
    """One invoice; ``customer`` is empty for an order without a customer number."""

    invoice: str
    time: datetime
    customer: str
    country: str | None
    lines: list[Line]


def read_orders(path: Path = DATA) -> list[Order]:
    """The orders of the file, oldest first; cancellations, bookkeeping and stock corrections are left out."""
    orders: dict[str, Order] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            quantity, price = int(row["Quantity"]), Decimal(row["UnitPrice"])
            invoice = row["InvoiceNo"]
            if not invoice.isdigit() or quantity <= 0 or price <= 0:
                continue
            # the data states no zone; the shop is British
            local = datetime.fromisoformat(row["InvoiceDate"])
            time = local.replace(tzinfo=_SUMMER if local < _SUMMER_ENDS else UTC).astimezone(UTC)
            order = orders.get(invoice)
            if order is None:
                customer = row["CustomerID"].removesuffix(".0")
                order = orders[invoice] = Order(invoice, time, customer, _COUNTRIES.get(row["Country"]), [])
            elif time < order.time:
                order = orders[invoice] = order._replace(time=time)
            item = Item(id=row["StockCode"], name=row["Description"].strip() or None, quantity=quantity, price=price)
            order.lines.append(Line(number, item, quantity * price))
    return sorted(orders.values(), key=lambda order: (order.time, order.invoice))


def read_events(path: Path = DATA, *, now: datetime | None = None, seed: int = 0) -> list[Event]:
    """Each order as a ``purchase``, each of its lines as an ``add_to_cart`` in the minute before, oldest first.

    Times keep their order and their proportions: they are shifted by one constant, so that the newest lies a minute
    before ``now``, and their distances multiplied by :data:`PACE`. The data knows whole minutes only; each line gets a
    millisecond of its own in its minute.
    """
    orders = read_orders(path)
    newest = max(order.time for order in orders)
    end = (now or datetime.now(UTC)) - _NEWEST_AGE
    people = Invented(seed)
    events: list[Event] = []
    for order in orders:
        events += _events_of(order, end - (newest - order.time) * PACE, people)
    return sorted(events, key=lambda event: event.time)


def _events_of(order: Order, time: datetime, people: Invented) -> Iterator[Event]:
    user = people.user(order)
    for index, line in enumerate(order.lines, start=1):
        yield Event(
            "add_to_cart",
            event_id=f"cart:{order.invoice}:{index}",
            time=time - timedelta(minutes=1) + timedelta(milliseconds=line.row % 60_000),
            user=user,
            value=_pounds([line]),
            currency="GBP",
            items=(line.item,),
            page=Page(url=f"https://shop.example/products/{line.item.id.lower().replace(' ', '-')}"),
        )
    yield Event(
        "purchase",
        event_id=order.invoice,
        order_id=order.invoice,
        time=time,
        user=user,
        value=_pounds(order.lines),
        currency="GBP",
        # a few orders have more lines than Google Analytics takes; the value is the whole order's all the same
        items=tuple(line.item for line in order.lines[:MAX_ITEMS]),
        page=Page(url=f"https://shop.example/checkout/thanks?order={order.invoice}"),
    )


def _pounds(lines: Sequence[Line]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0)).quantize(_PENNY, ROUND_HALF_UP)


class Invented:
    """Makes up the same person for the same customer, for one seed.

    Addresses end in ``.example``, phones are of Ofcom's range for drama (07700 900000 to 900999), IP addresses of the
    ranges for documentation (RFC 5737).
    """

    _FIRST: Final = (
        "Ada",
        "Björn",
        "Chloé",
        "Dev",
        "Elena",
        "Farah",
        "Grace",
        "Hugo",
        "Inês",
        "Jean-Luc",
        "Kofi",
        "Li",
    )
    _LAST: Final = ("Ashby", "Brontë", "Çelik", "Dupont", "Evans", "Fischer", "García", "Hughes", "Ito", "Mac Lir")
    _CITIES: Final = {
        "GB": ("London", "Leeds", "Cardiff", "Stoke-on-Trent"), "IE": ("Dublin", "Cork"), "FR": ("Paris", "Lyon"),
        "DE": ("Berlin", "Köln"), "ES": ("Madrid", "Málaga"), "US": ("New York",), "NL": ("Utrecht",),
    }  # fmt: skip
    _NETS: Final = ("192.0.2", "198.51.100", "203.0.113")
    _BROWSERS: Final = (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    )

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[str, User] = {}

    def user(self, order: Order) -> User:
        """The person behind an order; an order without a customer number gets a guest of its own."""
        customer = order.customer or f"guest-{order.invoice}"
        user = self._known.get(customer)
        if user is None:
            user = self._known[customer] = self._make(customer, order.country)
        return user

    def _make(self, customer: str, country: str | None) -> User:
        source = random.Random(f"{self._seed}:{customer}")
        cities = self._CITIES.get(country or "")
        return User(
            email=f"customer-{customer}@mail.example",
            phone=f"+447700900{source.randrange(1000):03d}",
            external_id=customer,
            first_name=source.choice(self._FIRST),
            last_name=source.choice(self._LAST),
            city=source.choice(cities) if cities else None,
            country=country,
            ip=f"{source.choice(self._NETS)}.{source.randrange(1, 255)}",
            user_agent=source.choice(self._BROWSERS),
        )
