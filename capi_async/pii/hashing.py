"""SHA-256 as every platform asks for it: UTF-8 bytes, no salt, lower-case hex."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

#: The digest of nothing. A platform that receives it joins everybody who left the field empty.
EMPTY_DIGEST: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_looks_hashed: Final = re.compile(r"[0-9a-fA-F]{64}").fullmatch


def sha256_hex(text: str) -> str:
    """The digest of ``text``, as 64 lower-case hex digits.

    Raises:
        ValueError: ``text`` is empty: its digest must never leave.
    """
    if not text:
        raise ValueError("the hash of empty text must never leave")
    return sha256(text.encode()).hexdigest()


def looks_hashed(text: str) -> bool:
    """True if ``text`` is 64 hex digits of either case.

    32 digits are not taken for a digest: they may be an MD5, but also a UUID without its dashes.
    """
    return len(text) == 64 and _looks_hashed(text) is not None


def as_lines(values: Sequence[Any], usual: Callable[[str], object], *, longest: int) -> str | None:
    r"""The values that are not ``None``, a line each, if all are text, none longer than ``longest``, and usual.

    One look at many costs a fraction of a look at each. ``usual`` takes all of them, and no line break but ``\n``.
    """
    texts = values
    try:
        lines = "\n".join((*values, ""))
    except TypeError:  # sooner found than by a look for None before
        texts = [value for value in values if value is not None]
        try:
            lines = "\n".join((*texts, ""))
        except TypeError:
            return None
    few = len(lines) <= longest or max(map(len, texts)) <= longest
    return lines if few and lines.isascii() and usual(lines) and lines.count("\n") == len(texts) else None


def digests_of(lines: str) -> list[str]:
    """The digest of each line, as :func:`sha256_hex` makes it; none of them is empty."""
    return [sha256(line).hexdigest() for line in lines.encode().splitlines()]
