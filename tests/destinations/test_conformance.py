"""Every built-in destination keeps what all promise; a new row in the registry is tested without another line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from capi_async.destinations import destination_types, row_of
from capi_async.testing.conformance import Conformance

#: What a platform's documentation makes different.
ODDITIES: Mapping[str, Mapping[str, Any]] = {
    "snap_v2": {"sends_properties": False},
    "pinterest": {"sends_properties": False},
    "tiktok_pixel": {"sends_properties": False},
    "meta": {"sends_properties": False},
    # of a known click Google is told that the person's data may not be used
    "google_ads": {"sends_properties": False, "denial_is_sent": ("ad_user_data",)},
    "ga4": {
        "any_2xx": True,
        "numeric_account": False,
        "sends_refunds": True,
        "denial_is_sent": ("ad_storage", "ad_user_data"),
    },
    "reddit": {"sends_properties": False},
    "linkedin": {
        "sends_properties": False,
        "other_account": {"conversions": {"purchase": "204028"}},
        "stands_for_name": row_of("linkedin").tables["conversions"]["purchase"],
    },
    "cutmeshort": {
        "sends_properties": False,
        "in_clear": {"send_profile": True},
        "any_2xx": True,
        "in_minor_units": True,
        "renamed": "sale:{}",
    },
}


def _suite(type_name: str) -> type[Conformance]:
    name = "Test" + "".join(part.capitalize() for part in type_name.split("_"))
    return type(name, (Conformance,), {"destination": type_name, "__module__": __name__, **ODDITIES.get(type_name, {})})


#: An endpoint of somebody's: its address, and what its answers mean, are settings. Its suite stands beside its tests.
APART = ("webhook",)
SUITES = {suite.__name__: suite for suite in map(_suite, destination_types()) if suite.destination not in APART}
globals().update(SUITES)


def test_every_destination_has_a_suite() -> None:
    """And no difference is kept for a platform that is gone."""
    assert [suite.destination for suite in SUITES.values()] == [one for one in destination_types() if one not in APART]
    assert set(ODDITIES) <= set(destination_types())
    assert not any(name.startswith("test_") and not callable(getattr(Conformance, name)) for name in dir(Conformance))


def test_a_suite_fails_on_a_destination_that_breaks_a_promise() -> None:
    """Or it would prove nothing."""
    broken = _suite("cutmeshort")
    broken.in_minor_units = False
    with pytest.raises(AssertionError):
        broken().test_amounts_are_written_digit_by_digit()
