"""Files that only their owner may read, locks between the processes of one host, and checks of file systems."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from capi_async.errors import ConfigError, SpoolError

#: Where a lock and shared memory of one host mean nothing to the next: network disks, and folders of a host that are
#: shown to a guest or a container.
_NETWORK: Final = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "fuse.sshfs", "fuse.glusterfs", "glusterfs", "lustre", "afs",
     "fuse.s3fs", "fuse.gcsfuse", "gpfs", "beegfs", "ocfs2", "gfs2", "fuse.cephfs", "ncpfs", "coda", "9p", "virtiofs",
     "vboxsf", "vmhgfs", "prl_fs", "drvfs", "davfs", "fuse.davfs", "fuse.grpcfuse", "fuse.osxfs", "fuse.vmhgfs-fuse",
     "fuse.rclone", "fuse.juicefs", "fuse.goofys", "fuse.mount-s3", "fuse.blobfuse", "fuse.blobfuse2", "fuse.seaweedfs",
     "fuse.mfs", "fuse.cvmfs2", "fuse.lustre", "fuse.nfs", "fuse.smbnetfs", "fuse.curlftpfs")
)  # fmt: skip
#: File systems in user space that keep what they hold on this host.
_LOCAL_FUSE: Final = frozenset(
    ("fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.gocryptfs", "fuse.encfs", "fuse.bindfs", "fuse.lxcfs", "fuse.ext4",
     "fuse.ext2", "fuse.ntfs-3g", "fuse.exfat", "fuse.zfs")
)  # fmt: skip
#: Blanks and backslashes in the names of mount points, as the system writes them.
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_SIDES: Final = ("", "-wal", "-shm")

logger = logging.getLogger(__name__)

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """An exclusive ``flock`` on a file of mode 0600. It ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)
        self._file = -1
        #: Device and inode of the file that is open.
        self._identity = (0, 0)

    def acquire(self, *, wait: bool) -> bool:
        """Take it; False if another holds it and ``wait`` is False."""
        while True:
            if self._file < 0:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                _watch_forks()
                _held.add(self)
                found = os.fstat(self._file)
                self._identity = (found.st_dev, found.st_ino)
                if found.st_uid != os.geteuid():
                    self.close()  # whoever put it there could hold it for ever
                    raise PermissionError(errno.EPERM, f"{self.path.name} belongs to another user")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                return False
            if self.in_place():
                return True
            # deleted, as by whoever tidies up: the next process makes another one, and would be locked out by nobody
            self.close()

    def in_place(self) -> bool:
        """Whether the file that is open is still the one that its name leads to."""
        if self._file < 0:
            return False
        try:
            found = os.lstat(self._name)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    @property
    def file(self) -> int:
        """Its descriptor, while it is open."""
        return self._file

    def release(self) -> None:
        """Let others have it; the file stays open."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of it and of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold it, waiting in the kernel's queue of writers."""
        self.acquire(wait=True)
        try:
            yield
        finally:
            self.release()


def _close_inherited() -> None:
    # a forked child shares the parent's lock: it must not keep a dead parent alive
    for lock in list(_held):
        with suppress(OSError):
            lock.close()


_watching: list[bool] = []


def _watch_forks() -> None:
    if not _watching:
        _watching.append(True)
        os.register_at_fork(after_in_child=_close_inherited)


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock file; a missing one is free."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def create_private(path: Path) -> bool:
    """Make an empty file that only its owner may read; False if it exists."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        return False
    sync_directory(path.parent)
    return True


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def set_aside(path: Path) -> Path:
    """Rename a damaged database with its side files, beyond reach of whoever opens the name next."""
    target = aside_name(path)
    for side in _SIDES:
        old, new = path.with_name(path.name + side), target.with_name(target.name + side)
        with suppress(FileNotFoundError):
            if not old.is_symlink():  # what a link leads to is not ours to change
                old.chmod(0o600)
            old.rename(new)
    sync_directory(path.parent)
    return target


def aside_name(path: Path) -> Path:
    """A name beside a damaged database that no other file has."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    return target


def refuse_planted(path: Path) -> None:
    """What lies under a spool's names must be this user's own.

    Raises:
        SpoolError: Somebody else made it, and may read it or change it; or it is no file.
    """
    shared = path.parent.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    for side in _SIDES:
        file = path.with_name(path.name + side)
        try:
            found = file.lstat()
            if stat.S_ISLNK(found.st_mode):
                if shared or found.st_uid not in (0, os.geteuid()):
                    raise SpoolError(
                        f"{file} cannot be used: it is a link in a directory that others may write; give the path of "
                        "the file itself, or choose a directory of your own"
                    )
                found = file.stat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise SpoolError(f"{file} cannot be used: it is no file")
        if found.st_uid != os.geteuid():
            raise SpoolError(
                f"{file} cannot be used: it belongs to another user (uid {found.st_uid}), who may read and change what "
                "is stored; run this as that user, or choose another file"
            )


def refuse_network(path: Path) -> None:
    """Locks and shared memory do not work there.

    Raises:
        ConfigError: The directory lies on a network file system, as far as the system tells.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return
    kind = file_system(path.resolve(), mounts)
    if kind in _NETWORK:
        raise ConfigError(
            f"spool: {path} lies on a file system that others share ({kind}), where locks and shared memory mean "
            "nothing; use a local disk, or the redis spool"
        )
    if (kind == "fuse" or kind.startswith("fuse.")) and kind not in _LOCAL_FUSE:
        logger.warning(
            "spool: %s lies on a file system in user space (%s): if another host can reach it, or it does not know "
            "locks and shared memory, events get lost; a local disk is safe",
            path, kind, extra={"path": str(path), "kind": kind},
        )  # fmt: skip


def file_system(path: Path, mounts: str) -> str:
    """Type of the file system a path lies on, by the text of ``/proc/self/mountinfo``; empty if it does not tell."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])
        # later mounts on the same point hide earlier ones
        if path.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), after.split()[0]
    return kind
