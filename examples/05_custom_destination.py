"""A destination of your own: Acme, an internal webhook that takes batches of events.

Run it with ``python examples/05_custom_destination.py``.

A destination only declares: fields are the account, class attributes the platform's facts, three pure methods the
mapping. Queues, batches, rate limits, retries and the ledger come with the client. To use one from ``capi.toml``,
register it under the entry-point group ``capi_async.destinations``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from aiohttp import web
from msgspec import Struct

from capi_async import Client, Event, User
from capi_async.outcome import ACCEPTED, UNREADABLE, Response, Verdict, ambiguous, by_status, rejected
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    HOUR,
    Credential,
    Destination,
    Limits,
    MiB,
    Refusal,
    Request,
    Secret,
    Wire,
    as_secret,
    decode_head,
    encode_head,
    epoch_seconds,
    json_slices,
    require_text,
)


class AcmeEvent(Struct, omit_defaults=True):
    """One event on the wire."""

    kind: str
    id: str
    at: int
    customer: str
    total: Decimal | None = None
    currency: str | None = None


class AcmeHead(Struct, frozen=True):
    """What stands beside the events in a request: only events with equal heads share one."""

    dry_run: bool


class Refused(Struct):
    index: int
    why: str


class Answer(Struct):
    refused: list[Refused]


class Acme(Destination, frozen=True, kw_only=True):
    """Acme's webhook, version 1."""

    type: ClassVar[str] = "acme"
    wire: ClassVar[str] = "acme/1"  # of stored records: raise it when AcmeEvent changes
    default_base_url: ClassVar[str] = "https://hooks.acme.example"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=100, max_batch_bytes=MiB, requests_per_s=20.0, burst=5.0, max_age_s=30 * DAY
    )
    # asked for by name, computed once for all destinations that ask
    identifiers: ClassVar[tuple[str, ...]] = ("email",)
    standard_names: ClassVar[Mapping[str, str | None]] = {"purchase": "order", "lead": "inquiry", "page_view": None}
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {"workspace": ("ACME_WORKSPACE",), "token": ("ACME_TOKEN",)}
    docs: ClassVar[str] = "https://hooks.acme.example/docs, read 2026-11"

    workspace: str
    token: Credential

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text(self, workspace=self.workspace)
        as_secret(self, "token")

    def secret(self) -> Secret:
        assert isinstance(self.token, Secret)  # noqa: S101  # __post_init__ wrapped it; this tells the type checker
        return self.token

    def account(self) -> str:
        return self.workspace

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        """Runs once per event, off the event loop. Expected gaps are refusals with a repair, never exceptions."""
        name = self.name_of(event)
        if name is None:
            return Refusal("skipped", "name", "Acme has no such event", "map it in event_names")
        if not ids.email:
            return Refusal("rejected", "user.email", "Acme knows customers by e-mail only", "set user.email")
        body = AcmeEvent(
            kind=name,
            id=event.event_id,
            at=epoch_seconds(event.time),
            customer=ids.email[0],
            total=event.value,  # type: ignore[arg-type]  # a made event holds a Decimal
            currency=event.currency,
        )
        return Wire(
            body,
            encode_head(AcmeHead(dry_run=event.test or self.test)),
            expires_at=event.time.timestamp() + self.limits.max_age_s,
            resend_for_s=24 * HOUR,  # Acme drops a repeated id for a day; 0 if a repeat would count twice
        )

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        mode = "check" if decode_head(head, AcmeHead).dry_run else "events"
        return Request(
            "POST",
            f"{self.base_url}/v1/{self.workspace}/{mode}",
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
        whys = {one.index: one.why for one in answer.refused}
        return [rejected(whys[index]) if index in whys else ACCEPTED for index in range(count)]


_answer = msgspec.json.Decoder(Answer)


async def receive(request: web.Request) -> web.Response:
    """Acme's side: refuses orders without a total, one by one."""
    if request.headers.get("Authorization") != "Bearer acme-token":
        return web.json_response({"error": "who are you?"}, status=401)
    events: list[dict[str, Any]] = (await request.json())["events"]
    print(f"Acme received {len(events)} events in one request")
    refused = [{"index": at, "why": "no total"} for at, event in enumerate(events) if "total" not in event]
    return web.json_response({"refused": refused})


@asynccontextmanager
async def acme_server() -> AsyncIterator[str]:
    """Acme on a free local port; gives its address."""
    application = web.Application()
    application.router.add_post("/v1/{workspace}/events", receive)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def main() -> None:
    async with acme_server() as url, Client([Acme(workspace="shop", token="acme-token", base_url=url)]) as client:
        receipts = await client.send_many(
            [
                Event("purchase", user=User(email="ada@shop.example"), value="72.39", currency="EUR", order_id="1"),
                Event("purchase", user=User(email="björn@shop.example"), order_id="2"),
                Event("purchase", user=User(phone="+447700900123"), value="5", currency="EUR", order_id="3"),
                Event("page_view", user=User(email="ada@shop.example"), event_id="view"),
            ]
        )
        for receipt in receipts:
            outcome = (await receipt.outcomes(timeout_s=10))["acme"]
            print(f"{receipt.event_id:11} {outcome.kind} {outcome.reason}".rstrip())


if __name__ == "__main__":
    asyncio.run(main())
