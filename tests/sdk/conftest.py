"""The platforms' own SDKs against the sandbox; only when asked for, because they need environments of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from capi_async.sandbox import Sandbox

# Neither collected nor skipped in an ordinary run: the SDKs are not among the test requirements.
collect_ignore_glob = [] if os.environ.get("CAPI_TEST_SDKS") == "1" else ["*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Let pydantic 1, which pytt-events-api pins, be imported by a newer Python than it knew."""
    config.addinivalue_line("filterwarnings", "ignore:Failing to pass a value to the 'type_params':DeprecationWarning")


@pytest.fixture
def start() -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes with options, in a thread beside the synchronous SDKs; all of them end with the test."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        def start(**options: Any) -> Sandbox:
            return stack.enter_context(portal.wrap_async_context_manager(Sandbox(**options)))

        yield start


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """A sandbox with its defaults."""
    return start()
