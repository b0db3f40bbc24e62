"""Keeps tests away from the real platforms: no connection to one of their hosts is opened.

It stands where aiohttp opens connections, so that it also holds for a session of the caller's own, and so that tools
which answer requests before that (aioresponses) are not in its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import TestCase

import aiohttp

from capi_async.destinations.hosts import is_platform

_FIX: Final = (
    "use the fixture capi_recorder or capi_sandbox, Client(mode='sandbox') or the environment variable "
    "CAPI_ASYNC_MODE=sandbox; a test that is meant to reach the platform is marked @pytest.mark.capi_live"
)


class LiveRequest(AssertionError):
    """A test was about to reach a real platform. The text names the hosts and what to do."""

    def __init__(self, where: str, hosts: set[str]) -> None:
        super().__init__(f"{where} would have sent a request to {', '.join(sorted(hosts))}: {_FIX}")


class LiveGuard:
    """Refuses connections to real platforms while it is installed, and remembers which were tried.

    Attributes:
        tried: Hosts to which a connection was refused since :meth:`take` was last called.
        allowed: Whether connections are let through at the moment.
    """

    def __init__(self) -> None:
        self.tried: set[str] = set()
        self.allowed = False
        self._original: Any = None

    def install(self) -> None:
        """From now on; a second call changes nothing."""
        if self._original is not None:
            return
        original = self._original = aiohttp.TCPConnector.connect
        guard = self

        async def connect(connector: aiohttp.TCPConnector, req: Any, *arguments: Any, **options: Any) -> Any:
            host = req.url.host or ""
            if not guard.allowed and is_platform(host):
                guard.tried.add(host)
                raise aiohttp.ClientConnectorError(
                    req.connection_key, OSError("tests are kept away from the real platforms")
                )
            return await original(connector, req, *arguments, **options)

        aiohttp.TCPConnector.connect = connect  # type: ignore[method-assign, assignment]

    def remove(self) -> None:
        """Connections are opened as ever."""
        if self._original is not None:
            aiohttp.TCPConnector.connect = self._original  # type: ignore[method-assign]
            self._original = None

    def take(self) -> set[str]:
        """The hosts that were tried, which are forgotten."""
        tried, self.tried = self.tried, set()
        return tried


@contextmanager
def no_live_requests(where: str = "this code") -> Iterator[LiveGuard]:
    """No connection to a real platform is opened inside.

    Raises:
        LiveRequest: At the end, if one was tried.
    """
    guard = LiveGuard()
    guard.install()
    try:
        yield guard
    finally:
        guard.remove()
    if tried := guard.take():
        raise LiveRequest(where, tried)


class NoLiveRequests(TestCase):
    """A base of unittest cases, also of ``IsolatedAsyncioTestCase``: a test that tries to reach a platform fails.

    ::

        class TestCheckout(NoLiveRequests, unittest.IsolatedAsyncioTestCase): ...
    """

    def setUp(self) -> None:
        super().setUp()
        guard = LiveGuard()
        guard.install()
        self.addCleanup(self._look, guard)

    def _look(self, guard: LiveGuard) -> None:
        guard.remove()
        if tried := guard.take():
            raise LiveRequest(self.id(), tried)
