"""The engine's servers, for tests of what is told about it."""

from tests.engine.conftest import other, server, short_waits

__all__ = ["other", "server", "short_waits"]
