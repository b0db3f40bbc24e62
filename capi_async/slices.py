"""The body of a request, in slices that are joined when they are sent."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import eq
from typing import Final, overload

#: Bytes of one slice, about: writing more at once holds the event loop.
SLICE_BYTES: Final = 128 * 1024


class Slices(Sequence[bytes]):
    """Bodies with commas between them, in slices of about :data:`SLICE_BYTES`.

    A slice is joined whenever it is read: to join thousands of bodies at once holds the event loop for more than a
    millisecond, and fills memory that no cache holds any more when it is sent.

    Args:
        sizes: Bytes of each body: none is larger than a slice.

    Attributes:
        size: Bytes of all slices together.
    """

    __slots__ = ("_bodies", "_cuts", "_prefix", "_suffix", "size")

    def __init__(self, prefix: bytes, bodies: Sequence[bytes], suffix: bytes, sizes: Sequence[int]) -> None:
        self._prefix = prefix
        self._bodies = bodies
        self._suffix = suffix
        sums = list(accumulate(sizes))
        self.size = len(prefix) + sums[-1] + len(bodies) - 1 + len(suffix)
        cuts = [bisect_right(sums, most) for most in range(SLICE_BYTES, sums[-1], SLICE_BYTES)]
        self._cuts = [0, *cuts, len(bodies)]

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __iter__(self) -> Iterator[bytes]:
        return map(self._slice, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...
    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        if isinstance(index, slice):
            return tuple(map(self._slice, range(len(self))[index]))
        return self._slice(range(len(self))[index])

    def __eq__(self, other: object) -> bool:
        """Whether the same bytes are sent, in the same slices; ``other`` may be a tuple as well."""
        if not isinstance(other, (Slices, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    def _slice(self, index: int) -> bytes:
        parts = list(self._bodies[self._cuts[index] : self._cuts[index + 1]])
        if index == 0:
            parts[0] = self._prefix + parts[0]
        if index == len(self) - 1:
            parts[-1] += self._suffix
        else:
            parts.append(b"")  # for the comma before the next slice
        return b",".join(parts)


def json_slices(prefix: bytes, bodies: Sequence[bytes], suffix: bytes) -> Sequence[bytes]:
    """``prefix``, the bodies with commas between them, and ``suffix``, in slices of about 128 KiB.

    The bodies must stay as they are until the request is sent.
    """
    sizes = list(map(len, bodies))
    size = sum(sizes)
    if size <= SLICE_BYTES:
        return (b"%b%b%b" % (prefix, b",".join(bodies), suffix),)
    if max(sizes) <= SLICE_BYTES and set(map(type, bodies)) == {bytes}:
        return Slices(prefix, bodies, suffix, sizes)
    whole = b"%b%b%b" % (prefix, b",".join(bodies), suffix)
    return tuple([whole[at : at + SLICE_BYTES] for at in range(0, len(whole), SLICE_BYTES)])
