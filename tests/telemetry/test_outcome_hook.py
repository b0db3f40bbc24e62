"""One function for the outcomes that somebody wants."""

from __future__ import annotations

from typing import Any

import pytest

from capi_async import Client, ConfigError, Event, EventOutcome, RequestDone, Settled, StateChanged, on_outcome
from tests.engine.acme import Acme, events
from tests.engine.server import Server

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 8),
        ({"kinds": ("rejected",)}, 2),
        ({"destinations": ("a",)}, 4),
        ({"destinations": ["b"], "kinds": {"delivered"}}, 3),
        ({"kinds": ("dead", "uncertain")}, 0),
        ({"destinations": ()}, 0),
    ],
)
async def test_only_what_is_wanted_is_told(server: Server, wanted: dict[str, Any], count: int) -> None:
    """By destination and kind, with the event's id and the whole outcome."""
    told: list[EventOutcome] = []
    destinations = [Acme(name=name, base_url=server.url) for name in ("a", "b")]
    async with Client(destinations, linger_s=0, hooks=[on_outcome(told.append, **wanted)]) as client:
        await client.send_many([*events(3), Event("größe", event_id="bad")])
        assert await client.flush(5)
    assert len(told) == count
    for one in told:
        assert one.destination in wanted.get("destinations", ("a", "b"))
        assert one.outcome.kind in wanted.get("kinds", ("delivered", "rejected"))
        assert (one.event_id == "bad") == (one.outcome.kind == "rejected")


def test_a_wrong_filter_is_named() -> None:
    """Kinds at once, destinations when the client is made: a typo would be silence for ever."""
    with pytest.raises(ConfigError, match="not daed"):
        on_outcome(print, kinds=("daed",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not pending"):
        on_outcome(print, kinds=("pending",))
    with pytest.raises(ConfigError, match="collections of names"):
        on_outcome(print, destinations="acme")

    async def slow(_one: EventOutcome) -> None:
        """Nobody would await it."""

    with pytest.raises(ConfigError, match="a plain function"):
        on_outcome(slow)
    with pytest.raises(ConfigError, match="no destination acne; it has acme"):
        Client([Acme()], hooks=[on_outcome(print, destinations=("acne",))])


def test_what_hooks_are_told_is_public() -> None:
    """Typed structs that an application may import."""
    for one in (RequestDone, Settled, StateChanged, EventOutcome):
        assert one.__struct_fields__
