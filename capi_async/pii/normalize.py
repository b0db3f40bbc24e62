"""One pure function per rule of normalisation: text in, normalised text out, or :class:`Refused`.

The rules are the platforms' own (Snap CAPI v2 and v3, Pinterest v5, TikTok Events API, Meta CAPI, Google
Measurement Protocol, Reddit, LinkedIn). Where they are silent, one reading is shared by all of them, so
that one digest serves several. No function returns empty text: :class:`Empty` says that nothing is left.
ASCII is the usual case and takes a path without regular expressions or Unicode tables.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from datetime import date
from functools import lru_cache
from typing import Final

from capi_async.pii.phone import phone, phone_digits, phone_e164
from capi_async.pii.reference import canadian_code, country_code, us_state_code
from capi_async.pii.refused import MASKED, MAX_LENGTH, NOT_UNICODE, TOO_LONG, Empty, Refused
from capi_async.pii.spreadsheets import without_marks
from capi_async.pii.urls import scrub_url

__all__ = [
    "Empty", "Refused", "city", "country", "date_of_birth", "email", "email_google", "email_reddit", "external_id",
    "external_id_lower", "external_id_plain", "gender", "gender_binary", "idfa_upper", "ip", "joined", "letters",
    "mobile_ad_id", "name_google", "phone", "phone_digits", "phone_e164", "plain", "scrub_url", "soundex", "spaced",
    "state_code", "state_code_na", "trimmed", "user_agent", "zip_clear", "zip_google", "zip_plain", "zip_us5",
]  # fmt: skip

_NOT_EMAIL: Final = "not an e-mail address (local@domain.tld, without white space or commas)"
_NO_LOCAL_PART: Final = "nothing is left before the @ of this e-mail address"
_NOT_COUNTRY: Final = "not an ISO 3166-1 code or an English country name"
_NOT_GENDER: Final = "not f, m, n or one of their words"
NOT_BINARY: Final = "neither f nor m, the only ones that some platforms know"
_NOT_DATE: Final = "not a calendar date; write it as 1997-12-26"
_AMBIGUOUS_DATE: Final = "day and month could be swapped; write it as 1997-12-26"
_NOT_IP: Final = "not an IPv4 or IPv6 address"
_UNSPECIFIED_IP: Final = "the unspecified address is nobody's"
_NOT_PUBLIC_IP: Final = "an address of no public network: it is a proxy's, or this machine's, and not the person's"
_ZERO_ID: Final = "an all-zero advertising id means that tracking is off"
_NOT_US_ZIP: Final = "not a US ZIP code (five digits; did a spreadsheet take its leading zero?)"
_NO_SOUNDEX: Final = "no Soundex code: the first letter is not A to Z"


# --- text ------------------------------------------------------------------------------------------------------


def _checked(text: str) -> str:
    """``text`` in NFC; refuses what no rule may see."""
    if len(text) > MAX_LENGTH:
        raise Refused(TOO_LONG)
    if "*" in text:
        raise Refused(MASKED)
    return text if text.isascii() else _nfc(text)


def _nfc(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(NOT_UNICODE) from None
    return unicodedata.normalize("NFC", text)


def _lower(text: str) -> str:
    """Lower case, again in NFC: ``H`` + U+0331 composes only once it is small."""
    return _composed(text.lower())


def _ascii_of(categories: str) -> dict[int, None]:
    return {code: None for code in range(128) if unicodedata.category(chr(code))[0] in categories}


_ASCII: Final = {categories: _ascii_of(categories) for categories in ("PSZC", "PSC", "PSN", "PS")}


def _without(text: str, categories: str) -> str:
    """``text`` without the characters of these general categories."""
    if text.isascii():
        return text.translate(_ASCII[categories])
    return "".join([char for char in text if unicodedata.category(char)[0] not in categories])


def _composed(text: str) -> str:
    """NFC again, after a removal has brought a letter and a mark together."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _some(text: str) -> str:
    if not text:
        raise Empty
    return text


def trimmed(text: str) -> str:
    """NFC, trim: for names that are sent as they are written."""
    return _some(_checked(text).strip())


def plain(text: str) -> str:
    """NFC, trim, lower; inner spaces and punctuation stay. Snap v2, Pinterest names."""
    if len(text) <= MAX_LENGTH and text.isascii() and text.isalpha():
        return text.lower()
    return _some(_lower(_checked(text).strip()))


def joined(text: str) -> str:
    """NFC, lower, without punctuation, symbols, separators and controls; letters of every script stay.

    Meta names, whose inner spaces Meta's own parameter builder removes; cities everywhere but on Snap v2.
    """
    if len(text) <= MAX_LENGTH and text.isascii() and text.isalnum():
        return text.lower()
    text = _lower(_checked(text))
    if not text.isalnum():
        text = _composed(_without(text, "PSZC"))
    return _some(text)


def name_google(text: str) -> str:
    """NFC, lower, without punctuation, symbols and any white space; accents and all other signs stay.

    Source: Data Manager API, formatting, and Google's own utility library, which removes white space inside, too.
    """
    if len(text) <= MAX_LENGTH and text.isascii() and text.isalnum():
        return text.lower()
    text = "".join(_lower(_checked(text)).split())
    if not text.isalnum():
        text = _composed(_without(text, "PS"))
    return _some(text)


def spaced(text: str) -> str:
    """NFC, lower, without punctuation, symbols and controls, trim; inner spaces stay. Snap v3 and TikTok names.

    Source: Snap's own tag and WooCommerce plug-in, TikTok's WooCommerce plug-in, read 2026-11.
    """
    if len(text) <= MAX_LENGTH and text.isascii() and text.isalnum():
        return text.lower()
    text = _lower(_checked(text))
    if not text.isalnum():
        text = _composed(_without(text.translate(_BLANKS), "PSC")).strip()
    return _some(text)


#: Tabs and line ends stand between two names as a space does.
_BLANKS: Final = dict.fromkeys(range(9, 14), " ")


def letters(text: str) -> str:
    """NFC, without punctuation, symbols and numbers, lower, trim; inner spaces stay. Google."""
    if len(text) <= MAX_LENGTH and text.isascii() and text.isalpha():
        return text.lower()
    return _some(_lower(_composed(_without(_checked(text), "PSN"))).strip())


_SOUNDEX: Final = {
    letter: code
    for code, group in zip("123456", ("bfpv", "cgjkqsxz", "dt", "l", "mn", "r"), strict=True)
    for letter in group
}


def soundex(text: str) -> str:
    """American Soundex, a letter and three digits, as Snap v2's SDK computes it.

    Any character but ``h`` and ``w`` breaks a run of equal codes, spaces and punctuation too.
    """
    text = plain(text)
    if not "a" <= text[0] <= "z":
        # the first character goes out in clear: of a Chinese name that is the whole family name
        raise Refused(_NO_SOUNDEX)
    code, last = text[0].upper(), _SOUNDEX.get(text[0], "")
    for char in text[1:]:
        digit = _SOUNDEX.get(char, "")
        if digit and digit != last:
            code += digit
            if len(code) == 4:
                break
        if char not in "hw":
            last = digit
    return code.ljust(4, "0")


# --- e-mail ----------------------------------------------------------------------------------------------------

_LOCAL_PART: Final = b"!#$%&'+-./0123456789=?^_`abcdefghijklmnopqrstuvwxyz{|}~"
# Possessive, so that a hostile address costs one pass.
_is_ascii_domain: Final = re.compile(r"(?:[0-9a-z_\-]++\.)++[0-9a-z_\-]++").fullmatch
_known_domain: Final = lru_cache(maxsize=4096)(_is_ascii_domain)
#: Longer domains do not exist, and would fill the cache.
_DOMAIN_CHARS: Final = 100
_wide_email: Final = re.compile(
    r"[^\s@,;:<>()\[\]\\\"]++@(?:[^\s@,;:<>()\[\]\\\".]++\.)++[^\s@,;:<>()\[\]\\\".]++"
).fullmatch


def email(text: str) -> str:
    """NFC, trim, lower; refused unless ``local@domain.tld``. Dots and ``+tag`` stay.

    All platforms but Google and Reddit.
    """
    if text.isascii() and len(text) <= MAX_LENGTH and _ascii_email(small := text.strip().lower()):
        return small
    return _address(_lower(_checked(text).strip()))


def _ascii_email(text: str) -> bool:
    """Whether ASCII ``text`` is an address. Its domain is nearly always one that was looked at before."""
    local, _, domain = text.partition("@")
    is_domain = _known_domain if len(domain) <= _DOMAIN_CHARS else _is_ascii_domain
    return bool(local) and not local.encode().translate(None, _LOCAL_PART) and is_domain(domain) is not None


def _address(text: str) -> str:
    """``text`` if it is an address, of any script and without invisible characters."""
    if _ascii_email(text) if text.isascii() else (text.isprintable() and _wide_email(text)):
        return text
    raise Refused(_NOT_EMAIL) if text else Empty


def email_google(text: str) -> str:
    """NFC, lower, no white space at all; before ``@gmail.com`` and ``@googlemail.com`` no tag and no dots.

    Source: Data Manager API, formatting, copies from the middle of 2026 on: what follows a ``+`` is cut, which earlier
    copies did not say. Other domains keep both; ``googlemail.com`` is not rewritten.
    """
    text = _address(_composed("".join(_lower(_checked(text)).split())))
    if text.endswith(("@gmail.com", "@googlemail.com")):
        local, _, domain = text.partition("@")
        local = local.partition("+")[0].replace(".", "")
        if not local:
            raise Refused(_NO_LOCAL_PART)
        return f"{local}@{domain}"
    return text


_not_alphanumeric: Final = re.compile(r"[^a-z0-9]+")


def email_reddit(text: str) -> str:
    """:func:`email`, then before ``@``: cut at the first ``+``, keep ``a-z0-9`` only. Every domain."""
    text = email(text)
    local, _, domain = text.partition("@")
    if local.isalnum() and local.isascii():
        return text
    local = _not_alphanumeric.sub("", local.partition("+")[0])
    if not local:
        raise Refused(_NO_LOCAL_PART)
    return f"{local}@{domain}"


# --- ids -------------------------------------------------------------------------------------------------------


def _opaque(text: str) -> str:
    """Trim; no Unicode change, because the platform compares it with what a browser tag sent."""
    if len(text) > MAX_LENGTH:
        raise Refused(TOO_LONG)
    text = text.strip()
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Refused(NOT_UNICODE) from None
    return _some(text)


def external_id(text: str) -> str:
    """Trim; case stays: it must equal what the browser tag sends."""
    if text.isalnum() and text.isascii() and len(text) <= MAX_LENGTH:
        return text
    if "*" in text:
        raise Refused(MASKED)
    return _opaque(text)


def external_id_lower(text: str) -> str:
    """Lower, without any white space. Meta: its parameter builder in every language and its browser pixel do so.

    Source: Meta, parameter builder libraries, read 2026-11.
    """
    return _some("".join(external_id(text).lower().split()))


def external_id_plain(text: str) -> str:
    """Trim, lower. Snap and Pinterest, as their own tag and shop extension do; their documents do not say."""
    return external_id(text).lower()


def user_agent(text: str) -> str:
    """Trim. An asterisk in it masks nothing."""
    return _opaque(text)


def mobile_ad_id(text: str) -> str:
    """Trim, lower, hyphens stay. All zeros (tracking switched off) is refused: it would be everybody's id."""
    text = external_id(text)
    if not text.strip("0-"):
        raise Refused(_ZERO_ID)
    return text.lower()


def idfa_upper(text: str) -> str:
    """Trim, upper, hyphens stay: Reddit's rule for iOS."""
    text = external_id(text)
    if not text.strip("0-"):
        raise Refused(_ZERO_ID)
    return text.upper()


def idfv(text: str) -> str:
    """Trim only."""
    text = external_id(text)
    if not text.strip("0-"):
        raise Refused(_ZERO_ID)
    return text


_UNSPECIFIED: Final = frozenset({bytes(4), bytes(16)})
#: All of IPv6 that is given to anybody, but for what its first 23 bits keep for protocols and tests (RFC 6890, RFC 4291
#: and their registries). Networks for documentation are let pass, of both families: nobody has them.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_PROTOCOLS_V6: Final = ipaddress.IPv6Network("2001::/23")
#: Networks that hold an IPv4 address, and its place in the bytes: translators (RFC 6052) and 6to4.
_HOLD_V4: Final = (
    (ipaddress.IPv6Network("64:ff9b::/96"), slice(12, 16)),
    (ipaddress.IPv6Network("2002::/16"), slice(2, 6)),
)
#: Of IPv4: networks by their first byte, and those by the first and a range of the second.
_NOT_PUBLIC_FIRST: Final = frozenset({0, 10, 127, *range(224, 256)})
_NOT_PUBLIC_SECOND: Final = {
    100: range(64, 128), 169: range(254, 255), 172: range(16, 32), 192: range(168, 169), 198: range(18, 20),
}  # fmt: skip
#: Of protocols (192.0.0.0/24) and of relays that are no more (192.88.99.0/24).
_NOT_PUBLIC_THREE: Final = frozenset({bytes((192, 0, 0)), bytes((192, 88, 99))})


def is_public_v4(packed: bytes) -> bool:
    """Whether an IPv4 address, as four bytes, is of a public network."""
    first = packed[0]
    return (
        first not in _NOT_PUBLIC_FIRST
        and packed[1] not in _NOT_PUBLIC_SECOND.get(first, ())
        and not (first == 192 and packed[:3] in _NOT_PUBLIC_THREE)
    )


def _is_public_v6(address: ipaddress.IPv6Address) -> bool:
    for network, place in _HOLD_V4:
        if address in network:
            return is_public_v4(address.packed[place])
    return address in _GLOBAL_V6 and address not in _PROTOCOLS_V6


_with_port: Final = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([0-9a-f:.]+)\](?::[0-9]{1,5})?").fullmatch
#: Proxies on the way; a longer list is no forwarding header.
_MAX_HOPS: Final = 50


def ip(text: str) -> str:
    """A public IPv4 or IPv6 address, trimmed and in small letters.

    A port is cut off, an IPv4 address in IPv6 form is taken out of it, and of a list, as forwarding headers have it,
    the first public address is taken.
    """
    if len(text) > MAX_LENGTH:
        raise Refused(TOO_LONG)
    text = text.strip().lower()
    if not text:
        raise Empty
    if "*" in text:
        raise Refused(MASKED)
    if "," not in text:
        return _public(text)
    reason = _NOT_IP
    for hop in text.split(",")[:_MAX_HOPS]:
        try:
            return _public(hop.strip())
        except Refused as refused:
            reason = refused.reason
    raise Refused(reason)


def _public(text: str) -> str:
    if match := _with_port(text):
        text = match[1] or match[2]
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        raise Refused(_NOT_IP) from None
    if packed in _UNSPECIFIED:
        raise Refused(_UNSPECIFIED_IP)
    if family == socket.AF_INET6:
        address = ipaddress.IPv6Address(packed)
        if address.ipv4_mapped is None:
            if not _is_public_v6(address):
                raise Refused(_NOT_PUBLIC_IP)
            return text
        packed, text = address.ipv4_mapped.packed, str(address.ipv4_mapped)
    if not is_public_v4(packed):
        raise Refused(_NOT_PUBLIC_IP)
    return text


# --- places ----------------------------------------------------------------------------------------------------

city = joined

_separators: Final = re.compile(r"[\s\-\u2010-\u2015\u2212]+")
_zip_plus_four: Final = re.compile(r"[0-9]{5}-[0-9]{4}").fullmatch
#: Five digits, and four more or what is no digit: ``2116-1234`` and ``21161234`` have lost a zero in front.
_us_zip: Final = re.compile(r"([0-9]{5})(?:[\s\-\u2010-\u2015\u2212]*[0-9]{4})?(?![0-9])").match


def state_code(text: str, country: str | None = None) -> str:
    """A US state's name or code as its two letters, in small; elsewhere :func:`joined`.

    Args:
        country: Alpha-2 code; ``None`` is read like the US, whose names are hardly anything else.
    """
    if country is None or country.lower() == "us":
        code = us_state_code(_checked(text))
        if code is not None:
            return code.lower()
    return joined(text)


def state_code_na(text: str, country: str | None = None) -> str:
    """Like :func:`state_code`, and a Canadian province or territory by name as its code, too: Meta.

    Source: Meta, parameter builder libraries, read 2026-11.
    """
    if country is None or country.lower() == "ca":
        code = canadian_code(_checked(text))
        if code is not None:
            return code.lower()
    return state_code(text, country)


def zip_us5(text: str, country: str | None = None) -> str:
    """Lower, without white space and hyphens; the first five digits in the US.

    Meta's libraries cut every code at its hyphen, which destroys Polish and Japanese ones; here only a US
    code is cut, or one of the form ``ddddd-dddd`` whose country is not known.
    """
    text = _lower(_undamaged(text))
    short = _composed(_separators.sub("", text)) if not text.isalnum() else text
    if country is None:
        return _some(short[:5] if _zip_plus_four(text) else short)
    if country.lower() == "us":
        if not short:
            raise Empty
        match = _us_zip(text)
        if match is None:
            raise Refused(_NOT_US_ZIP)
        return match[1]
    return _some(short)


_as_float: Final = re.compile(r"([0-9]+)\.0+").fullmatch


def _undamaged(text: str) -> str:
    """A code without what spreadsheets add: an apostrophe in front, a formula around it, ``.0`` behind."""
    text = without_marks(_checked(text))
    match = _as_float(text)
    return match[1] if match else text


def zip_plain(text: str) -> str:
    """:func:`plain`, of a code as it was before a spreadsheet had it."""
    return _some(_lower(_undamaged(text)))


def zip_clear(text: str) -> str:
    """Trim; sent in clear. Source: Data Manager API, formatting."""
    return _some(_composed(_undamaged(text)).strip())


def zip_google(text: str) -> str:
    """Without ``.`` and ``~``, trim; sent in clear."""
    return _some(_composed(_undamaged(text).replace(".", "").replace("~", "")).strip())


def country(text: str) -> str:
    """ISO 3166-1 alpha-2 in small, of a code, an alpha-3 code or an English name; ``uk`` is ``gb``."""
    text = _some(_checked(text).strip())
    code = country_code(text)
    if code is None:
        raise Refused(_NOT_COUNTRY)
    return code.lower()


# --- person ----------------------------------------------------------------------------------------------------

_GENDERS: Final = {
    "f": "f", "female": "f", "woman": "f", "girl": "f",
    "m": "m", "male": "m", "man": "m", "boy": "m",
    "n": "n", "nonbinary": "n", "enby": "n", "neither": "n", "neutral": "n",
}  # fmt: skip


def gender(text: str) -> str:
    """``f``, ``m`` or ``n``."""
    letter = _GENDERS.get(joined(text))
    if letter is None:
        raise Refused(_NOT_GENDER)
    return letter


def gender_binary(text: str) -> str:
    """``f`` or ``m``, for platforms that know no other."""
    letter = gender(text)
    if letter == "n":
        raise Refused(NOT_BINARY)
    return letter


_year_first: Final = re.compile(
    r"([0-9]{4})(?:([-/.])([0-9]{1,2})\2([0-9]{1,2})|([0-9]{2})([0-9]{2}))"
    # a midnight time is how a date is often serialised; any other hour may belong to the day before
    r"(?:[tT ]00:00(?::00(?:\.0+)?)?(?:[zZ]|\+00:00)?)?"
).fullmatch
_year_last: Final = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})").fullmatch


def date_of_birth(value: date | str) -> str:
    """``YYYYMMDD``. A year at the end is read only where day and month cannot be confused."""
    if isinstance(value, str):
        value = _birthday(_some(_checked(value).strip()))
    if not 1900 <= value.year < 2100:
        # 1601, 1753, 1899 and 9999 are databases' ways to say that it is unknown
        raise Refused(_NOT_DATE)
    return f"{value.year}{value.month:02}{value.day:02}"


def _birthday(text: str) -> date:
    try:
        if match := _year_first(text):
            return date(int(match[1]), int(match[3] or match[5]), int(match[4] or match[6]))
        if match := _year_last(text):
            first, second, year = int(match[1]), int(match[3]), int(match[4])
            if first <= 12 and second <= 12 and first != second:
                raise Refused(_AMBIGUOUS_DATE)
            return date(year, min(first, second), max(first, second))
    except ValueError:
        pass
    raise Refused(_NOT_DATE)
