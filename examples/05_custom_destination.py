"""A destination of your own, complete in one file: Acme, an invented platform that takes batches of events.

Run it with ``python examples/05_custom_destination.py``. ``examples/plugin`` makes an installable package of this very
file, with the test that every destination has to pass.

A destination declares: fields are the account, class attributes the platform's facts, a few small pure methods the
mapping. Queues, batches, limits, retries and the ledger come with the client; the order of the checks, the account, the
credential and ``extra`` come with ``Platform``, whose module says more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from capi_async import Client, Event, Page, User
from capi_async.destinations import Row, refusals
from capi_async.destinations.platform import Platform
from capi_async.event import STANDARD_EVENTS
from capi_async.outcome import ACCEPTED, UNREADABLE, Response, Verdict, ambiguous, by_status, rejected
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import DAY, Credential, Limits, MiB, Refusal, Request, decode_head, encode_head, json_slices


class AcmeEvent(Struct, omit_defaults=True):
    """One event in Acme's format. Fields are as narrow as its documentation: ``extra`` is checked by them, too."""

    kind: str
    id: str
    at: int
    email: list[str] = []
    page: str | None = None
    total: Any = None
    currency: str | None = None


class AcmeHead(Struct, frozen=True):
    """What stands beside the events in a request: only events with equal heads share one."""

    workspace: str
    dry_run: bool


class AcmeAnswer(Struct):
    """Index of a refused event in the request, and why."""

    refused: list[tuple[int, str]]


_NAMES: Final = {"purchase": "order", "lead": "inquiry", "sign_up": "account", "page_view": "view"}


class Acme(Platform, frozen=True, kw_only=True):
    """Acme's events API, version 1."""

    type: ClassVar[str] = "acme"
    wire: ClassVar[str] = "acme/1"  # of stored records: raise it when AcmeEvent changes
    default_base_url: ClassVar[str] = "https://events.acme.example"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=100, max_batch_bytes=MiB, requests_per_s=20.0, max_age_s=30 * DAY
    )
    # asked for by name, computed once for all destinations that ask
    identifiers: ClassVar[tuple[str, ...]] = ("email", "page_url")
    standard_names: ClassVar[Mapping[str, str | None]] = {name: _NAMES.get(name) for name in STANDARD_EVENTS}
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {"workspace": ("ACME_WORKSPACE",), "token": ("ACME_TOKEN",)}
    docs: ClassVar[str] = "https://events.acme.example/docs, read 2026-11"
    account_setting: ClassVar[str] = "workspace"
    credential: ClassVar[str] = "token"
    dedup_key: ClassVar[str] = "id"
    resend_window_s: ClassVar[float] = 2 * DAY  # for so long Acme drops a repeated id

    workspace: str
    token: Credential

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        return encode_head(AcmeHead(self.workspace, test))

    def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> AcmeEvent:
        return AcmeEvent(
            name, event.event_id, int(at), list(ids.email or ()), ids.page_url, event.value, event.currency
        )

    def lacks(self, body: AcmeEvent, event: Event, warnings: list[str]) -> Refusal | None:
        if body.kind == "order" and body.total is None:
            return refusals.NO_VALUE
        return None if body.email else refusals.nobody("user.email")

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        common = decode_head(head, AcmeHead)
        return Request(
            "POST",
            f"{self.base_url}/v1/{common.workspace}/{'check' if common.dry_run else 'events'}",
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
            json_slices(b'{"events":[', bodies, b"]}"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        """One verdict per event, in the order of the request."""
        if response.status != 200:
            return by_status(response, count)  # 5xx is retried, 429 slows down, 401 pauses, other 4xx is split
        try:
            answer = _answer.decode(response.body)
        except UNREADABLE:
            return [ambiguous("unreadable answer")] * count
        whys = dict(answer.refused)
        return [rejected(whys[index]) if index in whys else ACCEPTED for index in range(count)]


_answer = msgspec.json.Decoder(AcmeAnswer)

#: What a package's entry point leads to; the account is of valid form, for trying things out.
ROW: Final = Row(type="acme", module=__name__, class_name="Acme", account={"workspace": "shop"})


async def receive(request: web.Request) -> web.Response:
    """Acme's side, played here: refuses what costs nothing, one by one."""
    events: list[dict[str, Any]] = (await request.json())["events"]
    print(f"Acme received {len(events)} events in one request")
    refused = [(at, "for nothing") for at, event in enumerate(events) if event.get("total") == 0]
    return web.json_response({"refused": refused})


async def main() -> None:
    application = web.Application()
    application.router.add_post("/v1/{workspace}/events", receive)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with Client([Acme(workspace="shop", token="acme-token", base_url=url)]) as client:
        common: dict[str, Any] = {
            "user": User(email="ada@shop.example"),
            "page": Page(url="https://shop.example/thanks"),
        }
        amounts: list[dict[str, Any]] = [{"value": "72.39", "currency": "EUR"}, {"value": 0, "currency": "EUR"}, {}]
        orders = [Event("purchase", order_id=str(at), **common, **more) for at, more in enumerate(amounts, 1)]
        for receipt in await client.send_many(orders):
            outcome = (await receipt.outcomes(timeout_s=10))["acme"]
            print(f"{receipt.event_id} {outcome.kind} {outcome.reason}".rstrip())
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
