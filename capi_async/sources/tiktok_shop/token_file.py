"""Tokens in an encrypted file that the processes of one host share."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import msgspec

from capi_async.cipher import Cipher, UnknownKey
from capi_async.files import Lock, sync_directory
from capi_async.sources.tiktok_shop.errors import TokenStoreError
from capi_async.sources.tiktok_shop.models import TokenSet

_MAGIC: Final = b"capi_async tiktok_shop tokens 2"
#: Of files sealed before their place was part of the seal: they are sealed anew when they are read first.
_OLD_MAGIC: Final = b"capi_async tiktok_shop tokens 1"
_CONTEXT: Final = "tiktok_shop tokens"
_LOCK_POLL_S: Final = 0.02
#: Made here and not at the first file, which a thread reads.
_TOKENS: Final = msgspec.json.Decoder(TokenSet)

logger = logging.getLogger(__name__)


class EncryptedFileTokens:
    """Keeps the pair in an encrypted file that the processes of one host share. Needs the extra ``encryption``.

    The file has mode 0600 and is replaced as a whole; ``<path>.lock`` beside it queues those who refresh. It is sealed
    for its place: put in the place of another, it does not open. A file of an earlier release, which was not, is sealed
    anew when it is read first.

    Args:
        path: The file; its directory must exist and lie on a local disk.
        keys: The first seals, all of them open. Each is 32 random bytes as URL-safe base64.
        lock_timeout_s: Seconds to wait for another process's refresh.
        place: What stands for its place; by default its absolute path. Needed where that differs between those who use
            the file, as on a host and in its container: any name that no other file with these keys has.

    Raises:
        ConfigError: A key is malformed, or the extra is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        keys: str | Sequence[str],
        *,
        lock_timeout_s: float = 90.0,
        place: str | None = None,
    ) -> None:
        self._path = Path(path)
        # at once: the directory that a name is relative to may change while the program runs
        self._context = f"{_CONTEXT}\n{Path(path).absolute() if place is None else place}"
        self._cipher = Cipher([keys] if isinstance(keys, str) else keys, owner="tokens")
        self._lock_timeout_s = lock_timeout_s

    async def load(self) -> TokenSet | None:
        """See :meth:`TokenStore.load`.

        Raises:
            TokenStoreError: The file cannot be read, or none of the keys opens it.
        """
        return await asyncio.to_thread(self._load)

    async def save(self, tokens: TokenSet) -> None:
        """See :meth:`TokenStore.save`; on return the file is on disk.

        Raises:
            TokenStoreError: It cannot be written.
        """
        await asyncio.to_thread(self._save, tokens)

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Held by one process at a time; it ends with the process, however that ends.

        Raises:
            TokenStoreError: Another process held it for longer than ``lock_timeout_s``.
        """
        # an object of its own each time: flock queues descriptors, and a shared one would queue nobody
        lock = Lock(self._path.with_name(f"{self._path.name}.lock"))
        try:
            try:
                with anyio.fail_after(self._lock_timeout_s):
                    # asked again and again, because a thread that waits in the kernel cannot be cancelled
                    while not lock.acquire(wait=False):  # noqa: ASYNC110 - nothing in this process could wake us
                        await anyio.sleep(_LOCK_POLL_S)
            except TimeoutError:
                raise TokenStoreError(f"tokens: {lock.path} has been held by another process for too long") from None
            except OSError as error:
                raise TokenStoreError(f"tokens: {lock.path} cannot be opened ({type(error).__name__})") from error
            yield
        finally:
            lock.close()

    def _load(self) -> TokenSet | None:
        try:
            sealed = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TokenStoreError(f"tokens: {self._path} cannot be read ({type(error).__name__})") from error
        magic, _, rest = sealed.partition(b"\n")
        name, _, data = rest.partition(b"\n")
        if magic not in (_MAGIC, _OLD_MAGIC):
            raise TokenStoreError(f"tokens: {self._path} holds no tokens of this package")
        context = self._context if magic == _MAGIC else _CONTEXT
        try:
            tokens = _TOKENS.decode(self._cipher.open(data, name.decode("ascii", "replace"), context))
        except UnknownKey:
            raise TokenStoreError(f"tokens: {self._path} was sealed with a key that is not among those given") from None
        except (ValueError, msgspec.MsgspecError):
            raise TokenStoreError(
                f"tokens: {self._path} is damaged, or was sealed for another place; a file that is reached by "
                "different paths needs the same place= everywhere, one that was moved needs its old path as place="
            ) from None
        if magic == _OLD_MAGIC:
            self._seal_anew(sealed, tokens)
        return tokens

    def _seal_anew(self, old: bytes, tokens: TokenSet) -> None:
        """Seal a file of an earlier release for its place, unless somebody else writes it at this moment."""
        lock = Lock(self._path.with_name(f"{self._path.name}.lock"))
        try:
            # whoever holds it refreshes, and writes the new form itself
            if lock.acquire(wait=False) and self._path.read_bytes() == old:
                self._save(tokens)
                logger.info("tokens: %s was sealed anew, for its place", self._path)
        except (OSError, TokenStoreError):
            logger.warning("tokens: %s cannot be sealed anew: it cannot be written", self._path)
        finally:
            lock.close()

    def _save(self, tokens: TokenSet) -> None:
        sealed = self._cipher.seal(msgspec.json.encode(tokens), self._context)
        content = b"%b\n%b\n%b" % (_MAGIC, self._cipher.name.encode(), sealed)
        new = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(file, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                new.replace(self._path)
            except BaseException:
                with suppress(FileNotFoundError):
                    new.unlink()
                raise
            sync_directory(self._path.parent)
        except OSError as error:
            raise TokenStoreError(f"tokens: {self._path} cannot be written ({type(error).__name__})") from error

    def __repr__(self) -> str:
        return f"EncryptedFileTokens({str(self._path)!r})"
