"""Reading the bits of the IAB's consent strings.

Source, read 2026-11: IAB Tech Lab, "Global Privacy Platform String" and "Consent string and vendor list formats v2".
"""

from __future__ import annotations

from typing import Final

from capi_async.errors import ConsentError

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_VALUE: Final = {char: number for number, char in enumerate(_ALPHABET)}
#: No consent tool writes a longer string.
MAX_CHARS: Final = 16_384
#: Vendor ids and section ids have 16 bits.
_MAX_ID: Final = 65_535


class Bits:
    """The bits of one segment, read from the first on.

    Raises:
        ConsentError: Every method: there are fewer bits than are asked for. The constructor: characters that stand for
            no bits.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARS:
            raise ConsentError(f"a consent string is longer than {MAX_CHARS:,} characters")
        try:
            self._bits = "".join([f"{_VALUE[char]:06b}" for char in text.rstrip("=")])
        except KeyError:
            raise ConsentError("a consent string holds characters that stand for nothing in URL-safe Base64") from None
        self._at = 0

    @property
    def left(self) -> int:
        """How many bits were not read yet."""
        return len(self._bits) - self._at

    def skip(self, count: int) -> None:
        """Pass over some."""
        self._take(count)

    def number(self, count: int) -> int:
        """A number of so many bits."""
        return int(self._take(count), 2)

    def flag(self) -> bool:
        """One bit."""
        return self._take(1) == "1"

    def letters(self, count: int) -> str:
        """Capital letters of six bits each."""
        codes = [self.number(6) for _ in range(count)]
        if any(code > 25 for code in codes):
            raise ConsentError("a consent string holds a language or a country that is none")
        return "".join([chr(65 + code) for code in codes])

    def members(self, count: int) -> frozenset[int]:
        """The places, from 1 on, of the bits that are set."""
        return frozenset(place for place, bit in enumerate(self._take(count), 1) if bit == "1")

    def fibonacci(self) -> int:
        """A number as a sum of Fibonacci numbers; two bits in a row end it."""
        total, one, two, last = 0, 1, 2, ""
        while (bit := self._take(1)) + last != "11":
            total += one if bit == "1" else 0
            one, two, last = two, one + two, bit
            if total > _MAX_ID:
                raise ConsentError("a consent string names a section that cannot be")
        return total

    def ids(self) -> frozenset[int]:
        """A range of whole numbers: single ids and groups of them."""
        # as bits of one number: thousands of groups of everybody, as a stranger may write them, cost next to nothing
        found = 0
        for _ in range(self.number(12)):
            group, first = self.flag(), self.number(16)
            last = self.number(16) if group else first
            if last >= first:
                found |= ((1 << (last - first + 1)) - 1) << first
        return frozenset(place for place, bit in enumerate(reversed(f"{found:b}")) if bit == "1")

    def ids_after_one_another(self) -> list[int]:
        """A range in Fibonacci numbers, each the distance to the one before."""
        found: list[int] = []
        last = 0
        for _ in range(self.number(12)):
            group = self.flag()
            first = last + self.fibonacci()
            last = first + (self.fibonacci() if group else 0)
            if last > _MAX_ID or last - first > 1_000:
                raise ConsentError("a consent string names sections that cannot be")
            found.extend(range(first, last + 1))
        return found

    def _take(self, count: int) -> str:
        bits = self._bits[self._at : self._at + count]
        if len(bits) < count:
            raise ConsentError("a consent string ends too early")
        self._at += count
        return bits
