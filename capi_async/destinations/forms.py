"""Forms of values that several platforms document alike, for the structs by which raw fields are checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from msgspec import Meta

#: Of empty text: whoever sends it has hashed a field that was absent.
_OF_NOTHING: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: The pattern of a SHA-256 digest in lower case that is not that of empty text.
DIGEST: Final = rf"\A(?!{_OF_NOTHING})[0-9a-f]{{64}}\Z"
_is_digest: Final = re.compile(DIGEST).match
_is_tagged: Final = re.compile(DIGEST.removesuffix(r"\Z") + r"(?:\.[A-Za-z0-9_-]{2,8})?\Z").match

#: A SHA-256 digest in lower case.
Digest: TypeAlias = Annotated[str, Meta(pattern=DIGEST)]
#: An IPv4 or IPv6 address in any spelling, not its digest.
Ip: TypeAlias = Annotated[str, Meta(pattern=r"\A(?=.*[.:])[0-9a-fA-F:.]{2,45}\Z")]
Currency: TypeAlias = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")]
Filled: TypeAlias = Annotated[str, Meta(min_length=1)]
#: Sixteen texts about app and device, by position (Snap, Meta): a missing one is "", never left out.
ExtInfo: TypeAlias = Annotated[Sequence[str], Meta(min_length=16, max_length=16)]
ContentType: TypeAlias = Annotated[str, Meta(pattern=r"\A(product|product_group)\Z")]

if TYPE_CHECKING:
    #: One digest, or a list of them.
    Digests: TypeAlias = str | Sequence[str]
    #: The same; each may carry the short tag that Meta's parameter builders append.
    TaggedDigests: TypeAlias = str | Sequence[str]
    #: A number, or the text of one.
    NumberOrText: TypeAlias = Decimal | str
else:

    class NumberOrText(str):
        """See :func:`read`."""

        __slots__ = ()

    class Digests:
        """See :func:`read`. No union says it: msgspec 0.21 breaks memory when one holds a pattern beside a list."""

        __slots__ = ("_count",)

        def __init__(self, count: int) -> None:
            self._count = count

        def __len__(self) -> int:
            return self._count

    class TaggedDigests(Digests):
        """See :class:`Digests`."""

        __slots__ = ()


def read(kind: Any, value: Any) -> Any:
    """What of these forms no type says; the ``dec_hook`` of :func:`msgspec.convert`.

    Raises:
        ValueError: The value has not the form; it says what would.
    """
    made: Any = kind
    if kind is Digests or kind is TaggedDigests:
        fits = _is_digest if kind is Digests else _is_tagged
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) and fits(one) for one in found):
            raise ValueError("needs a SHA-256 digest in lower case, or a list of them,")
        return made(len(found))
    if kind is NumberOrText:
        if isinstance(value, bool) or not (isinstance(value, (int, float, Decimal)) or _is_number(value)):
            raise ValueError("needs a number, or the text of one,")
        return made(value)
    raise TypeError(made.__name__)


def _is_number(value: object) -> bool:
    return isinstance(value, str) and _NUMBER.fullmatch(value) is not None


_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
