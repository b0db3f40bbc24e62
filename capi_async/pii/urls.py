"""Page addresses without e-mail addresses: platforms store URLs, and forms put addresses into queries."""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import unquote

# What an at sign looks like: itself, two wide ones, percent-encoded at any depth (as a byte, as "%u0040", as the bytes
# of a wide one), an entity of HTML (its "&" may be encoded too), or an escape of JavaScript.
_marker: Final = re.compile(r"[@\uff20\ufe6b]|%(?:25)*(?:40|u00|uff|ef|26|5c)|&#|&commat;|\\[ux]", re.IGNORECASE).search
_entity: Final = re.compile(r"&(?:#0*64|#x0*40|commat);", re.IGNORECASE).sub
_percent_u: Final = re.compile(r"(?:%|\\)u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})").sub
_wide: Final = str.maketrans({"\uff20": "@", "\ufe6b": "@", "\uff0e": ".", "\u3002": "."})
_separators: Final = re.compile(r"([?#&;])")
# Wide on purpose: what merely looks like an address goes as well. Something must stand before the at sign, so that
# "/@37.77,-122.41" in a map link stays.
_address: Final = re.compile(
    r"[^\s@/?&=#,;:<>\"()]@(?:(?:[\w-]+\.)+[\w-]+|localhost|\[[0-9a-fA-F:.]+\])", re.IGNORECASE
).search
_SIGNS: Final = ("@", "%", "&#", "&c", "&C", "\\")
#: Rounds of decoding; what is encoded more often than that hides something.
_MAX_DEPTH: Final = 16


def scrub_url(url: str) -> str:
    """``url`` without the e-mail addresses in its query and fragment; never raises.

    A parameter whose value holds an address (raw or encoded, also inside a nested URL) keeps its name and loses its
    value; a bare value that holds one becomes nothing. Everything else, all click ids included, stays byte for byte.
    """
    # nearly all addresses have none of these, and a look at each is cheaper than the pattern
    if is_bare(url) or (not any(map(url.count, _SIGNS)) and url.isascii()):
        return url
    if not _marker(url):
        return url
    # an entity would be cut at its own "&", "#" and ";"
    parts = _separators.split(_entity("%40", url) if "&" in url else url)
    # parts alternate text and separator; the first text is scheme, host and path
    found = False
    for index in range(2, len(parts), 2):
        part = parts[index]
        if _marker(part):
            parts[index] = _scrubbed(part)
            found = found or parts[index] != part
    return "".join(parts) if found else url


def is_bare(text: str) -> bool:
    """Whether ``text`` has none of the characters with which an at sign begins, however it is encoded."""
    return "@" not in text and "%" not in text and "&" not in text and "\\" not in text and text.isascii()


def _scrubbed(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if holds_address(name):
        return ""
    return f"{name}=" if equals and holds_address(value) else parameter


def holds_address(text: str) -> bool:
    """Whether there is an e-mail address in ``text``, as it stands or once it is decoded."""
    for _ in range(_MAX_DEPTH):
        if _address(text.translate(_wide)):
            return True
        decoded = decoded_once(text)
        if decoded == text:
            return False
        text = decoded
    return True


def decoded_once(text: str) -> str:
    """``text`` with one layer of percent, HTML and JavaScript escapes taken off."""
    if "%" not in text and "&" not in text and "\\" not in text:
        return text
    return html.unescape(unquote(_percent_u(lambda match: chr(int(match[1] or match[2], 16)), text)))
