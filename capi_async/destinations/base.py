"""What the destinations of several platforms share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capi_async.spec import Refusal


def lost_key(extra: Mapping[str, Any], key: str) -> Refusal | None:
    """A refusal if ``extra`` takes an event's de-duplication key away.

    Without it the platform would count a second copy, and whether a copy is sent is decided long after the event was
    accepted. Another key in its place is the caller's to choose.
    """
    if key not in extra:
        return None
    value = extra[key]
    if isinstance(value, str) and value.strip():
        return None
    return Refusal(
        "rejected",
        f"extra.{key}",
        "the platform knows a second copy by it, so it must be text and not blank",
        f"leave {key} out of Event.extra, or give it as text",
    )
