"""Page addresses without e-mail addresses: platforms store URLs, and forms put addresses into queries."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

# "@", or its percent-encoding at any depth: "%40", "%2540" inside an address that was passed on, and so on.
_marker: Final = re.compile(r"@|%(?:25)*40").search
_separators: Final = re.compile(r"([?#&;])")
# Wide on purpose: what merely looks like an address goes as well. A top-level domain has letters, so
# that "@37.77,-122.41" in a map link stays.
_address: Final = re.compile(r"[^\s@/?&=#,;:<>\"()]@(?:[\w-]+\.)+[^\W\d_]{2,}").search
_MAX_DEPTH: Final = 4


def scrub_url(url: str) -> str:
    """``url`` without the e-mail addresses in its query and fragment; never raises.

    A parameter whose value holds an address (raw or percent-encoded, also inside a nested URL) keeps its
    name and loses its value; a bare value that holds one becomes nothing. Everything else, all click ids
    included, stays byte for byte.
    """
    if "@" not in url and "40" not in url:
        return url
    if not _marker(url):
        return url
    parts = _separators.split(url)
    # parts alternate text and separator; the first text is scheme, host and path
    for index in range(2, len(parts), 2):
        part = parts[index]
        if _marker(part):
            parts[index] = _scrubbed(part)
    return "".join(parts)


def _scrubbed(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if _holds_address(name):
        return ""
    return f"{name}=" if equals and _holds_address(value) else parameter


def _holds_address(text: str) -> bool:
    for _ in range(_MAX_DEPTH):
        if _address(text):
            return True
        decoded = unquote(text)
        if decoded == text:
            return False
        text = decoded
    return _address(text) is not None
