"""What several platforms say alike when an event is not for them: one wording, so that outcomes can be compared."""

from __future__ import annotations

from typing import Final

from capi_async.spec import Refusal

NO_PAGE: Final = Refusal("rejected", "page.url", "website events need the page's address", "set page=Page(url=...)")
BAD_PAGE: Final = Refusal(
    "rejected", "page.url", "the page's address must start with http:// or https:// and name a host", "set it whole"
)
NO_APP_ID: Final = Refusal("rejected", "app.id", "app events need the app's store id or package", "set app=App(id=...)")
NO_SYSTEM: Final = Refusal(
    "rejected", "device.os", "app events need the device's system", "set device=Device(os='ios' or 'android')"
)
NO_VALUE: Final = Refusal("rejected", "value", "a purchase needs value and currency", "set value")
NO_CURRENCY: Final = Refusal("rejected", "currency", "a purchase needs value and currency", "set currency")
NO_TEST_CODE: Final = Refusal(
    "skipped",
    "test",
    "test events need a code from the platform's event manager",
    "set test_event_code on the destination",
)


def no_such_event(fix: str = "", reason: str = "no such event here") -> Refusal:
    """The platform has no event of this name, or the caller switched it off in ``event_names``."""
    return Refusal("skipped", "name", reason, fix)


def no_test_mode(platform: str) -> Refusal:
    """The platform can only count events."""
    return Refusal("skipped", "test", f"{platform} has no test mode", "")


def no_asset(setting: str, kind: str) -> Refusal:
    """The account has no place for events of this source."""
    return Refusal("skipped", "source", f"{kind} events need {setting}", f"set {setting} on the destination")


def nobody(*fields: str, reason: str = "nobody to identify", field: str = "user") -> Refusal:
    """Nothing in the event says whose it is.

    Args:
        fields: Any one of these would do; the last is joined with "or".
    """
    *others, last = fields
    return Refusal("skipped", field, reason, f"set {', '.join(others)}{' or ' if others else ''}{last}")
