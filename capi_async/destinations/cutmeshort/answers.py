"""How CutMeShort's answers are read. Source: PyPI ``cutmeshort`` 1.0.1 and docs.cutmeshort.com, read 2026-11.

Three bodies for success are documented and the vendor's own SDK stumbles over two of them, so the status line is
trusted here: repeating an accepted lead or sale costs more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from capi_async.destinations.cutmeshort.wire import HEADS
from capi_async.outcome import (
    ACCEPTED,
    UNREADABLE,
    Response,
    Verdict,
    by_edge,
    is_page,
    redact,
    rejected,
    retry,
    retry_after_s,
    unauthorized,
)


def read(response: Response) -> Verdict:
    """The verdict on the one event of the request; its head says whether it was a lead or a sale."""
    status = response.status
    body = _json_object(response.body)
    said = _first_text(body, "error", "message") or f"HTTP {status}"
    code = _first_text(body, "type", "statusCode", "status_code")
    if 200 <= status < 300:
        if body.get("success") is False or body.get("status") is False:
            return rejected(said, code=code)
        # looser than elsewhere on purpose: the vendor's pages show three different bodies for success
        return ACCEPTED if body else Verdict(kind="accepted", reason=f"{said} without a readable body")
    if status == 429:
        return retry(said, after_s=retry_after_s(response.headers), throttled=True, code=code)
    if status == 408 or status >= 500:
        return retry(said, after_s=retry_after_s(response.headers), code=code)
    if (edge := by_edge(response)) is not None:
        return edge
    if status in (401, 403):
        return unauthorized(said, code=code, fix="check token; it must belong to this account")
    if status == 404 and is_page(response.body):
        return retry(f"HTTP {status} with a page instead of an answer", after_s=retry_after_s(response.headers))
    if status == 404:
        return rejected(said, code=code, fix="check the click id; if every call says so, base_url", suspect=True)
    if status < 400:
        return rejected(f"HTTP {status}: redirects are never followed", fix="check base_url", suspect=True)
    if status == 409 and response.head == HEADS["sale"]:
        # the same invoice again: the first copy counted. That 409 says so is UNVERIFIED; of leads it is a refusal
        return Verdict(kind="accepted", reason=redact(said), code=code)
    fix = "check the fields; the vendor may refuse events older than 24 hours" if status in (400, 422) else ""
    return rejected(said, code=code, fix=fix)


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _first_text(body: Mapping[str, Any], *keys: str) -> str:
    for key in keys:
        value = body.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""
