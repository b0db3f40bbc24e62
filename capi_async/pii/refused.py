"""Why a value cannot become an identifier: constant sentences that never hold the value itself."""

from __future__ import annotations

from typing import Final

#: Longer values are nobody's name or address; they are turned away before any work is done on them.
MAX_LENGTH: Final = 4096

TOO_LONG: Final = "longer than 4096 characters"
NOT_UNICODE: Final = "not valid Unicode text"
MASKED: Final = "masked with asterisks"
LOOKS_HASHED: Final = "looks like a digest: pass Hashed(digest, variant)"
EMPTY_HASH: Final = "the digest of empty text"
PLACEHOLDER: Final = "stands for a value that was not there; everybody without one would be the same person"

#: What programs write where they have nothing, in small letters.
PLACEHOLDERS: Final = frozenset(
    {
        "null", "undefined", "nan", "nat", "none", "n/a", "#n/a", "not set", "(not set)", "(none)", "(null)",
        "(undefined)",
        "<null>", "<na>", "[object object]", "[object undefined]", "[object null]", "{}", "[]",
    }
)  # fmt: skip
#: Longer texts need not be looked up.
LONGEST_PLACEHOLDER: Final = max(map(len, PLACEHOLDERS))


def is_placeholder(text: str) -> bool:
    """Whether a program wrote this where it had nothing."""
    text = text.strip().strip("\"'")
    return len(text) <= LONGEST_PLACEHOLDER and text.lower() in PLACEHOLDERS


class Refused(Exception):
    """A rule cannot normalise this value.

    Attributes:
        reason: A constant sentence for people, without the value.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Empty(Refused):
    """Nothing is left after normalising: the identifier is absent, which is nothing to report."""

    def __init__(self) -> None:
        super().__init__("empty")
