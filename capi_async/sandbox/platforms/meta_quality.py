"""Meta's Dataset Quality API: how well the website events of one name match.

Source: developers.facebook.com/docs/marketing-api/conversions-api/dataset-quality-api, read 2026-11. How the score is
computed is not published: the sandbox counts kinds of identifiers, and names two diagnostics of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

_KEYS: Final = ("em", "ph", "external_id", "fbc", "fbp", "client_ip_address", "client_user_agent", "fn", "ln", "zp")
#: What is missing, in words of the sandbox.
_WANTED: Final[Mapping[str, tuple[str, str]]] = {
    "fbc": ("NO_CLICK_ID", "send the cookie _fbc, or keep fbclid"),
    "em": ("NO_EMAIL", "send the e-mail address of those who gave it"),
}


class Quality(Struct):
    """Events of one name."""

    name: str
    events: int = 0
    keys: Counter[str] = field(default_factory=Counter)

    def count(self, user: Any) -> None:
        """One more event."""
        self.events += 1
        self.keys.update(key for key in _KEYS if getattr(user, key, None))

    def answer(self) -> Mapping[str, Any]:
        """Its entry in the answer."""
        score = round(self.keys.total() / self.events * 10 / len(_KEYS), 1)
        diagnostics = [
            {
                "name": name,
                "solution": solution,
                "affected_event_count": self.events - self.keys[key],
                "total_event_count": self.events,
            }
            for key, (name, solution) in _WANTED.items()
            if self.keys[key] < self.events
        ]
        quality = {"composite_score": score, "diagnostics": diagnostics}
        return {"event_name": self.name, "event_match_quality": quality}
