"""The client and how requests are read, by the project's settings."""

from __future__ import annotations

import threading
from typing import Any, Final

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from capi_async.context import ContextSettings
from capi_async.errors import ConfigError
from capi_async.integrations.tracker import request_settings
from capi_async.integrations.wsgi import OnePerProcess
from capi_async.sync import SyncClient

_lock: Final = threading.Lock()
_made: dict[str, Any] = {}


def client() -> SyncClient:
    """The client of this process, for code outside of requests.

    Raises:
        ConfigError: ``CAPI_CLIENT`` is malformed, or the environment describes no account.
    """
    one = _made.get("client")
    if one is None:
        with _lock:
            one = _made.get("client")
            if one is None:
                one = _made["client"] = OnePerProcess(_named("CAPI_CLIENT", SyncClient.from_env))
    found: SyncClient = one()
    return found


def how_to_read() -> ContextSettings:
    """How requests are read.

    Raises:
        ConfigError: ``CAPI_CONTEXT`` or ``CAPI_TRUSTED_PROXIES`` is malformed.
    """
    found = _made.get("context")
    if found is None:
        whole = _named("CAPI_CONTEXT", None)
        if whole is not None and not isinstance(whole, ContextSettings):
            raise ConfigError(f"CAPI_CONTEXT: needs a ContextSettings, not {type(whole).__name__}")
        found = _made["context"] = request_settings(whole, getattr(settings, "CAPI_TRUSTED_PROXIES", 0))
    known: ContextSettings = found
    return known


def _named(setting: str, default: Any) -> Any:
    value = getattr(settings, setting, None)
    if value is None:
        return default
    if not isinstance(value, str):
        return value
    try:
        return import_string(value)
    except ImportError as error:
        raise ConfigError(f"{setting}: {error}") from None


def _forget(*, setting: str, **_news: Any) -> None:
    """A test overrides settings: what was made by the old ones is not used any more."""
    if setting in ("CAPI_CLIENT", "CAPI_CONTEXT", "CAPI_TRUSTED_PROXIES"):
        _made.clear()


setting_changed.connect(_forget, dispatch_uid="capi_async")
