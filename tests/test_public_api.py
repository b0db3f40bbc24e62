"""The public names: narrow, sorted, importable, documented."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import capi_async
import capi_async.destinations as destinations
import capi_async.sources.tiktok_shop as shop


def test_public_names_are_sorted_and_exist() -> None:
    """``__all__`` is the contract."""
    assert capi_async.__all__ == sorted(capi_async.__all__)
    for name in capi_async.__all__:
        assert getattr(capi_async, name).__module__.startswith("capi_async")


def test_the_contract_names_are_there() -> None:
    """Names that examples and configurations rely on."""
    assert {
        "App", "ClickIds", "Client", "Consent", "Device", "Event", "Hashed", "Item", "Outcome", "Page", "Receipt",
        "User", "SyncClient",
    } <= set(capi_async.__all__)  # fmt: skip
    for name in ("Snap", "SnapV2", "Pinterest", "TikTok", "TikTokPixel", "CutMeShort", "Meta", "Reddit", "LinkedIn"):
        assert issubclass(getattr(destinations, name), destinations.Destination)


def test_every_public_thing_says_what_it_is() -> None:
    """Public classes, and their public methods, have docstrings."""
    for name in capi_async.__all__:
        thing = getattr(capi_async, name)
        assert inspect.getdoc(thing), name
        for member_name, member in inspect.getmembers(thing, inspect.isfunction):
            if not member_name.startswith("_") and member.__module__.startswith("capi_async"):
                assert inspect.getdoc(member), f"{name}.{member_name}"


def test_a_shops_names_are_sorted_and_say_what_they_are() -> None:
    """Loaded one by one, when they are asked for."""
    assert shop.__all__ == sorted(shop.__all__)
    for name in shop.__all__:
        thing = getattr(shop, name)
        assert thing.__module__.startswith("capi_async.sources.tiktok_shop")
        assert inspect.getdoc(thing), name
        for member_name, member in inspect.getmembers(thing, inspect.isfunction):
            if not member_name.startswith("_") and member.__module__.startswith("capi_async"):
                assert inspect.getdoc(member), f"{name}.{member_name}"


@pytest.mark.parametrize(
    "module", ["capi_async.context", "capi_async.context.stores", "capi_async.consent", "capi_async.browser"]
)
def test_names_of_parts_are_sorted_and_say_what_they_are(module: str) -> None:
    """What a part offers stands in its ``__all__``."""
    part = importlib.import_module(module)
    assert part.__all__ == sorted(part.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in part.__all__:
        thing = getattr(part, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        assert inspect.getdoc(thing), name
        for member_name, member in inspect.getmembers(thing, inspect.isfunction):
            if not member_name.startswith("_") and member.__module__.startswith("capi_async"):
                assert inspect.getdoc(member), f"{name}.{member_name}"


def test_import_has_no_side_effects_and_loads_no_platform() -> None:
    """Importing starts no thread and no loop, and reads no platform's module."""
    code = (
        "import sys, threading, capi_async\n"
        "assert threading.active_count() == 1\n"
        "parts = ('capi_async.destinations.', 'capi_async.sources', 'capi_async.context', 'capi_async.consent')\n"
        "table = 'capi_async.destinations.registry'\n"
        "loaded = [name for name in sys.modules if name.startswith(parts) and name != table]\n"
        "assert not loaded, loaded\n"
        "assert 'phonenumbers' not in sys.modules and 'typer' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
