"""Phone numbers to E.164.

A number that carries its country code is read without any parser. A national number needs the country
and the optional ``phonenumbers`` package (``pip install 'capi_async[phone]'``); without them it is
refused, because a guessed country code makes a stranger's number.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from capi_async.pii.refused import MASKED, MAX_LENGTH, NOT_UNICODE, TOO_LONG, Empty, Refused
from capi_async.pii.spreadsheets import without_marks

NO_COUNTRY_CODE: Final = "no country code: write it as +14155552671, or set user.country or phone_region"
NOT_A_NUMBER: Final = "not a number that can be dialled"
NEEDS_PARSER: Final = "needs a parser for this form: pip install 'capi_async[phone]', or write it as +14155552671"

_extension: Final = re.compile(r"(?:ext|x|#).*", re.IGNORECASE | re.DOTALL)
# Address books wrap numbers in invisible direction marks when they are copied.
_invisible: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_international: Final = re.compile(r"(?:\+|00)[\s.\-/]*")
_bracketed_zero: Final = re.compile(r"(\+[\s.\-/]*(\d{1,3})[\s.\-/]*)\(\s*0\s*\)")
# Country codes whose numbers keep their zero when called from abroad (Italy and San Marino).
_KEEP_ZERO: Final = frozenset({"39", "378"})
_separated_zero: Final = re.compile(r"\+[\s.\-/]*\d{1,3}[^\d]+0").match
# What people put between digits. A letter, comma or second "+" means that it is not just one number.
_punctuated: Final = re.compile(r"\+[\d\s().\-/_\u2010-\u2015\u2212']*").fullmatch
_not_digits: Final = re.compile(r"[^0-9]+")


#: Country codes behind which nobody dials a zero, though it stands in front of a number inside the country. Italy, San
#: Marino, the Vatican, Ivory Coast, Congo, Gabon and Benin are not among them: their numbers begin with zeros.
TRUNK_ZERO: Final = (
    r"\+(?:20|27|31|32|33|4[01346]|49|5[134578]|6[0-46]|8[1246]|9[0-58]|21[1238]|23[1-4]|24[39]|25[12456]|26[0-5]|291"
    r"|35[3589]|37[0347]|38[0-35-79]|42[13]|508|59[013-6]|686|85[056]|88[06]|96[123467]|97[01267]|99[4568]"
    # Rwanda has numbers that begin with 06, Uruguay some with 0004
    r"|250(?=0[1-57-9])|598(?=0[1-9]))0"
)
_trunk_zero: Final = re.compile(rf"({TRUNK_ZERO[:-1]})0+").match
SPREADSHEET: Final = "a spreadsheet has made another number of it; keep the column as text"
_as_float: Final = re.compile(r"(\+?[0-9]+)\.0+").fullmatch
_uri: Final = re.compile(r"tel:", re.IGNORECASE)
_as_exponent: Final = re.compile(r"\+?[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+").fullmatch
SEVERAL: Final = "more than one number, or too long for its country; give a list of numbers"


def phone(text: str, region: str | None = None) -> str:
    """``text`` as E.164 with its ``+``.

    Args:
        region: ISO 3166-1 alpha-2 code for numbers without a country code.

    Raises:
        Refused: Not a number, or its country cannot be told.
    """
    if _is_e164(text):
        return text
    return _read(text, region)


def is_written_out(text: str) -> bool:
    """Whether :func:`phone` reads this without the ``phonenumbers`` package: country code and all, no riddles."""
    if _is_e164(text):
        return True
    if len(text) > MAX_LENGTH or "/" in text or not _punctuated(text) or _separated_zero(text):
        return False
    return _is_e164("+" + _not_digits.sub("", text))


def _is_e164(text: str) -> bool:
    """Plus sign, eight to fifteen ASCII digits, the first of them no zero."""
    if text.startswith("+1"):
        return len(text) == _NANP and text[2:].isdigit() and text.isascii()
    return (
        9 <= len(text) <= 16
        and text[0] == "+"
        and text[1] != "0"
        and text[1:].isdigit()
        and text.isascii()
        # a zero behind a country code of two or three digits is looked at more closely
        and not ((text[3] == "0" or text[4] == "0") and _trunk_zero(text))
    )


#: Plus sign and eleven digits: numbers of North America are all of one length.
_NANP: Final = 12


def phone_e164(text: str, region: str | None = None) -> str:
    """E.164 with the ``+``, as TikTok, Google and Reddit hash it."""
    return phone(text, region)


def phone_digits(text: str, region: str | None = None) -> str:
    """E.164 without the ``+``, as Snap, Pinterest and Meta hash it."""
    return phone(text, region)[1:]


def _read(text: str, region: str | None) -> str:
    if len(text) > MAX_LENGTH:
        raise Refused(TOO_LONG)
    if "*" in text:
        raise Refused(MASKED)
    if not text.isascii():
        text = _to_ascii_digits(text)
    text = without_marks(text)
    text = _uri.sub("", text, count=1)
    if not text.strip("# "):
        # hash signs are what a narrow column shows
        raise Refused(NOT_A_NUMBER) if text else Empty
    if _as_exponent(text):
        raise Refused(SPREADSHEET)
    if match := _as_float(text):
        text = match[1]
    text = _extension.sub("", text).strip()
    if not text:
        raise Empty
    # "00" becomes "+" before any parser sees it: with region US a parser makes +10016505551212 of 0016505551212.
    text = _international.sub("+", text, count=1) if text.startswith(("+", "00")) else text
    if not text.startswith("+"):
        return _parse(text, region)
    if zero := _bracketed_zero.match(text):
        kept = "0" if zero[2] in _KEEP_ZERO else ""
        text = f"{zero[1]} {kept}{text[zero.end() :]}"
    number = "+" + _not_digits.sub("", text) if _punctuated(text) else ""
    if match := _trunk_zero(number):
        number = match[1] + number[match.end() :]
    if number and _separated_zero(text):
        # whether the zero goes or stays is the country's affair: what the table above leaves is for the parser to judge
        return _parse(number, None)
    if number:
        if _is_e164(number):
            return _checked_length(number) if "/" in text else number
        if number.startswith("+0"):
            raise Refused(NOT_A_NUMBER)
        if number.startswith("+1") and len(number) > _NANP and "/" in text:
            raise Refused(SEVERAL)
    return _parse(text, None)


def _checked_length(number: str) -> str:
    """A number that was written with a slash, which may stand between two: refused if too long for its country."""
    try:
        import phonenumbers
    except ImportError:
        return number
    if not phonenumbers.is_possible_number(phonenumbers.parse(number)):
        raise Refused(SEVERAL)
    return number


def _to_ascii_digits(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(NOT_UNICODE) from None
    text = _invisible.sub("", unicodedata.normalize("NFKC", text))
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)


def _parse(text: str, region: str | None) -> str:
    international = text.startswith("+")
    if not any(char in "0123456789" for char in text):
        raise Refused(NOT_A_NUMBER)
    if not international and region is None:
        raise Refused(NO_COUNTRY_CODE)
    try:
        import phonenumbers
    except ImportError:
        raise Refused(NEEDS_PARSER) from None
    try:
        number = phonenumbers.parse(text, None if international or region is None else region.upper())
    except phonenumbers.NumberParseException:
        raise Refused(NOT_A_NUMBER) from None
    if not phonenumbers.is_possible_number(number):
        raise Refused(NOT_A_NUMBER)
    written: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return written
