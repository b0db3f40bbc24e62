"""An endpoint of one's own, such as a webhook is sent to: it checks the signature and answers for each event.

Source: this project's own description of a webhook; no platform is behind it. A body is a JSON array, JSON Lines
(``application/x-ndjson``) or one object. Requests are signed: ``X-Capi-Signature: t=SECONDS,v1=HEX``, the HMAC-SHA256
of ``SECONDS.BODY`` by the sandbox's token, at most five minutes old. The answer is ``{"results": [{"ok": true}]}`` with
an entry for each event, in their order; one that is refused has ``"ok": false`` and ``"error"``.

An object with ``name`` and ``event_id`` is checked as an event in the canonical form; any other is somebody's template,
and taken as it is. Whether an endpoint knows a second copy nobody can tell: here it counts twice.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from capi_async.sandbox.checks import DAY, MIB, MINUTE, Problem, Reader
from capi_async.sandbox.platforms.base import TOKEN, Batch, Call, Platform, Refused, Reply, Route, json_reply, route

_MAX_EVENTS = 100
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_CLEAR = re.compile(r"[^@\s]+@[^@\s]+|\+[0-9]{6,15}")
_decode_array = msgspec.json.Decoder(list[Raw]).decode


class Webhook(Platform[dict[str, Any]]):
    """``POST`` to the sandbox's prefix, or to anything below it."""

    name = "webhook"
    routes = (route("POST", r"(?:/.*)?", "events"),)
    max_bytes = MIB
    max_age_s: ClassVar[float] = 30 * DAY
    _reader: ClassVar[Reader[dict[str, Any]]] = Reader(dict[str, Any], overlook=False)

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        signed = _SIGNATURE.fullmatch(call.headers.get("X-Capi-Signature", ""))
        if signed is None:
            raise Refused(self.failure(401, "X-Capi-Signature is missing or malformed"), "not signed")
        mark = hmac.new(TOKEN.encode(), signed[1].encode() + b"." + call.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mark, signed[2]):
            raise Refused(self.failure(401, "X-Capi-Signature does not fit the body"), "bad signature")
        # by the clock of this machine, which signs as well, and not by the one that a test may drive by hand
        if abs(time.time() - int(signed[1])) > 5 * MINUTE:
            raise Refused(self.failure(401, "X-Capi-Signature is too old"), "old signature")
        return "webhook"

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        kind = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        try:
            events = _events(kind, call.body)
        except msgspec.DecodeError as error:
            raise Refused(self.failure(400, f"malformed body: {error}"), "malformed body") from None
        if not 1 <= len(events) <= _MAX_EVENTS:
            raise Refused(self.failure(413, f"1 to {_MAX_EVENTS} events"), "batch size")
        return Batch(at.name, "webhook", events, call.now, call.headers.get("X-Capi-Test", "") == "true")

    def reader(self, batch: Batch) -> Reader[dict[str, Any]]:
        return self._reader

    def check(self, event: dict[str, Any], batch: Batch) -> Problem | None:
        if not _is_canonical(event):
            return None
        for field in ("name", "event_id", "time", "source"):
            if not isinstance(event.get(field), str) or not event[field]:
                return Problem(f"{field}: needs text", "missing", field)
        try:
            at = datetime.fromisoformat(event["time"])
        except ValueError:
            return Problem("time: not ISO 8601", path="time")
        if at.tzinfo is None:
            return Problem("time: has no offset", path="time")
        if batch.now - at.timestamp() > self.max_age_s:
            return Problem("time: older than 30 days", path="time")
        value = event.get("value")
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            return Problem("value: no number", path="value")
        self._wonder(event)
        return None

    def _wonder(self, event: dict[str, Any]) -> None:
        """Count what is in clear, which is a setting of the sender's."""
        user = event.get("user")
        if not isinstance(user, dict):
            return
        for field, given in user.items():
            texts = given if isinstance(given, list) else [given]
            if any(isinstance(text, str) and _CLEAR.fullmatch(text) for text in texts):
                self.warn(f"user.{field} is not hashed")

    def key(self, event: dict[str, Any], batch: Batch) -> object | None:
        return None

    def refuses_all(self, batch: Batch, problems: Mapping[int, Problem]) -> bool:
        return False

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[dict[str, Any] | None]) -> Reply:
        results = [
            {"ok": False, "error": problem.reason} if (problem := problems.get(index)) else {"ok": True}
            for index in range(len(events))
        ]
        return json_reply(200, {"results": results})

    def failure(self, status: int, reason: str) -> Reply:
        return json_reply(status, {"error": reason})


def _events(kind: str, body: bytes) -> list[Raw]:
    if kind == "application/x-ndjson":
        return [msgspec.json.decode(line, type=Raw) for line in body.splitlines() if line.strip()]
    if kind != "application/json":
        raise msgspec.DecodeError("Content-Type is neither JSON nor JSON Lines")
    if body.lstrip()[:1] == b"[":
        return _decode_array(body)
    return [msgspec.json.decode(body, type=Raw)]


def _is_canonical(event: Mapping[str, Any]) -> bool:
    return "name" in event and "event_id" in event
