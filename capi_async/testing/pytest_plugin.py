"""The pytest plug-in: fixtures that reach nobody, and a guard that keeps tests away from the real platforms.

It is active wherever capi_async is installed. ``@pytest.mark.capi_live`` lets one test reach the platforms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from capi_async.sandbox import Sandbox
    from capi_async.spec import Destination
    from capi_async.testing.live_guard import LiveGuard
    from capi_async.testing.recorder import Recorder

_MARK = "capi_live"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known and put the guard up."""
    from capi_async.testing.live_guard import LiveGuard

    config.addinivalue_line("markers", f"{_MARK}: this test may send requests to the real ad platforms")
    guard = LiveGuard()
    guard.install()
    config.stash[_GUARD] = guard


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the guard down."""
    if guard := config.stash.get(_GUARD, None):
        guard.remove()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    yield from _guarded(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from _guarded(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield from _guarded(item)


def _guarded(item: pytest.Item) -> Iterator[Any]:
    """One phase of a test; it fails if it tried to reach a platform, whatever else became of it."""
    from capi_async.testing.live_guard import LiveRequest

    guard = item.config.stash[_GUARD]
    guard.allowed = item.get_closest_marker(_MARK) is not None
    try:
        result = yield
    finally:
        tried = guard.take()
        if tried:
            # a test that fails for that reason fails with these words, not with what followed from it
            raise LiveRequest(item.nodeid, tried) from None
    return result


@pytest.fixture
def capi_destinations() -> Sequence[Destination]:
    """The destinations of ``capi_recorder``: an account at every platform. Override it with those of your own."""
    return ()


@pytest.fixture
def capi_recorder(capi_destinations: Sequence[Destination]) -> Iterator[Recorder]:
    """A :class:`~capi_async.testing.Recorder`: hand its ``client`` (or ``sync_client``) to the code under test."""
    from capi_async.testing.recorder import Recorder

    recorder = Recorder(capi_destinations)
    yield recorder
    recorder.close()


@pytest.fixture
def capi_sandbox() -> Iterator[Sandbox]:
    """A :class:`~capi_async.sandbox.Sandbox` that listens on a local port, in a thread of its own."""
    from anyio.from_thread import start_blocking_portal

    from capi_async.sandbox import Sandbox

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Sandbox()) as sandbox:
        yield sandbox


_GUARD: pytest.StashKey[LiveGuard] = pytest.StashKey()
