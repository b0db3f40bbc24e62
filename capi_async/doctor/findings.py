"""What was found, as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

#: ``failure``: events are lost or not delivered as it is; ``warning``: they may be; ``note``: could not be told.
Level: TypeAlias = Literal["ok", "note", "warning", "failure"]


class Finding(Struct, frozen=True):
    """One thing that was looked at. It never holds a credential or anybody's data.

    Attributes:
        subject: A destination's name, ``python``, ``packages``, ``configuration`` or ``spool``.
        check: What was looked at, in a word or two.
        text: What was found.
        fix: What to do; empty only where all is well.
    """

    subject: str
    check: str
    level: Level
    text: str
    fix: str = ""


class Report(Struct, frozen=True):
    """All findings, in the order in which they were looked at."""

    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is a failure."""
        return all(one.level != "failure" for one in self.findings)
