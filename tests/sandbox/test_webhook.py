"""The sandbox's endpoint for webhooks: signatures, framings, and an answer for each event."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from capi_async import Client, Event, User
from capi_async.cli.accounts import sandbox_destinations
from capi_async.destinations import Webhook
from capi_async.event import Page
from capi_async.sandbox import Sandbox

EVENT = {"name": "purchase", "event_id": "1", "time": "2026-11-27T08:00:00+00:00", "source": "website", "value": 1.5}


def ask(
    sandbox: Sandbox, body: bytes, *, kind: str = "application/json", token: str = "sandbox-token", late_s: float = 0.0
) -> tuple[int, Any]:
    """A signed request."""
    at = int(time.time() - late_s)
    mark = hmac.new(token.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": kind, "X-Capi-Signature": f"t={at},v1={mark}"}
    reply = sandbox.answer("POST", "/webhook/in", body, query={}, headers=headers)
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize(
    ("body", "kind", "count"),
    [
        (json.dumps([EVENT, EVENT]), "application/json", 2),
        (f"{json.dumps(EVENT)}\n{json.dumps(EVENT)}\n", "application/x-ndjson", 2),
        (json.dumps(EVENT), "application/json", 1),
        (json.dumps([{"kind": "order", "sum": 3}]), "application/json", 1),
    ],
)
def test_every_framing_is_read_and_answered_for_each_event(body: str, kind: str, count: int) -> None:
    """A template's object is taken as it is."""
    sandbox = Sandbox()
    assert ask(sandbox, body.encode(), kind=kind) == (200, {"results": [{"ok": True}] * count})
    assert len(sandbox.arrivals("webhook")) == count


def test_one_bad_event_is_refused_alone_and_by_name() -> None:
    bad = {**EVENT, "time": "yesterday"}
    sandbox = Sandbox()
    status, said = ask(sandbox, json.dumps([EVENT, bad, {**EVENT, "event_id": "2", "value": "1.5"}]).encode())
    assert status == 200
    assert [one["ok"] for one in said["results"]] == [True, False, False]
    assert said["results"][1]["error"].startswith("time: ")
    assert said["results"][2]["error"].startswith("value: ")


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"token": "other"}, 401), ({"late_s": 301.0}, 401), ({"kind": "text/plain"}, 400), ({"kind": "text/html"}, 400)],
)
def test_an_odd_request_is_refused_whole(changes: dict[str, Any], status: int) -> None:
    sandbox = Sandbox()
    assert ask(sandbox, json.dumps([EVENT]).encode(), **changes)[0] == status
    assert sandbox.arrivals("webhook") == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[1]", b"5", b'"text"', b"[" * 100_000])
def test_a_body_that_is_no_event_never_ends_in_a_500(body: bytes) -> None:
    status, said = ask(Sandbox(), body)
    assert status < 500
    assert status != 200 or not said["results"][0]["ok"]


def test_an_unsigned_request_is_refused() -> None:
    reply = Sandbox().answer("POST", "/webhook", b"[]", query={}, headers={"Content-Type": "application/json"})
    assert reply.status == 401


@pytest.mark.parametrize("framing", ["array", "object", "lines"])
async def test_a_webhook_delivers_to_it(framing: Any) -> None:
    """Signed, each event with its own answer; a repeat counts twice there, as nobody can tell."""
    async with Sandbox(poison="spoilt") as sandbox:
        (made,) = sandbox_destinations(sandbox.url, ["webhook"], overrides={"webhook": {"framing": framing}})
        async with Client([made], linger_s=0.01) as client:
            first, spoilt, third = (
                Event("purchase", order_id=order, user=User(email="a@b.example"), page=Page(url="https://s.example/"))
                for order in ("1", "spoilt", "2")
            )
            receipts = await client.send_many([first, spoilt, third, first])
            kinds = [(await one.outcomes(timeout_s=10))["webhook"].kind for one in receipts]
        assert kinds == ["delivered", "rejected", "delivered", "delivered"]
        assert sandbox.details()["webhook"]["counted_twice"] == 1
        assert sandbox.details()["webhook"]["warnings"] == {}


async def test_identifiers_in_clear_are_counted() -> None:
    """They are a setting of the sender's, which one wants to see."""
    async with Sandbox() as sandbox:
        made = Webhook(sandbox.url("webhook"), secret="sandbox-token", identifiers_as="clear")
        async with Client([made], linger_s=0) as client:
            receipt = await client.send(Event("lead", user=User(email="a@b.example", phone="+14155552671")))
            assert (await receipt.outcomes(timeout_s=10))["webhook"].kind == "delivered"
        assert sandbox.details()["webhook"]["warnings"] == {
            "user.email is not hashed": 1, "user.phone is not hashed": 1,
        }  # fmt: skip


async def test_in_mode_sandbox_a_webhook_leaves_its_own_endpoint_alone() -> None:
    """Whatever its answers look like there, the sandbox's are read, and no path of the address leaves."""
    made = Webhook("https://collector.example/very-secret", results_path="data.rows", ok_path="state", ok_values=["ok"])
    async with Client([made], mode="sandbox", linger_s=0) as client:
        receipt = await client.send(Event("lead", user=User(email="a@b.example")))
        assert (await receipt.outcomes(timeout_s=10))["webhook"].kind == "delivered"
        assert client.sandbox is not None
        assert len(client.sandbox.arrivals("webhook")) == 1
