"""What a caller gives in a platform's own words: the sandbox, an independent reading of the documentation, judges."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from capi_async.destinations import destination_class, destination_types, row_of
from capi_async.destinations.platform import Platform
from capi_async.event import Event
from capi_async.outcome import Verdict
from capi_async.sandbox import TOKEN, Sandbox
from capi_async.spec import ENCODER, Refusal, Wire
from capi_async.testing.conformance import account, good_event
from capi_async.testing.mapping import wire
from capi_async.transport import HttpTransport

TYPES = [name for name in destination_types() if issubclass(destination_class(name), Platform)]
every_type = pytest.mark.parametrize("type_name", TYPES)

#: In the vendor's integrations, but not in its API description, by which the sandbox reads.
UNDESCRIBED = {("pinterest", "advertiser_tracking_enabled")}

#: Of each kind that JSON has; a field of that kind takes its own, and the others are wrong.
VALUES: Mapping[str, Any] = {
    "true": True, "number": 7, "fraction": 0.5, "text": "surely not", "list": ["x"], "numbers": [7], "object": {"x": 1},
    "null": None,
}  # fmt: skip


def paths(kind: Any, below: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every documented key of a struct, as a path; of lists, those of their objects' first."""
    for field in inspect.type_info(kind).fields:  # type: ignore[union-attr]
        yield (*below, field.encode_name)
        found = field.type
        for one in found.types if isinstance(found, inspect.UnionType) else (found,):
            if isinstance(one, inspect.StructType):
                yield from paths(one.cls, (*below, field.encode_name))


def at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` of ``("a", "b")``."""
    for key in reversed(path):
        value = {key: value}
    found: dict[str, Any] = value
    return found


def documented(type_name: str) -> Any:
    """The struct of an event with every documented key."""
    kind: Any = destination_class(type_name)
    made = wire(account(type_name), good_event())
    assert isinstance(made, Wire)
    return kind.documented or type(made.body)


@pytest.fixture
async def judge() -> AsyncIterator[Any]:
    """Sends one mapped event to the sandbox, as the destination does, and reads its answer."""
    async with Sandbox(rates=dict.fromkeys(destination_types())) as sandbox:
        transport = HttpTransport()

        async def send(type_name: str, made: Wire) -> Verdict:
            destination = account(type_name, **row_of(type_name).every_setting, base_url=sandbox.url(type_name))
            request = destination.request(made.head, [ENCODER.encode(made.body)], TOKEN)
            answer = await transport.send(request, timeout_s=10)
            return destination.classify(msgspec.structs.replace(answer, head=made.head), 1)[0]

        yield send
        await transport.aclose()


def _events(type_name: str, path: tuple[str, ...], value: Any, *, place: str) -> list[Event]:
    given = {"properties": at(path, value)} if place == "properties" else {"extra": {type_name: at(path, value)}}
    if path[-1] == "event_time":
        given = {"extra": {type_name: {"event_time": value if not isinstance(value, int) else int(time.time())}}}
    bare = {"items": (), "value": None, "currency": None, "order_id": None, "name": "lead"}
    return [good_event(**given), good_event(**bare, **given)]


@every_type
@pytest.mark.parametrize("place", ["extra", "properties"])
async def test_what_would_be_refused_there_is_refused_here_by_name(type_name: str, place: str, judge: Any) -> None:
    """Every documented key, with a value of every kind: what leaves is taken, and what is refused is named."""
    destination: Any = account(type_name, **row_of(type_name).every_setting)
    found = [path for path in paths(documented(type_name)) if (type_name, path[-1]) not in UNDESCRIBED]
    if place == "properties":
        there = destination.properties_at
        found = [path[1:] for path in found if there and len(path) > 1 and path[0] == there]
    wrong = []
    for path in found:
        for label, value in VALUES.items():
            for event in _events(type_name, path, value, place=place):
                made = wire(destination, event)
                if isinstance(made, Refusal):
                    assert made.field, (path, label)
                    continue
                verdict = await judge(type_name, made)
                if verdict.kind != "accepted":
                    wrong.append((".".join(path), label, event.name, verdict.reason))
    assert not wrong, f"{len(wrong)} left and were refused: {wrong[:12]}"


@pytest.mark.parametrize(
    ("type_name", "fields", "field", "needed"),
    [
        ("tiktok", {"properties": {"contents": True}}, "properties.contents", "a list, not true or false"),
        ("tiktok", {"properties": {"contents": [{"content_id": 7}]}}, "properties.contents[0].content_id", "text"),
        ("tiktok", {"properties": {"value": "72.39"}}, "properties.value", "a number, not text"),
        ("tiktok", {"extra": {"tiktok": {"properties": {"value": True}}}}, "extra.properties.value", "a number"),
        ("tiktok", {"extra": {"tiktok": {"user": {"phone": "+14155552671"}}}}, "extra.user.phone", "a SHA-256 digest"),
        ("tiktok_pixel", {"properties": {"contents": {}}}, "properties.contents", "a list, not an object"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_with_what_is_needed(
    type_name: str, fields: dict[str, Any], field: str, needed: str
) -> None:
    """In plain words, and without the value."""
    made = wire(account(type_name), good_event(**{"items": (), "value": None, **fields}))
    assert isinstance(made, Refusal)
    assert (made.kind, made.field) == ("rejected", field)
    assert made.reason.startswith(f"needs {needed}")
    assert "4155552671" not in repr(made)


@every_type
def test_null_takes_a_key_away(type_name: str) -> None:
    """No platform documents null: several refuse it, so it never leaves."""
    destination: Any = account(type_name)
    made = wire(destination, good_event(extra={type_name: {"unheard": None, "properties": {"x": None}}}))
    if isinstance(made, Refusal):
        assert destination.closed_schema
        return
    assert b"null" not in ENCODER.encode(made.body)
