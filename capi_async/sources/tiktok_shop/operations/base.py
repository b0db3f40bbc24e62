"""What all operations share: how one asks, how one reads, how one turns pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from capi_async.outcome import UNREADABLE
from capi_async.sources.tiktok_shop.connection import Answer, Body
from capi_async.sources.tiktok_shop.endpoints import Endpoint
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopServerError,
    TikTokShopUnsupportedError,
    TikTokShopValidationError,
)
from capi_async.sources.tiktok_shop.models import Paged, read

T = TypeVar("T")

MAX_PAGE_SIZE: Final = 100
#: Lists whose page tokens are remembered for those who ask by page number.
_MAX_REMEMBERED: Final = 64

Instant = int | float | datetime


class Asking(ABC):
    """What the operations need of the client they are part of."""

    _pages: PageNumbers

    @property
    @abstractmethod
    def time_zone(self) -> tzinfo:
        """The shop's registered time zone, in which figures count days."""

    @property
    @abstractmethod
    def legacy(self) -> bool:
        """Whether something speaks the older contract."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since the epoch, by the client's clock."""

    @abstractmethod
    async def _ask(
        self,
        endpoint: Endpoint,
        *,
        ids: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        """One call for this shop."""


class PageNumbers:
    """Remembers which token leads to which page, for callers who count pages.

    The platform knows tokens only: page 7 of a list that was never opened costs seven calls.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[object, list[str]] = OrderedDict()

    async def turn_to(self, key: object, number: int, fetch: Callable[[str], Awaitable[Paged[T]]]) -> Paged[T]:
        """The page of this number, counted from 1; an empty one behind the last.

        Args:
            key: The list: its filters, order and page size.
        """
        known = self._known.get(key, [""])
        try:
            return await self._walk(key, known, number, fetch)
        except TikTokShopValidationError:
            if len(known) == 1 or number == 1:
                raise
            # the token had lapsed: from the beginning, once
            return await self._walk(key, [""], number, fetch)

    async def _walk(
        self, key: object, known: Sequence[str], number: int, fetch: Callable[[str], Awaitable[Paged[T]]]
    ) -> Paged[T]:
        tokens = list(known[:number])
        while True:
            page = await fetch(tokens[-1])
            at = len(tokens)
            if page.next_page_token:
                tokens.append(page.next_page_token)
            self._remember(key, tokens)
            if at == number:
                return page
            if not page.next_page_token:
                return Paged(total=page.total, request_id=page.request_id)

    def _remember(self, key: object, tokens: list[str]) -> None:
        self._known[key] = list(tokens)
        self._known.move_to_end(key)
        while len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)


def check_page(page_size: int, page_number: int, page_token: str) -> None:
    """Refuse what the platform would, before it is asked.

    Raises:
        TikTokShopValidationError: Not 1 to 100 per page, no such page number, or a number and a token at once.
    """
    if isinstance(page_size, bool) or not 1 <= page_size <= MAX_PAGE_SIZE:
        raise TikTokShopValidationError(f"page_size is 1 to {MAX_PAGE_SIZE}")
    if isinstance(page_number, bool) or page_number < 1:
        raise TikTokShopValidationError("page_number counts from 1")
    if page_token and page_number != 1:
        raise TikTokShopValidationError("give page_token or page_number, not both")


async def every(fetch: Callable[[str], Awaitable[Paged[T]]]) -> AsyncIterator[T]:
    """The items of all pages, one by one.

    Raises:
        TikTokShopServerError: The platform gives out the same token again and again.
    """
    seen = {""}
    token = ""
    while True:
        page = await fetch(token)
        for item in page.items:
            yield item
        token = page.next_page_token
        if not token:
            return
        if token in seen:
            raise TikTokShopServerError("the platform gave out a page token twice: the list would never end")
        seen.add(token)


class Listed(Struct, frozen=True):
    """What stands beside the items of every list."""

    next_page_token: str = ""
    total_count: int | None = None


def page_of(items: tuple[T, ...], found: Listed, answer: Answer) -> Paged[T]:
    """One page, as the callers see it."""
    return Paged(
        items=items, next_page_token=found.next_page_token, total=found.total_count, request_id=answer.request_id
    )


def decode(answer: Answer, kind: type[T]) -> T:
    """The answer's data; a success may come without any.

    Raises:
        TikTokShopServerError: It is not what is documented.
    """
    try:
        data = bytes(answer.data)
        return read(b"{}" if data == b"null" else data, kind)
    except UNREADABLE:
        raise TikTokShopServerError(
            "the answer's data is not what is documented", http_status=200, request_id=answer.request_id
        ) from None


def json_body(fields: Mapping[str, object]) -> Body:
    """The bytes that are signed and sent; fields that are ``None`` are left out.

    Without any field nothing is sent, rather than ``{}``: SDKs disagree whether that is signed, and nothing is nothing.
    """
    told = {name: value for name, value in fields.items() if value is not None}
    return Body(msgspec.json.encode(told) if told else b"")


def query_text(fields: Mapping[str, object]) -> dict[str, str]:
    """Query parameters as text: lists with commas, no ``None``."""
    made: dict[str, str] = {}
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, bool):
            made[name] = "true" if value else "false"
        elif isinstance(value, list | tuple):
            made[name] = ",".join(str(one) for one in value)
        else:
            made[name] = str(value)
    return made


def query_of(query: Mapping[str, Any]) -> dict[str, str]:
    """A caller's own query parameters as text: ``0`` and ``False`` are values, ``None`` is none.

    Raises:
        TikTokShopValidationError: One is neither text nor a number nor a truth value. How a list is written differs
            from endpoint to endpoint, so that nobody but the caller knows.
    """
    for name, value in query.items():
        if value is not None and not isinstance(value, str | int | float | Decimal):
            raise TikTokShopValidationError(
                f"query: {name} is a {type(value).__name__}; give it as the endpoint wants it written, such as ids "
                "with commas between them: ','.join(ids)"
            )
    return query_text(query)


def epoch(value: Instant | None, name: str) -> int | None:
    """Whole seconds since the epoch.

    Raises:
        TikTokShopValidationError: A datetime without an offset, or a number that looks like milliseconds.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TikTokShopValidationError(f"{name}: a datetime needs a time zone")
        return int(value.timestamp())
    if isinstance(value, bool) or not 0 <= value < 100_000_000_000:
        raise TikTokShopValidationError(f"{name}: seconds since the epoch, as a number, or an aware datetime")
    return int(value)


def as_instant(value: Instant | date | None) -> Instant | None:
    """A day as its first moment in UTC; anything else as it is."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def check_span(start: int | None, end: int | None) -> None:
    """Refuse an interval that ends before it begins.

    Raises:
        TikTokShopValidationError: It does.
    """
    if start is not None and end is not None and start >= end:
        raise TikTokShopValidationError("start_time must be earlier than end_time")


#: What is asked for if nobody says: longer windows are reported to fail.
DEFAULT_DAYS: Final = 28


def days(start: Instant | date | None, end: Instant | date | None, zone: tzinfo, now: float) -> tuple[str, str]:
    """First day and the day after the last, in the shop's time zone, as the figures want them.

    An instant within a day takes in that day. Without an end: up to today. Without a start: 28 days before the end.

    Raises:
        TikTokShopValidationError: The end is not after the start.
    """
    last = (
        _day(end, zone, round_up=True) if end is not None else datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    )
    first = _day(start, zone, round_up=False) if start is not None else last - timedelta(days=DEFAULT_DAYS)
    if first >= last:
        raise TikTokShopValidationError("start_time must be at least a day earlier than end_time")
    return first.isoformat(), last.isoformat()


def _day(value: Instant | date, zone: tzinfo, *, round_up: bool) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    at = datetime.fromtimestamp(epoch(value, "time") or 0, UTC).astimezone(zone)
    midnight = at.hour == at.minute == at.second == 0
    return at.date() + timedelta(days=1) if round_up and not midnight else at.date()


def unsupported(what: str, instead: str = "") -> TikTokShopUnsupportedError:
    """The error for what the platform has no endpoint for."""
    return TikTokShopUnsupportedError(f"TikTok Shop has no endpoint that {what}{f'; {instead}' if instead else ''}")


def text_within(name: str, value: str, limit: int) -> None:
    """Refuse a text that the platform would find too long; it counts UTF-16 units.

    Raises:
        TikTokShopValidationError: It is empty or too long.
    """
    size = len(value.encode("utf-16-le", "surrogatepass")) // 2
    if not 0 < size <= limit:
        raise TikTokShopValidationError(f"{name}: 1 to {limit} characters, not {size}")


def any_of(value: Any, name: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is none of those.

    Raises:
        TikTokShopValidationError: It is not.
    """
    if value not in allowed:
        raise TikTokShopValidationError(f"{name} is one of {', '.join(allowed)}")
