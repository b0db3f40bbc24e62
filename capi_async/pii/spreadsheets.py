"""What people write around a number so that a spreadsheet leaves it alone, and what stays of it in an export."""

from __future__ import annotations

import re
from typing import Final

#: ``="02116"``: a formula whose result is the text.
_formula: Final = re.compile(r"=?\s*\"([^\"]*)\"").fullmatch


def without_marks(text: str) -> str:
    """Trimmed, without an apostrophe in front, quotes around it, or both as a formula."""
    text = text.strip()
    if text[-1:] == '"' and (match := _formula(text)):
        text = match[1].strip()
    return text.lstrip("'\u2019").strip()
