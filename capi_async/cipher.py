"""Encryption of what is stored, with keys that can be rotated. Needs the extra ``encryption``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from typing import Any, Final

from capi_async.errors import ConfigError

_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class UnknownKey(Exception):
    """Sealed with a key that is not among those given."""


class Cipher:
    """AES-256-GCM with a fresh nonce for every row.

    Args:
        keys: The first seals; all of them open. Each is 32 bytes, as URL-safe base64.
        owner: Whose keys these are, for the errors.

    Raises:
        ConfigError: A key is malformed, or the extra is not installed.
    """

    def __init__(self, keys: Sequence[str], *, owner: str = "spool") -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigError(f"{owner}: encryption needs the extra: pip install 'capi_async[encryption]'") from None
        if not keys:
            raise ConfigError(f"{owner}: encryption needs at least one key")
        self._keys: dict[str, Any] = {}
        for number, key in enumerate(keys, 1):
            try:
                raw = base64.urlsafe_b64decode(key)
            except (binascii.Error, ValueError, TypeError):  # None: a variable that is not set
                raw = b""
            if len(raw) != _KEY_BYTES:
                raise ConfigError(
                    f"{owner}: key {number} must be 32 random bytes as URL-safe base64, as made by: python -c "
                    '"import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
                )
            self._keys[hashlib.sha256(b"capi_async spool key" + raw).hexdigest()[:16]] = AESGCM(raw)
        #: Name of the key that seals: it tells keys apart and nothing about them.
        self.name = next(iter(self._keys))

    def knows(self, name: str) -> bool:
        """Whether rows sealed with the key of this name can be opened."""
        return name in self._keys

    def seal(self, data: bytes, context: str) -> bytes:
        """Encrypt; ``context`` must be the same when it is opened."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = self._keys[self.name].encrypt(nonce, data, context.encode())
        return nonce + sealed

    def open(self, data: bytes, name: str, context: str) -> bytes:
        """Decrypt.

        Raises:
            UnknownKey: Sealed with another key.
            ValueError: The bytes, or their context, are not what was sealed.
        """
        from cryptography.exceptions import InvalidTag

        key = self._keys.get(name)
        if key is None:
            raise UnknownKey(name)
        try:
            opened: bytes = key.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode())
        except InvalidTag:
            raise ValueError("damaged, or sealed for another place") from None
        return opened
