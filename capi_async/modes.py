"""Whether a client sends to the platforms, to a sandbox, or to nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from capi_async.errors import ConfigError
from capi_async.plain import shown
from capi_async.profiles import PROFILE_VARIABLE, PROFILES

Mode: TypeAlias = Literal["live", "sandbox", "off"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

MODE_VARIABLE: Final = "CAPI_ASYNC_MODE"
SANDBOX_VARIABLE: Final = "CAPI_ASYNC_SANDBOX_URL"
SUMMARY_VARIABLE: Final = "CAPI_ASYNC_SUMMARY_S"


def environment_options(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The client's options ``mode``, ``sandbox_url``, ``profile`` and ``summary_s``, as the environment sets them.

    Raises:
        ConfigError: ``CAPI_ASYNC_MODE`` or ``CAPI_ASYNC_PROFILE`` holds something else than it may: a typo must not
            send to the platforms, or lose what a frozen process holds. Or ``CAPI_ASYNC_SUMMARY_S`` is no number.
    """
    environment = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    if mode := environment.get(MODE_VARIABLE, "").strip().lower():
        if mode not in MODES:
            raise ConfigError(f"{MODE_VARIABLE} is one of {', '.join(MODES)}, not {shown(mode)!r}")
        found["mode"] = mode
    if profile := environment.get(PROFILE_VARIABLE, "").strip().lower():
        if profile not in PROFILES:
            raise ConfigError(f"{PROFILE_VARIABLE} is one of {', '.join(PROFILES)}, not {shown(profile)!r}")
        found["profile"] = profile
    if url := environment.get(SANDBOX_VARIABLE, "").strip():
        found["sandbox_url"] = url
    if seconds := environment.get(SUMMARY_VARIABLE, "").strip():
        try:
            found["summary_s"] = float(seconds)
        except ValueError:
            raise ConfigError(f"{SUMMARY_VARIABLE} is a number of seconds, not {shown(seconds)!r}") from None
    return found
