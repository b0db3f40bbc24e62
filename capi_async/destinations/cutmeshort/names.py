"""CutMeShort's event names, and which of its two calls carries each. Source: docs.cutmeshort.com, read 2026-11."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from capi_async.destinations.cutmeshort.wire import Call

#: Names in the vendor's examples; only those of our own standard events that are leads or sales are sent unasked.
VENDOR_NAMES: Final[Mapping[str, Call]] = {
    "signup_started": "lead",
    "onboarding_started": "lead",
    "lead_captured": "lead",
    "demo_booked": "lead",
    "info_requested": "lead",
    "email_verified": "lead",
    "kyc_completed": "lead",
    "purchase_completed": "sale",
    "checkout_completed": "sale",
    "subscription_created": "sale",
    "payment_captured": "sale",
    "order_paid": "sale",
}

STANDARD: Final[Mapping[str, tuple[Call, str]]] = {
    "purchase": ("sale", "purchase_completed"),
    "lead": ("lead", "lead_captured"),
    # our name: the vendor's example speaks of a sign-up that was started
    "sign_up": ("lead", "signup_completed"),
    "subscribe": ("sale", "subscription_created"),
    "start_trial": ("sale", "subscription_created"),
    "contact": ("lead", "info_requested"),
    "schedule": ("lead", "demo_booked"),
    "submit_application": ("lead", "submit_application"),
}
#: Sales only if they cost something and have a number.
MAYBE_SALES: Final = frozenset({"subscribe", "start_trial"})


def call_and_name(there: str) -> tuple[Call | None, str]:
    """``lead:NAME`` and ``sale:NAME`` taken apart; a name of the vendor's tells its call itself."""
    if there.startswith("lead:"):
        return "lead", there[5:]
    if there.startswith("sale:"):
        return "sale", there[5:]
    return VENDOR_NAMES.get(there), there
