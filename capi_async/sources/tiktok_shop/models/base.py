"""The base of all structs that are read, an amount of money, and a page of a list."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from capi_async.sources.tiktok_shop.lenient import amount, instant

if TYPE_CHECKING:
    Id: TypeAlias = str
    Time: TypeAlias = int
else:
    #: Beyond 2^53, and sent as a number by some endpoints; always text once it is read.
    Id = str | int
    #: Whole seconds since the epoch once it is read, whichever unit it came in; 0 if it is absent or no time.
    Time = int | float | str

T = TypeVar("T")


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what is read. Its repr shows ids and states, and nothing of a person."""

    def __post_init__(self) -> None:
        """Make text of ids that came as numbers, seconds of times; amounts that are none are absent."""
        ids, times, amounts = _kinds(type(self))
        for name in ids:
            value = getattr(self, name)
            if type(value) is int:
                force_setattr(self, name, str(value))
        for name in times:
            value = getattr(self, name)
            if value != 0 or type(value) is not int:
                force_setattr(self, name, instant(value))
        for name in amounts:
            value = getattr(self, name)
            if value is not None and amount(value) is None:
                force_setattr(self, name, None)

    def __repr__(self) -> str:
        shown = [
            f"{name}={value!r}" for name in _SHOWN if isinstance(value := getattr(self, name, None), str) and value
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


_SHOWN: Final = ("id", "status", "currency")


@lru_cache(maxsize=256)
def _kinds(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of the fields that hold ids, times and amounts."""
    fields = msgspec.structs.fields(kind)
    return (
        tuple([field.name for field in fields if field.type == Id]),
        tuple([field.name for field in fields if field.type == Time]),
        tuple([field.name for field in fields if field.type == Decimal | None]),
    )


class Amount(Model, frozen=True, kw_only=True):
    """An amount of money.

    Attributes:
        amount: In major units of ``currency``.
    """

    amount: Decimal | None = None
    currency: str = ""


class Paged(Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list.

    Attributes:
        next_page_token: Asks for the next page, with all else unchanged; empty on the last.
        total: Of all pages; ``None`` if the platform did not say.
        request_id: The platform's id of the request.
    """

    items: tuple[T, ...] = ()
    next_page_token: str = ""
    total: int | None = None
    request_id: str = ""

    @property
    def more(self) -> bool:
        """Whether another page follows."""
        return bool(self.next_page_token)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Paged({len(self.items)} items, total={self.total}, more={self.more})"
