"""What is known of a visitor, by one request: the fields of its context."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.context.response import Cookie
from capi_async.event import NO_CLICK, NO_PAGE, NO_USER, ClickIds, Consent, Page, User

_EMPTY: Final[Mapping[str, Any]] = {}


class Facts(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of a request context; see there."""

    user: User = NO_USER
    page: Page = NO_PAGE
    language: str | None = None
    click: ClickIds = NO_CLICK
    others: Mapping[str, str] = _EMPTY
    first_seen: Mapping[str, datetime] = _EMPTY
    consent: Consent | None = None
    at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    notes: tuple[str, ...] = ()
    to_set: tuple[Cookie, ...] = ()
