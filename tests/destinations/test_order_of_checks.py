"""Which of several faults of one event is named, and whether the event counts as skipped or rejected: one table."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Any

import pytest
from msgspec import Struct

from capi_async.destinations import destination_class, destination_types
from capi_async.destinations.platform import Platform
from capi_async.event import ClickIds, Consent, Page, User
from capi_async.testing.conformance import account, good_event, nested
from capi_async.testing.mapping import refusal

TYPES = [name for name in destination_types() if issubclass(destination_class(name), Platform)]


class Fault(Struct, frozen=True):
    """One thing that is wrong with an otherwise good purchase.

    Attributes:
        at: The platforms at which it is wrong.
        settings: Of the account, without which it could not be seen.
    """

    kind: str
    field: str
    changes: Mapping[str, Any]
    at: tuple[str, ...]
    settings: Mapping[str, Any] = MappingProxyType({})


SNAP = ("snap", "snap_v2")
EVERYWHERE = (*SNAP, "pinterest", "tiktok", "tiktok_pixel", "cutmeshort", "meta", "google_ads", "reddit", "linkedin")
WITH_APPS = {"snap": {"snap_app_id": "app-1"}, "snap_v2": {"snap_app_id": "app-1"}, "tiktok": {"app_id": "1"}}

#: From the fault that is named first to the one that is named last.
ORDER: list[Fault] = [
    # whether the event is for this destination at all
    Fault("skipped", "name", {"name": "refund"}, EVERYWHERE),
    Fault("skipped", "consent.ad_storage", {"consent": Consent(ad_storage=False)}, EVERYWHERE),
    Fault("skipped", "test", {"test": True}, ("tiktok", "tiktok_pixel", "cutmeshort", "meta", "reddit", "linkedin")),
    Fault("skipped", "source", {"source": "app"}, (*SNAP, "tiktok", "tiktok_pixel")),
    # what cannot be said in the platform's form
    Fault("rejected", "click.cms_rf", {"click": ClickIds(cms_rf="x" * 256)}, ("cutmeshort",)),
    # what the caller gave in the platform's own words
    Fault("rejected", "extra.<key>", {"extra": None}, EVERYWHERE),
    Fault(
        "rejected",
        "properties.contents",
        {"properties": {"contents": True}, "items": ()},
        ("snap", "tiktok", "tiktok_pixel"),
    ),
    # what is missing
    Fault("rejected", "page.url", {"page": Page()}, (*SNAP, "tiktok", "meta")),
    Fault("rejected", "app.id", {"source": "app"}, (*SNAP, "tiktok"), WITH_APPS),
    Fault("rejected", "device.os", {"source": "app"}, ("pinterest", "meta")),
    Fault("rejected", "order_id", {"order_id": None}, ("cutmeshort",)),
    Fault("rejected", "value", {"value": None}, (*SNAP, "cutmeshort", "meta")),
    Fault("rejected", "currency", {"currency": None}, (*SNAP, "cutmeshort", "meta", "google_ads")),
    # an event of nobody is nothing to mend, so it comes last
    Fault("skipped", "user", {"user": User()}, EVERYWHERE),
]


def _named(type_name: str, *faults: Fault) -> tuple[str, str]:
    changes: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    kind: Any = destination_class(type_name)
    for fault in faults:
        changes |= fault.changes
        settings |= fault.settings.get(type_name, {})
    if "extra" in changes:
        changes["extra"] = {type_name: nested(kind.dedup_key, None)}
    found = refusal(account(type_name, **settings), good_event(**changes))
    return found.kind, found.field.replace(f"extra.{kind.dedup_key}", "extra.<key>").replace("user.external_id", "user")


def _at(type_name: str) -> list[Fault]:
    return [fault for fault in ORDER if type_name in fault.at]


@pytest.mark.parametrize(
    ("type_name", "fault"),
    [(type_name, fault) for type_name in TYPES for fault in _at(type_name)],
    ids=lambda value: value if isinstance(value, str) else value.field,
)
def test_every_fault_is_named_by_its_field(type_name: str, fault: Fault) -> None:
    """By itself, with the same word for skipped and rejected at every platform."""
    assert _named(type_name, fault) == (fault.kind, fault.field)


@pytest.mark.parametrize("type_name", TYPES)
def test_of_two_faults_the_one_that_stands_first_in_the_table_is_named(type_name: str) -> None:
    """Whatever the platform, so that one faulty event gives the same alarm everywhere."""
    for first, second in combinations(_at(type_name), 2):
        if first.changes.keys() & second.changes.keys() or second.settings:
            continue  # they cannot be had together
        if "page" in first.changes and "source" in second.changes:
            continue  # an event of an app needs no page
        assert _named(type_name, first, second) == (first.kind, first.field), (first.field, second.field)
