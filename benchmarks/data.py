"""Seeded events for benchmarks: realistic numbers of distinct names, cities and zips, so that caches do not flatter."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache

from capi_async import Event, Item, Page, User

_SYLLABLES = (
    "an",
    "be",
    "cor",
    "da",
    "el",
    "fi",
    "gar",
    "ha",
    "il",
    "jo",
    "ka",
    "lo",
    "mi",
    "nor",
    "ol",
    "pe",
    "ri",
    "sa",
)
_STATES = ("CA", "NY", "TX", "WA", "Ohio", "Florida", "Oregon", "IL", "GA", "Maine")


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


def events(count: int, *, seed: int = 0) -> list[Event]:
    """``count`` purchases by invented people, each with seven hashed identifiers and one item.

    First names repeat most (1,500 of them), then cities (8,000), zips (30,000) and last names (40,000), by a
    power law; e-mail addresses and phone numbers never do.
    """
    rng = random.Random(seed)
    firsts, lasts, cities, zips = _population()
    now = datetime.now(UTC)
    page = Page(url="https://shop.example/thanks")

    def often(words: list[str]) -> str:
        return words[int(len(words) * rng.random() ** 3)]

    return [
        Event(
            "purchase",
            order_id=f"{seed}-{index}",
            time=now,
            value=f"{rng.randrange(100, 50_000) / 100:.2f}",
            currency="USD",
            user=User(
                email=f"{often(firsts)}.{often(lasts)}{index}@Example.com",
                phone=f"+1415{index % 10_000_000:07d}",
                first_name=often(firsts),
                last_name=often(lasts),
                city=often(cities),
                state=rng.choice(_STATES),
                zip=often(zips),
                country="US",
            ),
            page=page,
            items=(Item(id=f"sku-{rng.randrange(5_000)}", price="19.99", quantity=2),),
        )
        for index in range(count)
    ]
