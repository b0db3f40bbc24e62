"""Words from outside made fit to be kept, logged and shown: bounded, on one line, without what they may echo."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote

#: Characters of a reason that are kept.
MAX_WORDS: Final = 300
#: Characters of an id that are kept; no platform's is longer.
MAX_ID: Final = 64
#: Characters of a text that are looked at. Far more than is kept, because what is cut through may not be recognised.
_LOOKED_AT: Final = 4_096
#: Times that a text is decoded: an address inside an address inside an address is seen, nobody goes further.
_DECODINGS: Final = 8
#: A shorter credential than this is not looked for: it would be found in every answer.
MIN_TOKEN: Final = 6
#: Ends a text of which more was said.
_CUT: Final = "…"
#: Characters by which values are found; there are no shorter ones.
_START: Final = 3
#: A value of fewer characters is only replaced as a word of its own.
_WHOLE_WORD: Final = 6

#: What stands between two marks of punctuation; an e-mail address if there is an @ inside. Matched without going back,
#: so that a long text costs no more than its length.
_PIECE: Final = re.compile(r"[^\s\"'<>(),;:]+")
_LONG: Final = re.compile(r"[A-Za-z0-9_\-+/=.~]{24,}")
#: How platforms write reasons and the paths of fields, such as ``DUPLICATE_TRANSACTION_ID`` and
#: ``user_data.user_identifiers``: words of one case with underscores, and no digit, which credentials have.
_CONSTANT: Final = re.compile(
    r"(?=[A-Z_]*_)[A-Z]{1,20}(?:_[A-Z]{1,20}){1,12}|(?=[a-z_.]*_)[a-z]{1,20}(?:[_.][a-z]{1,20}){1,12}"
)
_IPV6: Final = re.compile(
    r"(?<![\w:])(?:"
    r"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"
    r"|(?:(?:[0-9A-Fa-f]{1,4}:){1,7}|:):(?:[0-9A-Fa-f]{1,4}:){0,7}(?:[0-9A-Fa-f]{1,4})?"
    r"|(?:[0-9A-Fa-f]{1,4}:){6}"
    r")(?:\d{1,3}(?:\.\d{1,3}){3})?(?:%\w+)?(?![\w:]|\.\d)"
)
_IPV4: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]*\d)")
#: Phone numbers as people and programs write them, with whatever stands between the digits.
_NUMBER: Final = re.compile(r"\+?\d[\d\s()./_~*•·–—‐‑‒―−-]{5,}\d")
_LEAST_DIGITS: Final = 7
_LEAST_LENGTH: Final = 8

_ESCAPED: Final = re.compile(r"\\u\{?([0-9A-Fa-f]{2,6})\}?|\\x([0-9A-Fa-f]{2})|%u([0-9A-Fa-f]{4})")
#: What no token and no address runs across.
_BETWEEN: Final = frozenset(" \"'<>(){}[],")
_IN_NUMBERS: Final = "0123456789 ()./_~+-"
#: What colours a terminal or clears it.
_ANSI: Final = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]")
_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:/+=-]{0,63}")


def plain(text: str) -> str:
    """One line of what can be printed: control characters and line ends become spaces, invisible ones are left out."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _instead(char) for char in _ANSI.sub("", text)])


def _instead(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cf":  # zero width and direction marks, which would part what is looked for
        return ""
    return "\N{REPLACEMENT CHARACTER}" if category in ("Cs", "Co", "Cn") else " "


class Hidden:
    """Values to be replaced wherever a text holds them, however many: the token that was sent, the events' own.

    They are found in whatever case, and however their words are parted. Values under three characters are left alone:
    every other word would hold them.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._by_start: dict[str, list[tuple[str, str]]] = {}
        for value in values:
            folded = " ".join(value.split()).casefold()
            if len(folded) >= _START:
                self._by_start.setdefault(folded[:_START], []).append((folded, value))

    def within(self, text: str) -> set[str]:
        """The values that may stand in a text: those of which the first word does."""
        folded = text.casefold()
        return {value for at, words, value in self._candidates(folded) if folded.startswith(words.split(" ", 1)[0], at)}

    def torn(self, text: str) -> int:
        """How many characters at the end of a text are the beginning of a value."""
        folded = text.casefold()
        starts = [at for at, words, _ in self._candidates(folded) if words.startswith(folded[at:])]
        return len(folded) - min(starts, default=len(folded))

    def _candidates(self, folded: str) -> Iterator[tuple[int, str, str]]:
        if self._by_start:
            for at in range(len(folded) - _START + 1):
                for words, value in self._by_start.get(folded[at : at + _START], ()):
                    yield at, words, value


NOTHING: Final = Hidden()


def forms_of(token: str) -> tuple[str, ...]:
    """The credential as an answer may repeat it: as it is, and encoded for an address, JSON or a page."""
    if len(token) < MIN_TOKEN:
        return ()
    escaped = json.dumps(token)[1:-1]
    encoded = quote(token, safe="")
    forms = (token, encoded, encoded.lower(), escaped, escaped.replace("/", "\\/"), html.escape(token))
    return tuple(dict.fromkeys(forms))


def redact(text: str, hidden: Hidden = NOTHING, *, limit: int = MAX_WORDS) -> str:
    """A platform's words without what they may echo: tokens, digests, ids, addresses, phone numbers.

    Encoded ones (per cent, HTML, escapes of JSON, full width) are found too; then the decoded text is what is kept.

    Args:
        hidden: Values to be replaced besides.
        limit: Characters that are kept.
    """
    if not text:
        return ""
    whole = len(text) <= _LOOKED_AT
    text = plain(text if whole else text[:_LOOKED_AT])
    if not whole:
        text = _untorn(text)
    # somebody before us may have cut it
    cut = not whole or text.endswith(_CUT)
    text = text.removesuffix(_CUT)
    found = _marked(text, hidden)
    decoded = _decoded(text)
    if decoded != text and (other := _marked(decoded, hidden)) != decoded:
        found = other
    if cut and (torn := hidden.torn(found)):
        found = found[:-torn]
    found = found.strip()
    if len(found) + cut > limit:
        return found[: limit - 1] + _CUT
    return found + _CUT if cut else found


def redact_id(text: str) -> str:
    """An id as platforms make them for a request, or nothing: a header or a body can echo anything."""
    if not _ID.fullmatch(text) or _IPV4.search(text) or _IPV6.search(text):
        return ""
    return text


def _marked(text: str, hidden: Hidden) -> str:
    """The text with a mark in the place of each find."""
    text = _without(text, hidden)
    if "@" in text:
        text = _PIECE.sub(_email, text)
    text = _LONG.sub(_long, text)
    return _NUMBER.sub(_number, _IPV4.sub("<ip>", _IPV6.sub(_ip, text)))


def _long(found: re.Match[str]) -> str:
    return found[0] if _CONSTANT.fullmatch(found[0]) else "<redacted>"


def _email(found: re.Match[str]) -> str:
    return "<email>" if "@" in found[0][1:-1] else found[0]


def _number(found: re.Match[str]) -> str:
    said = found[0]
    enough = len(said) >= _LEAST_LENGTH or sum(map(str.isdigit, said)) >= _LEAST_DIGITS
    return "<number>" if enough else said


def _ip(found: re.Match[str]) -> str:
    # two colons alone are punctuation, or C++
    return "<ip>" if any(char.isalnum() for char in found[0]) else found[0]


def _without(text: str, hidden: Hidden) -> str:
    for value in sorted(hidden.within(text), key=len, reverse=True):
        words = r"[\s+_]+".join(map(re.escape, value.split()))
        pattern = rf"(?<![\w<]){words}(?!\w)" if len(value) < _WHOLE_WORD else rf"(?<!<){words}"
        text = re.sub(pattern, "<value>", text, flags=re.IGNORECASE)
    return text


def _untorn(text: str) -> str:
    """A text that was cut through, without what may be half a token, half an address or half a number at its end."""
    at = len(text)
    while at and text[at - 1] not in _BETWEEN:
        at -= 1
    return text[:at].rstrip(_IN_NUMBERS)


def _decoded(text: str) -> str:
    """The text as somebody reads it who undoes every encoding that an echo may have gone through."""
    for _ in range(_DECODINGS):
        before = text
        if "%" in text or "\\" in text:
            text = unquote(_ESCAPED.sub(_escaped, text), errors="replace")
        if "&" in text:
            text = html.unescape(text)
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text)
        text = plain(text)
        if text == before:
            break
    return text


def _escaped(found: re.Match[str]) -> str:
    code = int(found[1] or found[2] or found[3], 16)
    # half of a surrogate pair is no text, and means nothing that is looked for
    return "\N{REPLACEMENT CHARACTER}" if code > 0x10FFFF or 0xD800 <= code < 0xE000 else chr(code)
