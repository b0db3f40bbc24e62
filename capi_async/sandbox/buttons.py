"""What the forms of the sandbox's page ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from capi_async.sandbox.admin import Steered
from capi_async.sandbox.faults import EVERY, Fault
from capi_async.sandbox.page import CLEAR, FAULT_OFF, FAULT_ON, FAULTS_OFF

#: What may be asked for so.
ACTIONS = frozenset({CLEAR, FAULT_ON, FAULT_OFF, FAULTS_OFF})
_MAX_FIELDS = 20


def press(sandbox: Steered, action: str, body: bytes) -> None:
    """Do what a form asks for.

    Raises:
        ValueError: The form says something that is not possible; the text says what.
    """
    try:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise ValueError("the form has too many fields") from None
    if action == CLEAR:
        sandbox.clear()
    elif action == FAULTS_OFF:
        sandbox.clear_faults()
    elif action == FAULT_OFF:
        sandbox.remove_fault(_number(form, "number", int))
    else:
        sandbox.add_fault(_fault(form))


def _fault(form: Mapping[str, str]) -> Fault:
    given: dict[str, Any] = {
        "kind": form.get("kind", ""),
        "platform": form.get("platform", EVERY),
        "rate": _number(form, "percent", float, 100.0) / 100,
    }
    if given["kind"] == "status":
        given["status"] = _number(form, "status", int, 503)
    if given["kind"] == "latency":
        given["latency_s"] = _number(form, "latency_s", float, 1.0)
    if form.get("count"):
        given["count"] = _number(form, "count", int)
    return msgspec.convert(given, Fault)


def _number(form: Mapping[str, str], name: str, kind: Any, default: Any = None) -> Any:
    said = form.get(name, "")
    if not said and default is not None:
        return default
    try:
        return kind(said)
    except ValueError:
        raise ValueError(f"{name} must be a number") from None
