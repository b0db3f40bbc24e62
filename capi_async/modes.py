"""Whether a client sends to the platforms, to a sandbox, or to nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from capi_async.errors import ConfigError
from capi_async.plain import shown

Mode: TypeAlias = Literal["live", "sandbox", "off"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

MODE_VARIABLE: Final = "CAPI_ASYNC_MODE"
SANDBOX_VARIABLE: Final = "CAPI_ASYNC_SANDBOX_URL"


def environment_options(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The client's options ``mode`` and ``sandbox_url``, as far as the environment sets them.

    Raises:
        ConfigError: ``CAPI_ASYNC_MODE`` holds something else than a mode: a typo must not send to the platforms.
    """
    environment = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    if mode := environment.get(MODE_VARIABLE, "").strip().lower():
        if mode not in MODES:
            raise ConfigError(f"{MODE_VARIABLE} is one of {', '.join(MODES)}, not {shown(mode)!r}")
        found["mode"] = mode
    if url := environment.get(SANDBOX_VARIABLE, "").strip():
        found["sandbox_url"] = url
    return found
