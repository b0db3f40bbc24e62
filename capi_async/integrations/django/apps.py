"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class CapiConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Brings the command ``capi_check``."""

    name = "capi_async.integrations.django"
    label = "capi_async"
    verbose_name = "Conversion events"
