"""What people write around a number so that a spreadsheet leaves it alone, and what stays of it in an export."""

from __future__ import annotations

import re
from typing import Final

#: ``="02116"``: a formula whose result is the text.
_formula: Final = re.compile(r"=?\s*\"([^\"]*)\"").fullmatch


def without_formula(text: str) -> str:
    """The text of ``="02116"``, trimmed; any other text as it is."""
    match = _formula(text.strip()) if text.lstrip()[:1] == "=" else None
    return match[1].strip() if match else text


def without_marks(text: str) -> str:
    """Trimmed, without an apostrophe in front, quotes around it, or both as a formula."""
    text = text.strip()
    if text[-1:] == '"' and (match := _formula(text)):
        text = match[1].strip()
    return text.lstrip("'\u2019").strip()
