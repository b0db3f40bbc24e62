"""What a forwarder did, and what keeps it from doing more."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from capi_async.errors import CapiError
from capi_async.sources.tiktok_shop.errors import TikTokShopAuthError

logger = logging.getLogger(__name__)

#: What a trouble is about: finding a shop's orders, reading them, the seller's permission, or room at the client.
Area: TypeAlias = Literal["search", "detail", "authorization", "queue"]

#: What a trouble means, and what becomes of it; the reason stands between the two.
_WORDS: Final[Mapping[Area, tuple[str, str]]] = {
    "search": ("polling cannot find the orders", "it is tried again, and goes on where it was"),
    "detail": ("nobody can read the orders", "they wait, and are tried again for 7 days"),
    "authorization": ("nobody may read the orders", "let the seller authorize the app again"),
    "queue": ("the client cannot take the purchases", "they wait until it has room"),
}


_REQUEST: Final = re.compile(r",? ?request [0-9A-Za-z-]+")


class ForwarderCounts(Struct, frozen=True, kw_only=True):
    """What a forwarder did since it was entered.

    Attributes:
        webhooks: Taken in; ``copies``: known already; ``refused``: by reason.
        polled: Orders that polling found and that were not done; several polls may find the same.
        forwarded: Purchases handed to the client; ``repeats``: orders whose purchase had been handed over before.
        later, never: Orders that did not count when they were read, by reason.
        cancelled: Orders that were cancelled after their purchase had been forwarded.
        failed: Attempts that failed, by kind of error.
    """

    webhooks: int
    copies: int
    refused: Mapping[str, int]
    polled: int
    forwarded: int
    repeats: int
    later: Mapping[str, int]
    never: Mapping[str, int]
    cancelled: int
    failed: Mapping[str, int]


class Tally:
    """Counts, for all shops of a forwarder together."""

    def __init__(self) -> None:
        self.webhooks = self.copies = self.polled = self.forwarded = self.repeats = self.cancelled = 0
        self.refused: Counter[str] = Counter()
        self.later: Counter[str] = Counter()
        self.never: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def counts(self) -> ForwarderCounts:
        """All of them, as they are now."""
        return ForwarderCounts(
            webhooks=self.webhooks,
            copies=self.copies,
            refused=dict(self.refused),
            polled=self.polled,
            forwarded=self.forwarded,
            repeats=self.repeats,
            later=dict(self.later),
            never=dict(self.never),
            cancelled=self.cancelled,
            failed=dict(self.failed),
        )


def _without_id(text: str) -> str:
    return _REQUEST.sub("", text)


class Troubles:
    """Why a shop's orders do not come through at the moment; each reason is logged once, not at every attempt."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Area, str]] = {}

    def note(self, shop_id: str, area: Area, reason: CapiError | str) -> None:
        """Something does not work; told if it is news."""
        # texts of errors are ours, or were redacted when the error was made
        text = str(reason)
        known = self._known.setdefault(shop_id, {})
        # every answer has an id of its own
        if _without_id(known.get(area, "")) != _without_id(text):
            lost = area == "authorization" or isinstance(reason, TikTokShopAuthError)
            what, then = _WORDS[area]
            level = logging.ERROR if lost else logging.WARNING
            logger.log(
                level, "%s of shop %s: %s; %s", what, shop_id, text, then, extra={"shop": shop_id}
            )  # fmt: skip
        known[area] = text

    def end(self, shop_id: str, *areas: Area) -> None:
        """It works again."""
        known = self._known.get(shop_id, {})
        for area in areas:
            known.pop(area, None)

    def told(self) -> dict[str, str]:
        """Shop to what is wrong with it; shops that are well are not in it."""
        return {shop_id: "; ".join(dict.fromkeys(known.values())) for shop_id, known in self._known.items() if known}
