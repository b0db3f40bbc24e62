"""Why a value cannot become an identifier: constant sentences that never hold the value itself."""

from __future__ import annotations

import re
from collections.abc import Set
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
        "(undefined)", "(unknown)", "not provided", "(not provided)",
        "#ref!", "#value!", "#name?", "#null!", "#num!", "#div/0!",
        "<null>", "<na>", "[object object]", "[object undefined]", "[object null]", "{}", "[]",
    }
)  # fmt: skip
#: What stands for nobody where an id belongs: "0" is every guest's id in many shops.
ID_PLACEHOLDERS: Final = PLACEHOLDERS | {
    "nil", "unknown", "anonymous", "guest", "true", "false", "infinity", "-infinity", "-", "--", "0", "-1",
}  # fmt: skip
#: Longer texts need not be looked up.
LONGEST_PLACEHOLDER: Final = max(map(len, PLACEHOLDERS))


#: How a variable of a template begins, at which nearly no value does.
VARIABLE_SIGNS: Final = frozenset("{[<$%_")
#: Variables of templates, tag managers and ad servers that nothing was put in for: ``{{customer.id}}``, ``{gclid}``,
#: ``${id}``, ``<%= id %>``, ``[CLICK_ID]``, ``__CLICKID__``, ``%CLICKID%``; ids in braces have digits.
_is_variable: Final = re.compile(
    r"\$?\{\{[^{}]*\}\}|\$?\{[A-Za-z_][A-Za-z_ .:|\-]*\}|\{%[^{}]*%\}|<%[^<>]*%>|<[A-Za-z_][A-Za-z_ .\-]*>"
    r"|\[[A-Z][A-Z_ ]*\]|\[object [A-Za-z]+\]|__[A-Z_]+__|%{1,2}[A-Za-z_]+%{1,2}"
).fullmatch


def is_placeholder(text: str, words: Set[str] = PLACEHOLDERS) -> bool:
    """Whether a program wrote this where it had nothing.

    Args:
        words: Those that stand for nothing, in small letters; of ids there are more.
    """
    text = text.strip().strip("\"'")
    if text[:1] in VARIABLE_SIGNS and _is_variable(text):
        return True
    return len(text) <= LONGEST_PLACEHOLDER and text.lower() in words


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
