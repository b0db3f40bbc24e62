"""What the platform itself says: of the account, and of an event in its test mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from capi_async.doctor.findings import Finding
from capi_async.errors import CapiError, TransportError
from capi_async.outcome import Outcome, Response, is_page
from capi_async.redaction import Hidden, forms_of, plain, redact
from capi_async.spec import Destination, Request, Transport

_TIMEOUT_S: Final = 15.0
_ANSWER_CHARS: Final = 200

#: Sends one event in the platform's test mode by this transport, and gives its outcome.
SendTest: TypeAlias = Callable[[Destination, Transport], Awaitable[Outcome]]


async def account(destination: Destination, token: str, transport: Transport) -> Finding:
    """Ask something about the account that changes nothing, where the platform has such a thing."""
    request = destination.account_check(token)
    if request is None:
        return Finding(
            destination.name, "account", "note", "only an event tells whether the platform takes the credential",
            "run with --send-test",
        )  # fmt: skip
    try:
        answer = await transport.send(request, timeout_s=_TIMEOUT_S)
    except TransportError as error:
        return Finding(destination.name, "account", "failure", error.said, "see above")
    if answer.status < 500 and is_page(answer.body):
        return Finding(
            destination.name, "account", "failure", f"answered with {answer.status} and a page instead of an answer",
            "what answers is not the platform: look at base_url, proxies and firewalls on the way",
        )  # fmt: skip
    said = _said(answer, token)
    verdict = destination.classify(answer, 1)[0]
    if verdict.kind == "unauthorized" or answer.status in (401, 403, 404):
        fix = plain(verdict.fix) or "renew the credential, and check that it belongs to this account"
        return Finding(destination.name, "account", "failure", f"refused with {answer.status}: {said}", fix)
    if answer.status < 300 or (answer.status == 400 and request.method == "POST"):
        return Finding(destination.name, "account", "ok", "the platform knows the account and takes the credential")
    passing = answer.status in (408, 429) or answer.status >= 500
    fix = "try again in a minute" if passing else "check the account's id and base_url, and see the platform's words"
    return Finding(destination.name, "account", "warning", f"answered with {answer.status}: {said}", fix)


async def test_event(destination: Destination, token: str, transport: Transport, send: SendTest) -> Finding:
    """Send one event in the platform's test mode, and tell what the platform answered; it never counts."""
    name = destination.name
    if destination.tests_count:
        return Finding(
            name, "test event", "note", "not sent: this platform counts test events like real ones",
            f"send one of your own with test=True and look at {destination.test_events_at or 'the platform'}",
        )  # fmt: skip
    heard = _Hearing(transport)
    try:
        outcome = await send(destination, heard)
    except CapiError as error:
        return Finding(name, "test event", "failure", str(error), "mend the setting that is named")
    said = f"; the platform's answer: {_said(heard.last, token)}" if heard.last is not None else ""
    if outcome.kind == "delivered":
        seen = destination.test_events_at
        return Finding(name, "test event", "ok", f"taken{said}{f'; look at {seen}' if seen else ''}")
    reason = f"{f'{outcome.field}: ' if outcome.field else ''}{outcome.reason or 'no answer in time'}"
    if outcome.kind == "skipped":
        fix = outcome.fix or "look at a real event with: capi-async explain FILE"
        return Finding(name, "test event", "note", f"skipped: {reason}", fix)
    fix = outcome.fix or "see the platform's answer"
    what = reason if outcome.kind == "pending" else f"{outcome.kind}: {reason}"
    return Finding(name, "test event", "failure", f"{what}{said}", fix)


class _Hearing:
    """A transport that keeps the last answer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.last: Response | None = None

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """See :class:`~capi_async.spec.Transport`."""
        self.last = await self._transport.send(request, timeout_s=timeout_s)
        return self.last

    async def aclose(self) -> None:
        """The transport is its owner's."""


def _said(answer: Response, token: str) -> str:
    """The beginning of an answer, in one line, without the credential and whatever else it may echo."""
    text = answer.body.decode("utf-8", "replace")
    return redact(text, Hidden(forms_of(token)), limit=_ANSWER_CHARS) or f"HTTP {answer.status}"
