"""What Snap and Meta take with app events alike: 16 texts in their fixed order, and the tracking answer."""

from __future__ import annotations

from typing import Final

from capi_async.destinations import refusals
from capi_async.destinations.cart import amount_text
from capi_async.event import Event
from capi_async.spec import Refusal

_IOS: Final = "i2"


def extinfo(event: Event) -> tuple[str, ...] | Refusal:
    """The 16 texts about app and device that app events carry; unknown ones are empty."""
    app, device = event.app, event.device
    system = {"ios": _IOS, "android": "a2"}.get(device.os or "") if device else None
    if device is None or system is None:
        return refusals.NO_SYSTEM
    return (
        system,
        (app and (app.package or app.id)) or "",
        (app and app.version) or "",
        (app and app.version_long) or "",
        device.os_version or "",
        device.model or "",
        (device.locale or "").replace("-", "_"),
        device.timezone_abbr or "",
        device.carrier or "",
        _text(device.screen_width),
        _text(device.screen_height),
        "" if device.screen_density is None else amount_text(device.screen_density),
        _text(device.cpu_cores),
        _text(device.storage_gb),
        _text(device.storage_free_gb),
        device.timezone or "",
    )


def is_ios(facts: tuple[str, ...]) -> bool:
    """Whether :func:`extinfo`'s texts are of an iOS device."""
    return facts[0] == _IOS


def may_track(event: Event) -> bool | None:
    """Whether the person lets themselves be tracked across apps; ``None`` if that was asked and the answer is unknown.

    The prompt exists on iOS only. Elsewhere, or where it does not apply, tracking is allowed unless the app's own
    setting or an answer says otherwise.
    Source: Meta, Conversions API for app events, read 2026-09; Snap, Using the API (its Android sample), read 2026-11.
    """
    app, device = event.app, event.device
    status = app.att_status if app else None
    if status in ("denied", "restricted"):
        return False
    if status == "authorized":
        return True
    if status == "not_applicable" or (device is not None and device.os == "android"):
        return app is None or app.application_tracking is not False
    return None if status is None else False


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
