"""The 16 texts about app and device that Snap and Meta take with app events, in their fixed order."""

from __future__ import annotations

from capi_async.event import Event
from capi_async.spec import Refusal, decimal_text


def extinfo(event: Event) -> tuple[str, ...] | Refusal:
    """The 16 texts about app and device that app events carry; unknown ones are empty."""
    app, device = event.app, event.device
    system = {"ios": "i2", "android": "a2"}.get(device.os or "") if device else None
    if device is None or system is None:
        return Refusal(
            "rejected", "device.os", "app events need the device's system", "set device=Device(os='ios' or 'android')"
        )
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
        decimal_text(device.screen_density) or "",
        _text(device.cpu_cores),
        _text(device.storage_gb),
        _text(device.storage_free_gb),
        device.timezone or "",
    )


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
