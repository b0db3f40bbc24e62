"""Types that decoders read, made ready while their module is imported."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def ready(kind: type[T]) -> type[T]:
    """Have msgspec learn a struct's fields now, in the one thread that imports; for use as a decorator too.

    It learns them when the type is first read, and what it has learnt by half is already visible to other threads:
    two threads whose first events came at the same moment crashed the process.
    """
    msgspec.json.Decoder(kind)
    return kind
