"""A program under Sentry or OpenTelemetry with their defaults: prints everything that they would export.

Run as ``python -m tests.traced sentry`` or ``otel``: both patch aiohttp for the whole process.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import aiohttp

from capi_async import Client, Event, Page, User
from capi_async.destinations import Snap
from capi_async.errors import CapiError
from capi_async.sources.tiktok_shop import TikTokShop, TokenSet
from tests.engine.server import Got, Reply, reply, serving

TOKEN = "TRACEDTOKEN_0123456789abcdefghijklmnopqrstuv"
APP_SECRET = "TRACEDSECRETshopsecret0123456789"
REFRESH = "TRACEDREFRESHshop0123456789"
EMAIL = "ada.traced@mail.example"
OWN = "the-applications-own-request"


def answer(request: Got) -> Reply:
    """The second account is refused, which ends in an ERROR log and so in an event of Sentry's."""
    if "denied" in request.path:
        return reply(401, {"status": "INVALID", "reason": "no"})
    if "token/refresh" in request.path:
        # in words that end it at once: another try would wait for a second, and carry nothing else
        return reply(answer={"code": 36004004, "message": "no such refresh token"})
    return reply(answer={"status": "VALID"})


async def work() -> None:
    """What an application does, and a request of its own beside it."""
    async with serving() as server:
        server.script = answer
        event = Event("purchase", user=User(email=EMAIL), page=Page(url="https://s.example/"), value=5, currency="USD")
        for pixel in ("11111111-2222-3333-4444-555555555555", "denied"):
            snap = Snap(pixel_id=pixel, access_token=TOKEN, base_url=server.url)
            async with Client([snap], linger_s=0) as sender:
                await sender.send(event)
                await sender.flush(0.3)
                await sender.aclose(0)
        tokens = TokenSet(
            access_token="x" * 30, refresh_token=REFRESH, access_expires_at=1, refresh_expires_at=9_999_999_999
        )
        async with TikTokShop("appkey", APP_SECRET, tokens=tokens, base_url=server.url) as shop:
            with suppress(CapiError):
                await shop.get_shops()
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/{OWN}"):
            pass


def under_sentry() -> list[str]:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    captured: list[str] = []

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            captured.extend(item.payload.get_bytes().decode("utf-8", "replace") for item in envelope.items)

        def flush(self, *_: Any, **__: Any) -> None:
            pass

        def kill(self) -> None:
            pass

    sentry_sdk.init(dsn="http://public@127.0.0.1:9/1", transport=Kept, traces_sample_rate=1.0)
    with sentry_sdk.start_transaction(name="checkout", op="task"):
        asyncio.run(work())
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        # a later error that has nothing to do with us takes the breadcrumbs along
        sentry_sdk.capture_exception(error)
    sentry_sdk.flush()
    return captured


def under_otel() -> list[str]:
    from opentelemetry import trace
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    captured: list[str] = []

    class Kept(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            captured.extend(span.to_json() for span in spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Kept()))
    trace.set_tracer_provider(provider)
    AioHttpClientInstrumentor().instrument()
    asyncio.run(work())
    return captured


if __name__ == "__main__":
    sys.stdout.write("\n".join(under_sentry() if sys.argv[1] == "sentry" else under_otel()))
