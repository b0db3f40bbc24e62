"""Text out of bytes: byte order marks, and encodings that are named instead of being read as something else."""

from __future__ import annotations

import codecs
from typing import Final

from capi_async.errors import ConfigError

BOM: Final = b"\xef\xbb\xbf"
# the longer marks first: that of UTF-32 begins with that of UTF-16
_MARKS: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def _marked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


#: Error handler of codecs: what cannot be decoded, in any encoding, becomes a lone surrogate, which no text holds.
UNDECODABLE: Final = "capi_async.undecodable"
codecs.register_error(UNDECODABLE, _marked)


def foreign_encoding(start: bytes) -> str:
    """The encoding that the first bytes of a file show, if it is one other than UTF-8; else an empty text."""
    start = start.removeprefix(BOM)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    # without a mark, every second byte of Western text is zero; no text in UTF-8 has zero bytes
    zeros = [byte == 0 for byte in start[:4]]
    return "UTF-16" if zeros in ([False, True] * 2, [True, False] * 2) else ""


def require_utf8(start: bytes, name: str, fix: str = "save it as UTF-8") -> None:
    """Refuse a file whose first bytes show another encoding.

    Raises:
        ConfigError: They do; the text names the encoding.
    """
    if found := foreign_encoding(start):
        raise ConfigError(f"{name}: is {found} text; {fix}")


def text_of(data: bytes, name: str) -> str:
    """The text of a whole file in UTF-8, with or without byte order marks.

    Raises:
        ConfigError: It is not UTF-8; the text says what it is, or at which byte it ends to be.
    """
    require_utf8(data[:8], name)
    while data.startswith(BOM):
        data = data.removeprefix(BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: is not UTF-8 text (at byte {error.start}); save it as UTF-8") from None
