"""A Redis of the tests' own, on a free port; or the one that ``CAPI_TEST_REDIS_URL`` names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Set where all services must be there: then their absence fails.
REQUIRED = os.environ.get("CAPI_REQUIRE_SERVICES") == "1"


def installed() -> str | None:
    """Where the server is, if it is anywhere; a server that is named counts, too."""
    return os.environ.get("CAPI_TEST_REDIS_URL") or shutil.which("redis-server") or shutil.which("valkey-server")


def program() -> str:
    """Where the server is; without one the test is skipped, or fails where services are required."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        if REQUIRED:
            pytest.fail("redis-server is required here, and not installed")
        pytest.skip("redis-server is not installed")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class RedisServer:
    """One server process with its own folder; may be killed, stopped and started again on the same port."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._options = options
        self._program = program()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, query: str = "", scheme: str = "redis") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/0{query}"

    def start(self) -> RedisServer:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", *self._options]
        log = (self.folder / "redis.log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(64)[:1] in (b"+", b"-") and b"LOADING" not in connection.recv(0):
                        return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError((self.folder / "redis.log").read_text()[-2000:])

    def kill(self) -> None:
        """As a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator does."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(20)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def serve(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server for the length of a fixture."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def shared_url(name: str = "") -> str:
    """A server that may be shared by all tests of a process, with a prefix of the caller's own."""
    given = os.environ.get("CAPI_TEST_REDIS_URL")
    prefix = f"prefix=test-{name or uuid.uuid4().hex[:12]}"
    if given:
        return f"{given}{'&' if '?' in given else '?'}{prefix}"
    return _shared().url(f"?{prefix}")


_running: list[RedisServer] = []


def _shared() -> RedisServer:
    if not _running:
        import atexit
        import tempfile

        folder = tempfile.mkdtemp(prefix="capi-redis-")
        _running.append(RedisServer(Path(folder), "--appendonly", "yes", "--appendfsync", "no").start())
        atexit.register(_end, _running[0], os.getpid())
    return _running[0]


def _end(server: RedisServer, owner: int) -> None:
    # a forked child inherits this, and must leave its parent's server alone
    if os.getpid() == owner:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
