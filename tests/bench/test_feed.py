"""The rows that every contender reads."""

from __future__ import annotations

from itertools import islice

import pytest

from capi_async.bench.feed import Feed, real, seeded, write
from capi_async.bench.ours import event_of


def test_the_same_seed_gives_the_same_rows_and_another_gives_others():
    """Runs of today and of next year measure the same events."""
    first, again, other = (list(islice(seeded(20, seed=seed, now=0.0), 20)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({row.email for row in first}) == 20


def test_a_file_is_read_over_and_over_under_other_order_ids(tmp_path):
    """A long run needs no long file, and platforms would take a repeated id for a duplicate."""
    path = tmp_path / "rows"
    assert write(path, seeded(300), 300) == 300
    feed = Feed(path)
    rows = list(feed.rows(1_000))
    feed.close()
    assert len({row.order_id for row in rows}) == 1_000
    assert len({row.email for row in rows}) == 300
    assert feed.cpu_s > 0
    assert feed.wall_s > 0


def test_batches_have_the_size_asked_for(tmp_path):
    """All but the last."""
    path = tmp_path / "rows"
    write(path, seeded(300), 300)
    feed = Feed(path)
    assert [len(batch) for batch in feed.batches(700, 300)] == [300, 300, 100]
    feed.close()


def test_a_row_is_an_event_with_seven_identifiers_and_a_country():
    """What the harness says it measures."""
    event = event_of(next(seeded(1)))
    named = {name for name in event.user.__struct_fields__ if getattr(event.user, name) is not None}
    assert named == {"email", "phone", "first_name", "last_name", "city", "state", "zip", "country"}


def test_real_events_are_read_from_json_lines(tmp_path):
    """In the form that ``capi-async send`` reads; several addresses become the first."""
    path = tmp_path / "events.jsonl"
    path.write_text(
        '{"name":"purchase","event_id":"7","value":12.50,"currency":"GBP","user":{"email":["a@b.example","c@d.example"],'
        '"ip":"192.0.2.1"},"page":{"url":"https://shop.example/x"},"items":[{"id":"85123A","price":2.55,"quantity":6}]}\n'
    )
    [row] = real(path)
    assert (row.order_id, row.value, row.currency, row.email, row.ip) == (
        "7", "12.50", "GBP", "a@b.example", "192.0.2.1",
    )  # fmt: skip
    assert row.items == [("85123A", "2.55", 6)]
    assert event_of(row).items[0].quantity == 6


def test_a_line_that_is_no_event_is_named_without_its_content(tmp_path):
    """Its number and what is wrong with it, not what it says."""
    path = tmp_path / "events.jsonl"
    path.write_text('{"email":"a@b.example"}\n')
    with pytest.raises(ValueError, match=r"line 1 is no event \(KeyError\)$"):
        list(real(path))
