"""The demo and its data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from capi_async.destinations import destination_types
from tests.cli.conftest import EXAMPLES

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.mark.usefixtures("examples")
def test_the_excerpt_makes_more_than_20_000_events_of_the_last_week() -> None:
    """Unique ids, in order of time, the newest a minute old, none older than platforms take."""
    from retail import DATA, read_events

    events = read_events(now=NOW)
    assert Counter(event.name for event in events) == {"add_to_cart": 19_770, "purchase": 736}
    assert len({event.event_id for event in events}) == len(events)
    assert events == sorted(events, key=lambda event: event.time)
    assert events[-1].time == NOW - timedelta(minutes=1)
    assert NOW - events[0].time < timedelta(days=6)
    assert DATA.stat().st_size < 1_000_000


@pytest.mark.usefixtures("examples")
def test_an_order_is_read_as_published() -> None:
    """Time as of London in summer and in winter, money in decimals, countries as codes."""
    from retail import read_events, read_orders

    orders = {order.invoice: order for order in read_orders()}
    assert orders["571933"].time == datetime(2011, 10, 20, 7, 19, tzinfo=UTC)  # 08:19 in British Summer Time
    assert orders["573426"].time == datetime(2011, 10, 31, 10, 17, tzinfo=UTC)
    assert sum(line.amount for line in orders["571933"].lines) == Decimal("76.32")
    event = next(event for event in read_events(now=NOW) if event.event_id == "571933")
    assert (event.order_id, event.value, event.currency) == ("571933", Decimal("76.32"), "GBP")
    assert (event.user.external_id, event.user.country) == ("13199", "GB")
    assert (event.items[0].id, event.items[0].name) == ("84947", "ANTIQUE SILVER TEA GLASS ENGRAVED")


@pytest.mark.usefixtures("examples")
def test_invented_people_stay_the_same_for_one_seed() -> None:
    """And their addresses belong to nobody."""
    from retail import read_events

    one, same, other = (read_events(now=NOW, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    for event in one:
        user = event.user
        assert isinstance(user.email, str)
        assert user.email.endswith(".example")
        assert isinstance(user.phone, str)
        assert user.phone.startswith("+447700900")
        assert user.ip is not None
        assert user.ip.startswith(("192.0.2.", "198.51.100.", "203.0.113."))


def test_a_shortened_demo_balances(tmp_path: Path) -> None:
    """As a script, from another folder: all checks hold, and the counts are written."""
    found = tmp_path / "demo.json"
    command = [sys.executable, str(EXAMPLES / "demo.py"), "--events", "1500", "--seed", "3", "--json", str(found)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert "60 requests a minute; that rate is raised here" in ran.stdout
    counts = json.loads(found.read_text())
    assert (counts["events"], counts["poisoned"]) == (1_500, 1)
    assert set(counts["checks"].values()) == {True}
    assert len(counts["ledger"]) == len(counts["sandbox"]) == len(destination_types())
    for name, ledger in counts["ledger"].items():
        sandbox = counts["sandbox"][name]
        assert ledger["accepted"] == 1_500
        assert ledger["delivered"] + ledger["rejected"] + ledger["uncertain"] == 1_500
        # one platform says yes to anything, the poisoned event included
        assert (
            ledger["delivered"]
            <= sandbox["accepted"] - sandbox["duplicates"]
            <= (1_499 if ledger["rejected"] else 1_500)
        )
        assert sandbox["counted_twice"] == 0
