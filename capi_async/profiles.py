"""Where a client runs: in a process that goes on, or in one that is frozen whenever its handler has returned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

Profile: TypeAlias = Literal["server", "serverless"]
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)

PROFILE_VARIABLE: Final = "CAPI_ASYNC_PROFILE"

#: Variables by which platforms say that they freeze a process between two calls of its handler, and their names.
#: Cloud Run is not among them: what tells it apart is a setting of the service that the process does not see.
_HOSTS: Final = {
    "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
    "FUNCTION_TARGET": "Google Cloud Functions",
    "FUNCTIONS_WORKER_RUNTIME": "Azure Functions",
    "VERCEL": "Vercel",
}


def freezing_host(environ: Mapping[str, str] | None = None) -> str:
    """The platform that freezes this process between two calls, as far as the environment tells; else empty."""
    environment = os.environ if environ is None else environ
    return next((name for variable, name in _HOSTS.items() if environment.get(variable)), "")
