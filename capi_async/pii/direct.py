"""Fields whose values hardly ever repeat: nothing is held, and the usual form of a value takes a short path.

What the short path does not know goes the general way, which gives the same result for every value.
"""

from __future__ import annotations

import socket
from collections.abc import Set
from hashlib import sha256
from typing import Any, Final

from capi_async.pii.fields import Notes, TextField
from capi_async.pii.refused import MAX_LENGTH

# a plain int: the enumeration's member is converted on every call
_IPV4: Final = int(socket.AF_INET)
_inet_pton: Final = socket.inet_pton


class LastName(TextField):
    """Family names: of one made of ASCII letters all rules make the same text."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("last_name", wanted, notes, size=0)
        names = ("last_name_plain", "last_name_joined", "last_name_letters")
        self._plain, self._joined, self._letters = (name in wanted for name in names)
        self._short = bool(self.wanted) and self.wanted <= set(names)

    def read(self, value: Any) -> tuple[Any, ...]:
        """The places of ``value``."""
        if self._short and type(value) is str and len(value) < 64 and value.isalpha() and value.isascii():
            digest = sha256(value.lower().encode()).hexdigest()
            return (
                digest if self._plain else None,
                digest if self._joined else None,
                digest if self._letters else None,
                None,
                None,
            )
        return self[value]


class Ip(TextField):
    """Addresses: one in dotted form and without blanks is its own normal form."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("ip", wanted, notes, size=0)
        self._short = self.wanted == {"ip"}

    def read(self, value: str) -> tuple[Any, ...]:
        """The places of ``value``."""
        if self._short:
            try:
                if _inet_pton(_IPV4, value) != b"\0\0\0\0":
                    return None, value
            except (OSError, ValueError):
                pass
        return self[value]


class UserAgent(TextField):
    """User agents: ASCII is only trimmed."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("user_agent", wanted, notes, size=0)

    def read(self, value: str) -> tuple[Any, ...]:
        """The place of ``value``."""
        if self.wanted and value.isascii() and len(value) <= MAX_LENGTH:
            return (value.strip() or None,)
        return self[value]
