"""A key that stands twice in an event's JSON is refused, wherever it stands and however it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import Event, EventError
from capi_async.json_keys import twice_at


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"name":"purchase","name":"lead"}', "name"),
        ('{"name": "purchase", "value": 1, "value": 2}', "value"),
        ('{"name":"lead","user":{"email":"a@b.example","email":"c@d.example"}}', "user.email"),
        ('{"name":"lead","user":{"email":"a@b.example"},"user":{"phone":"+14155552671"}}', "user"),
        ('{"name":"purchase","items":[{"id":"1"},{"id":"2","price":1,"price":2}]}', "items[1].price"),
        ('{"name":"lead","properties":{"plan":{"tier":1,"tier":2}}}', "properties.plan.tier"),
        ('{"name":"lead","value" : 1,"value":2}', "value"),
        ('{"name":"lead","value"\n:1,"value":2}', "value"),
        ('{"name":"lead","val\\u0075e":1,"value":2}', "value"),
        ('{"name":"lead","properties":{"a\\u0022:":1,"a\\":":2}}', 'properties.a":'),
        ('{"name":"lead","order_id":"\\u003a1","value":1,"value":2}', "value"),
    ],
)
@pytest.mark.parametrize("kind", [str, bytes])
def test_a_key_that_stands_twice_is_named_by_its_path(text: str, field: str, kind: type) -> None:
    """The last one would win in silence, and another reader would take the first."""
    with pytest.raises(EventError, match="stands twice") as caught:
        Event.from_json(text if kind is str else text.encode())
    assert caught.value.field == field


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"lead","user":{"country":"US"},"items":[{"id":"1","name":"x"},{"id":"2","name":"y"}]}',
        '{"name":"lead","order_id":":1","search_string":"say \\"hello\\": twice"}',
        '{ "name" : "lead" , "value" : 1 }',
        '{"name":"lead","properties":{"a":{"b":[{"c":1},{"c":2}]}}}',
        '{"name":"lead","user":{"email":[{"digest":"' + "a" * 64 + '"},{"digest":"' + "b" * 64 + '"}]}}',
    ],
)
def test_the_same_key_in_different_objects_is_no_repeat(text: str) -> None:
    """Items all have the same keys, and strings may hold what looks like one."""
    assert Event.from_json(text).name == "lead"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(['":', ':"', '\\":', "\n:"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.sampled_from(['":', " :"]), inner)
    ),
    max_leaves=12,
)
_spaces = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\n", "\t:")])


@given(st.dictionaries(st.text(max_size=4), _values, max_size=4), _spaces, st.booleans())
def test_no_document_without_a_repeat_is_refused(
    root: dict[str, Any], spaces: tuple[str, str], ascii_only: bool
) -> None:
    """Whatever its keys and texts hold, and however it is spaced and escaped."""
    assert twice_at(json.dumps(root, separators=spaces, ensure_ascii=ascii_only)) is None


@given(
    st.dictionaries(st.text(max_size=4), _values, min_size=1, max_size=4),
    _spaces,
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_every_repeat_is_found(
    root: dict[str, Any], spaces: tuple[str, str], ascii_only: bool, escaped: bool, data: st.DataObject
) -> None:
    """Written the same way or another, next to the first or apart from it."""
    key = data.draw(st.sampled_from(sorted(root)))
    text = json.dumps(root, separators=spaces, ensure_ascii=ascii_only)
    again = "".join(f"\\u{ord(char):04x}" for char in key) if escaped and key.isascii() else json.dumps(key)[1:-1]
    assert twice_at(f'{text[:-1]}{spaces[0]}"{again}"{spaces[1]}1}}') is not None
