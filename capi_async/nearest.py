"""What somebody probably meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], share: float = 0.6) -> str:
    """The end of an error message that names the most similar of ``known``; empty if none is similar.

    Args:
        share: Of equal characters, from which on a name is similar: 0 to 1.

    >>> nearest("pixl_id", ["access_token", "pixel_id"])
    '; is pixel_id meant?'
    """
    spelled = {_plain(one): one for one in known}
    # what is compared is bounded: a whole document in the place of a name costs nothing
    found = get_close_matches(_plain(name[:_MAX_CHARS]), spelled, 1, share)
    return f"; is {spelled[found[0]]} meant?" if found and spelled[found[0]] != name else ""


_MAX_CHARS = 64


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
