"""Forms of values that several platforms document alike, for the structs by which raw fields are checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from msgspec import Meta

#: Of empty text: whoever sends it has hashed a field that was absent.
_OF_NOTHING: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_DIGEST: Final = rf"\A(?!{_OF_NOTHING})[0-9a-f]{{64}}\Z"
_is_digest: Final = re.compile(_DIGEST).match

#: A SHA-256 digest in lower case.
Digest: TypeAlias = Annotated[str, Meta(pattern=_DIGEST)]
#: An IPv4 or IPv6 address in any spelling, not its digest.
Ip: TypeAlias = Annotated[str, Meta(pattern=r"\A(?=.*[.:])[0-9a-fA-F:.]{2,45}\Z")]
ContentType: TypeAlias = Annotated[str, Meta(pattern=r"\A(product|product_group)\Z")]

if TYPE_CHECKING:
    #: One digest, or a list of them.
    Digests: TypeAlias = str | Sequence[str]
else:

    class Digests:
        """See :func:`read`. No union says it: msgspec 0.21 breaks memory when one holds a pattern beside a list."""

        __slots__ = ("_count",)

        def __init__(self, count: int) -> None:
            self._count = count

        def __len__(self) -> int:
            return self._count


def read(kind: Any, value: Any) -> Any:
    """What of these forms no type says; the ``dec_hook`` of :func:`msgspec.convert`.

    Raises:
        ValueError: The value has not the form; it says what would.
    """
    if kind is not Digests:
        raise TypeError(kind.__name__)
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) and _is_digest(one) for one in found):
        raise ValueError("needs a SHA-256 digest in lower case, or a list of them,")
    counted: Any = Digests
    return counted(len(found))
