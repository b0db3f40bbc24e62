"""Encryption of what a spool stores: each thing for its place, so that moved to another place it does not decrypt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from capi_async.cipher import Cipher, UnknownKey

#: What identifies one stored thing: its kind, its destination, and what distinguishes it from others of that kind.
Place: TypeAlias = tuple[str | int | float, ...]

Seal: TypeAlias = Callable[[bytes, Place], tuple[str, bytes]]
OpenSealed: TypeAlias = Callable[[bytes, str, Place], bytes]

#: Prefix of the key's name where the place is part of the seal. Names without it are of earlier releases, whose
#: seal named the destination only. Neither seal opens in the form of the other.
_BOUND: Final = "2:"

#: What the log says of things that were stored in clear, or by an earlier release, and are not accepted.
NOT_SEALED: Final = (
    "they are not encrypted, though keys= is given: if they were stored before there were keys, add plain=accept to "
    "the spool's address until they are gone; else somebody else may write there"
)
SEALED_EARLIER: Final = (
    "they were encrypted by an earlier release, which did not bind them to their place, so that anybody who may write "
    "there can have exchanged or repeated them: if they are your own, add old_seals=accept to the spool's address "
    "until they are gone"
)

#: And of things that were encrypted with a key that is not among those given.
OTHER_KEY: Final = "they are encrypted with another key: add it to keys= in the spool's address"

#: And of things that this process has settled, and that are there again.
REPEATED: Final = "they were settled here before, and somebody has written them there once more"

#: Most settled things that are recognised.
_MAX_SETTLED: Final = 20_000


class NotSealed(UnknownKey):
    """Stored in clear where everything is to be encrypted: anyone with write access may have made it."""


class SealedEarlier(UnknownKey):
    """Sealed by an earlier release for its destination only: anyone with write access may have moved it."""


def why_refused(error: UnknownKey) -> str:
    """What to say of stored things that cannot be decrypted, or may not be accepted, and what to do about it."""
    if isinstance(error, NotSealed):
        return NOT_SEALED
    return SEALED_EARLIER if isinstance(error, SealedEarlier) else OTHER_KEY


class Sealing:
    """Encrypts and decrypts for one spool.

    Args:
        keys: The first seals, all of them open; without any, everything is stored in clear.
        plain: What was stored in clear is accepted although there are keys.
        old_seals: What an earlier release sealed is accepted.
        spool: Distinguishes this spool from others with the same keys, as a part of every seal.

    Raises:
        ConfigError: A key is malformed, or the extra ``encryption`` is not installed.
    """

    def __init__(self, keys: Sequence[str], *, plain: bool = False, old_seals: bool = False, spool: str = "") -> None:
        self._cipher = Cipher(keys) if keys else None
        self._plain = plain
        self._old_seals = old_seals
        self._seen: dict[int | str, str] = {}
        self._spool = spool
        #: What is stored with the sealed bytes: the form of the seal and the name of the key; empty if in clear.
        self.name = f"{_BOUND}{self._cipher.name}" if self._cipher else ""

    @property
    def encrypts(self) -> bool:
        """Whether there are keys."""
        return self._cipher is not None

    def seal(self, data: bytes, place: Place) -> tuple[str, bytes]:
        """The name to store with it, and the bytes to store."""
        if self._cipher is None:
            return "", data
        return self.name, self._cipher.seal(data, self._context(place))

    def open(self, data: bytes, name: str, place: Place) -> bytes:
        """What was sealed under this name for this place.

        Raises:
            NotSealed: It is in clear, and ``plain`` is not accepted.
            SealedEarlier: An earlier release sealed it, and ``old_seals`` is not accepted.
            UnknownKey: There is no such key.
            ValueError: It is damaged, or was sealed for another place.
        """
        self.check(name)
        if self._cipher is None or not name:
            return data
        if name.startswith(_BOUND):
            return self._cipher.open(data, name.removeprefix(_BOUND), self._context(place))
        return self._cipher.open(data, name, str(place[1]))

    def check(self, name: str) -> None:
        """See that what is stored under this name is accepted.

        Raises:
            NotSealed, SealedEarlier, UnknownKey: See :meth:`open`.
        """
        if not name:
            if self._cipher is not None and not self._plain:
                raise NotSealed(name)
            return
        if self._cipher is None or not self._cipher.knows(name.removeprefix(_BOUND)):
            raise UnknownKey(name)
        if not (name.startswith(_BOUND) or self._old_seals):
            raise SealedEarlier(name)

    def is_repeated(self, thing: int | str, at: str = "") -> bool:
        """Whether :meth:`note` was called for this thing, with another place than ``at``."""
        return self._seen.get(thing, at) != at

    def note(self, thing: int | str, at: str) -> None:
        """Note the only place of a thing. Of many things, the oldest are forgotten."""
        if self._cipher is not None:
            self._seen[thing] = at
            if len(self._seen) > _MAX_SETTLED:
                del self._seen[next(iter(self._seen))]

    def _context(self, place: Place) -> str:
        # as JSON: no two places have the same text
        return msgspec.json.encode((self._spool, *place)).decode()
