"""Whatever would be sent, the strict sandbox accepts: mappings and the sandbox's rules are held against each other."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from multidict import CIMultiDict

from capi_async.destinations import destination_types
from capi_async.destinations.registry import row_of
from capi_async.engine.explain import explain
from capi_async.engine.prepare import Preparer
from capi_async.event import Event
from capi_async.sandbox.platforms.base import TOKEN
from capi_async.sandbox.server import Sandbox
from capi_async.spec import Destination
from capi_async.spool.base import Record
from capi_async.testing import ManualClock
from capi_async.testing.any_event import events, nearly_sound_events

NOW = ManualClock.START
#: Seconds before now: mostly of today, some older than each platform takes, some a little ahead.
ages = st.sampled_from((0.0, 1.0, 3_600.0, 3_600.0, 6 * 86_400.0)) | st.floats(-600.0, 70 * 86_400.0)
#: The least share of what is tried at a platform that must be sendable, or this test would say nothing of it.
LEAST_SHARE = 0.05
#: Ids that the sandbox has, in the place of the row's.
IDS = {
    "tiktok": {
        "app_id": "7000000000000001", "offline_event_set_id": "7000000000000002",
        "crm_event_set_id": "7000000000000003",
    }
}  # fmt: skip
NO_RATES = Sandbox().platforms
#: A setting that sends what the platform's own description lacks, to the sandbox's reading that takes it.
READINGS = {"tracking_flag": {"pinterest": "tracking_flag"}}


def accounts(type_name: str) -> list[Destination]:
    """One with the least settings, one that can send test events, one with every setting, one in test mode."""
    row = row_of(type_name)
    kind = row.load()
    usual, tested = row.settings(), row.settings(test=True)
    every = {**tested, **row.every_setting, **IDS.get(type_name, {})}
    there = {**row.played, row.address: f"https://sandbox.example/{type_name}"}
    return [kind(**{**given, **there}) for given in (usual, tested, every, {**tested, "test": True})]


def sandbox_for(destination: Destination) -> Sandbox:
    """A strict one, without request rates, whose time is that of the test."""
    readings = next((there for setting, there in READINGS.items() if getattr(destination, setting, False)), None)
    return Sandbox(rates=dict.fromkeys(NO_RATES), clock=ManualClock(), readings=readings)


def complaint(sandbox: Sandbox, destination: Destination, record: Record) -> str:
    """What the platform would have against it; empty: nothing."""
    sandbox.clear_arrivals()
    request = destination.request(record.head, [record.body], TOKEN)
    url = urlsplit(request.url)
    headers: Any = CIMultiDict(request.headers)
    reply = sandbox.answer(
        request.method, url.path, b"".join(request.body), query=dict(parse_qsl(url.query)), headers=headers
    )
    arrived = sandbox.arrivals()
    if len(arrived) != 1:
        return f"{reply.status} {reply.body!r}"
    return arrived[0].reason


class Tried:
    """Every platform's accounts, each with a sandbox, and how many events would be sent where."""

    def __init__(self) -> None:
        self.accounts = [
            (made, Preparer([made]), sandbox_for(made))
            for type_name in destination_types()
            for made in accounts(type_name)
        ]
        self.sendable: Counter[str] = Counter()
        self.events = 0

    def hold(self, event: Event) -> None:
        """Fail if a platform's sandbox refuses what would be sent there."""
        self.events += 1
        for destination, preparer, sandbox in self.accounts:
            record, _, _ = preparer.one(destination, event, NOW)
            if isinstance(record, Record):
                self.sendable[destination.name] += 1
                assert complaint(sandbox, destination, record) == "", record.body

    def shares(self) -> dict[str, float]:
        """By platform, the share of what was tried that would be sent."""
        tried = self.events * len(self.accounts) / len(destination_types())
        return {name: self.sendable[name] / tried for name in destination_types()}


def test_whatever_would_be_sent_the_sandbox_accepts() -> None:
    """Events of every kind, with typed fields, properties and raw fields, live and test, for several accounts each."""
    tried = Tried()

    @settings(max_examples=10 * settings().max_examples, suppress_health_check=[HealthCheck.too_slow])
    @given(event=events() | nearly_sound_events(), age_s=ages)
    def holds(event: Event, age_s: float) -> None:
        tried.hold(replace(event, time=datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=age_s)))

    holds()
    assert all(share >= LEAST_SHARE for share in tried.shares().values()), tried.shares()


@pytest.mark.parametrize("type_name", destination_types())
@given(event=nearly_sound_events())
@settings(max_examples=5)
def test_explain_says_what_becomes_of_the_event(type_name: str, event: Event) -> None:
    """It calls sendable what the engine would send, and nothing else."""
    destination = accounts(type_name)[1]
    preparer = Preparer([destination])
    event = replace(event, time=datetime.fromtimestamp(NOW, UTC))
    record, _, _ = preparer.one(destination, event, NOW)
    assert (explain(destination, preparer, event, NOW).verdict == "pending") is isinstance(record, Record)
