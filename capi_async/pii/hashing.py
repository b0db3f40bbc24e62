"""SHA-256 as every platform asks for it: UTF-8 bytes, no salt, lower-case hex."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

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
