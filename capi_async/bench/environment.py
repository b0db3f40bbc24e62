"""Where the peers live: an environment of their own, made on demand, or the one that this Python runs in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from capi_async.bench.contenders import PEERS

#: What the harness's own part of a peer's process needs, what posthog's client for asyncio does, and the loop that an
#: asynchronous one gets as ours does.
_NEEDED: Final = ("msgspec", "httpx") if os.name == "nt" else ("msgspec", "httpx", "uvloop")


def default_folder() -> Path:
    """In the user's cache, one per version of Python."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "capi_async" / f"bench-py{sys.version_info.major}.{sys.version_info.minor}"


class Peers:
    """Finds each peer: first in ``folder``, at the pinned version, then beside this Python, at the user's version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def install(self, names: Iterable[str] = PEERS) -> None:
        """Make the environment and fill it from the package index.

        Raises:
            RuntimeError: The index or an installation failed; the text is pip's last line.
        """
        if not self._python.exists():
            self._run([sys.executable, "-m", "venv", "--without-pip", str(self._folder)])
        wanted = [f"{name}=={PEERS[name]}" for name in names if self._version(name) != PEERS[name]]
        wanted += [name for name in _NEEDED if self._version(name) is None]
        if wanted:
            pip = [sys.executable, "-m", "pip", "--python", str(self._python), "--disable-pip-version-check"]
            self._run([*pip, "install", "--quiet", "--progress-bar", "off", *wanted])

    def command(self, name: str, script: str) -> list[str] | None:
        """How to run ``script`` with this peer, or ``None`` if it is nowhere."""
        if self._version(name) is not None:
            return [str(self._python), script]
        try:
            version(name)
        except PackageNotFoundError:
            return None
        return [sys.executable, script]

    def _version(self, name: str) -> str | None:
        if not self._python.exists():
            return None
        code = f"from importlib.metadata import version; print(version({name!r}))"
        ended = subprocess.run([self._python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
        return ended.stdout.strip() or None

    @staticmethod
    def _run(command: list[str]) -> None:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if ended.returncode:
            last = (ended.stderr.strip().splitlines() or ["no text"])[-1]
            raise RuntimeError(f"{' '.join(command[1:4])} failed: {last}")
