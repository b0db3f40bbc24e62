"""Notes of the processes that share a spool file: one small file each, in a directory beside it, never synced."""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from capi_async.errors import SpoolError
from capi_async.thread import aside

#: Notes that are read, and bytes of one.
_MOST, _MOST_BYTES = 256, 16 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,100}")


class FileBoard:
    """See :class:`~capi_async.spool.base.Board`. A note's end is its file's time of change.

    Args:
        path: Of the spool file.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._directory = path.with_name(path.name + "-board")
        self._now = now

    async def put(self, name: str, note: bytes, seconds: float) -> None:
        """See :meth:`~capi_async.spool.base.Board.put`."""
        await aside(lambda: self._put(name, note, seconds))

    async def note(self, name: str) -> bytes | None:
        """See :meth:`~capi_async.spool.base.Board.note`. Notes that are waited for are small, and read at once."""
        path = self._directory / name
        try:
            about = path.lstat()
            return path.read_bytes() if about.st_mtime > self._now() and self._is_note(name, about) else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SpoolError(f"{path} cannot be read: {error.strerror}") from error

    async def notes(self) -> Mapping[str, bytes]:
        """See :meth:`~capi_async.spool.base.Board.notes`."""
        return await aside(self._notes)

    def _put(self, name: str, note: bytes, seconds: float) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(name)
        try:
            self._prepare()
            # written beside and renamed: whoever reads sees a whole note, or the one before
            fresh = self._directory / f".{name}.{secrets.token_hex(4)}"
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(file, "wb") as opened:
                    opened.write(note)
                ends = self._now() + seconds
                os.utime(fresh, (ends, ends))
                self._give(fresh)
                fresh.rename(self._directory / name)
            except BaseException:
                with suppress(OSError):
                    fresh.unlink()
                raise
        except OSError as error:
            raise SpoolError(f"{self._directory}: no note can be left here: {error.strerror}") from error

    def _prepare(self) -> None:
        with suppress(FileExistsError):
            self._directory.mkdir(mode=0o700)
            self._give(self._directory)
        found = self._directory.lstat()
        if found.st_uid not in (os.geteuid(), self._owner()) or found.st_mode & 0o022:
            raise SpoolError(f"{self._directory} is not its owner's alone: remove it, and it is made anew")

    def _owner(self) -> int:
        return self._path.stat().st_uid

    def _give(self, path: Path) -> None:
        """What root makes belongs to whoever has the spool, so that its processes can read it."""
        if os.geteuid() == 0 and self._owner() != 0:
            os.chown(path, self._owner(), -1, follow_symlinks=False)

    def _notes(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        now = self._now()
        try:
            with os.scandir(self._directory) as entries:
                for entry in list(entries)[: 4 * _MOST]:
                    about = entry.stat(follow_symlinks=False)
                    if about.st_mtime <= now:
                        # also what a process left that died while it wrote; one that still writes has a time to come
                        if about.st_mtime < now - 60.0:
                            with suppress(OSError):
                                Path(entry.path).unlink()
                    elif self._is_note(entry.name, about) and len(found) < _MOST:
                        with suppress(FileNotFoundError):
                            found[entry.name] = Path(entry.path).read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SpoolError(f"{self._directory}: its notes cannot be read: {error.strerror}") from error
        return found

    def _is_note(self, name: str, about: os.stat_result) -> bool:
        return stat.S_ISREG(about.st_mode) and about.st_size <= _MOST_BYTES and _NAME.fullmatch(name) is not None
