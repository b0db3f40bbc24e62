"""Fields whose values hardly ever repeat: nothing is held, and the usual form of a value takes a short path.

What the short path does not know goes the general way, which gives the same result for every value.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence, Set
from hashlib import sha256
from itertools import repeat
from typing import Any, Final

from capi_async.pii.fields import NOBODYS, Columns, Notes, TextField, columns_one_by_one, spread
from capi_async.pii.hashing import as_lines, digests_of
from capi_async.pii.normalize import is_public_v4
from capi_async.pii.refused import LONGEST_PLACEHOLDER, MAX_LENGTH, PLACEHOLDERS

# a plain int: the enumeration's member is converted on every call
_IPV4: Final = int(socket.AF_INET)
_inet_pton: Final = socket.inet_pton
_LONGEST_NAME: Final = 63
#: First bytes of networks that are nobody's in public, in part or as a whole.
_LOOK_CLOSER: Final = frozenset({0, 10, 100, 127, 169, 172, 192, 198, *range(224, 256)})
#: Two quotes may stand around a word that stands for nothing.
_LONGER_THAN_QUOTED_PLACEHOLDERS: Final = LONGEST_PLACEHOLDER + 2
_lines_of_five: Final = re.compile(r"(?:[0-9]{5}\n)*+").fullmatch
_lines_of_letters: Final = re.compile(r"(?:[A-Za-z]++\n)*+").fullmatch


class _Direct(TextField):
    """A field with a short path for one value."""

    def __init__(self, name: str, wanted: Set[str], notes: Notes) -> None:
        super().__init__(name, wanted, notes, size=0)

    def read(self, value: Any) -> tuple[Any, ...]:
        """The places of ``value``."""
        return self[value]

    def columns(self, keys: Sequence[Any], odd: set[int]) -> Columns:
        """See :meth:`TextField.columns`."""
        if not self.wanted or not any(keys):
            return [NOBODYS] * len(self.blank)
        return columns_one_by_one(self.read, keys, self.blank, self._notes, odd)


class LastName(_Direct):
    """Family names: of one made of ASCII letters all rules make the same text."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("last_name", wanted, notes)
        names = ("last_name_plain", "last_name_joined", "last_name_spaced", "last_name_letters", "last_name_google")
        self._kinds = tuple([name in wanted for name in names])
        self._short = bool(self.wanted) and self.wanted <= set(names)

    def read(self, value: Any) -> tuple[Any, ...]:
        """The places of ``value``."""
        if self._short and type(value) is str and len(value) <= _LONGEST_NAME and value.isalpha() and value.isascii():
            small = value.lower()
            if small in PLACEHOLDERS:
                return self[value]
            digest = sha256(small.encode()).hexdigest()
            plain, joined, spaced, letters, google = self._kinds
            return (
                digest if plain else None,
                digest if joined else None,
                digest if spaced else None,
                digest if letters else None,
                digest if google else None,
                None,
                None,
            )
        return self[value]

    def columns(self, keys: Sequence[Any], odd: set[int]) -> Columns:
        """See :meth:`TextField.columns`."""
        if self._short:
            lines = as_lines(keys, _lines_of_letters, longest=_LONGEST_NAME)
            if lines is not None and PLACEHOLDERS.isdisjoint((small := lines.lower()).split("\n")):
                found = digests_of(small)
                digests = list(spread(keys, found, len(found)))
                return [digests if one else NOBODYS for one in (*self._kinds, False, False)]
        return super().columns(keys, odd)


class Country(TextField):
    """Countries; where each of several stands, states and zip codes ask."""

    def _several(self, values: Sequence[Any], countries: Iterable[str | None]) -> tuple[Any, ...]:
        self._notes.any = True
        self._notes.countries = tuple([None if one is None else self._read(one, None)[0][1] for one in values])
        return super()._several(values, countries)


class PlaceField(TextField):
    """A field whose rules ask for the country; its keys are pairs of value and country."""

    def __missing__(self, key: Any) -> tuple[Any, ...]:
        if self._idle:
            return self.blank
        value, country = key
        if type(value) is tuple:
            countries = self._notes.countries
            return self._several(value, countries if len(countries) == len(value) else repeat(country))
        return self._one(key, value, country)

    def columns_in(self, values: Sequence[Any], countries: Sequence[str | None], odd: set[int]) -> Columns:
        """Like :meth:`TextField.columns`, with the country of each value."""
        if not any(values):
            return [NOBODYS] * len(self.blank)
        pairs: Sequence[Any] = list(zip(values, countries, strict=True))
        if not all(values):
            pairs = [None if pair[0] is None else pair for pair in pairs]
        return self.columns(pairs, odd)


class Zip(PlaceField):
    """Codes of five digits are the same text by every rule, in whatever country."""

    def __init__(self, wanted: Set[str], notes: Notes, *, size: int) -> None:
        super().__init__("zip", wanted, notes, size=size)
        self._us5, self._plain = "zip_us5" in wanted, "zip_plain" in wanted
        self._short = bool(self.wanted) and self.wanted <= {"zip_us5", "zip_plain"}

    def columns_in(self, values: Sequence[Any], countries: Sequence[str | None], odd: set[int]) -> Columns:
        """See :meth:`PlaceField.columns_in`."""
        if self._short and any(values):
            lines = as_lines(values, _lines_of_five, longest=5)
            if lines is not None:
                # there are so many that looking one up takes no less than its digest
                found = digests_of(lines)
                digests = list(spread(values, found, len(found)))
                return [digests if self._us5 else NOBODYS, digests if self._plain else NOBODYS, NOBODYS, NOBODYS]
        return super().columns_in(values, countries, odd)


class Ip(_Direct):
    """Addresses: one in dotted form and without blanks is its own normal form."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("ip", wanted, notes)
        self._short = self.wanted == {"ip"}

    def read(self, value: str) -> tuple[Any, ...]:
        """See :meth:`_Direct.read`."""
        if self._short:
            try:
                packed = _inet_pton(_IPV4, value)
                if packed[0] not in _LOOK_CLOSER or is_public_v4(packed):
                    return None, value
            except (OSError, ValueError):
                pass
        return self[value]


class UserAgent(_Direct):
    """User agents: ASCII is only trimmed."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("user_agent", wanted, notes)

    def read(self, value: str) -> tuple[Any, ...]:
        """The place of ``value``."""
        if self.wanted and value.isascii() and _LONGER_THAN_QUOTED_PLACEHOLDERS < len(value) <= MAX_LENGTH:
            return (value.strip() or None,)
        return self[value]
