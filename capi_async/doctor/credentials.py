"""The form of a credential, which tells of most mistakes in copying it."""

from __future__ import annotations

import asyncio
from typing import Final

from capi_async.doctor.findings import Finding
from capi_async.errors import ConfigError
from capi_async.spec import Destination

_PLACEHOLDERS: Final = ("changeme", "xxx", "todo", "null", "none", "undefined", "secret", "token", "your")
_SHORT_CHARS: Final = 10
#: Seconds in which the callable has to give one.
_TIMEOUT_S: Final = 15.0
_QUOTES: Final = "\"'`"


async def credential(destination: Destination) -> tuple[Finding, str]:
    """What its form tells, and the credential itself; empty if there is none to try."""
    name = destination.name
    fix = "copy it once more from the platform's page, whole and without anything around it"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            token = await destination.secret().reveal()
    except ConfigError as error:
        return Finding(name, "credential", "failure", str(error), "mend what gives the credential"), ""
    except (
        Exception,
        asyncio.CancelledError,
    ) as error:  # the callable is the user's own code, and its words may hold anything
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the caller's wish, and not the callable's
        text = f"what gives the credential failed ({type(error).__name__})"
        return Finding(name, "credential", "failure", text, "mend it, or see whether the secret store is up"), ""
    if any(char.isspace() or not char.isprintable() for char in token):
        return Finding(name, "credential", "failure", "holds blanks, line ends or unprintable signs", fix), ""
    if token[0] in _QUOTES or token[-1] in _QUOTES:
        return Finding(name, "credential", "failure", "stands in quotes", "give it without them"), ""
    if token.isascii() is False:
        return Finding(name, "credential", "failure", "holds letters that no credential has", fix), ""
    if token.lower().startswith(_PLACEHOLDERS) and len(token) < 2 * _SHORT_CHARS:
        return Finding(name, "credential", "failure", "is a word that stands for one", fix), ""
    if len(token) < _SHORT_CHARS:
        return Finding(name, "credential", "warning", f"has {len(token)} characters only", fix), token
    return Finding(name, "credential", "ok", f"{len(token)} characters, of usual form"), token
