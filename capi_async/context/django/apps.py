"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class ContextConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Its tables and tags go by the name ``capi_context``."""

    name = "capi_async.context.django"
    label = "capi_context"
    verbose_name = "Conversion contexts"
