"""Faults on demand: which request of a platform goes wrong, and how."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, Literal, get_args

from msgspec import Struct

Kind = Literal["status", "latency", "reset_before", "reset_after", "hang", "truncate", "html"]
KINDS: tuple[str, ...] = get_args(Kind)

EVERY = "*"


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way in which requests go wrong.

    Attributes:
        platform: Prefix of the platform, or ``*`` for all.
        path: Only requests whose path behind the prefix begins with this.
        kind: ``status``: answered with that status, not handled. ``latency``: handled at once, answered
            late. ``reset_before``:
            connection reset, not handled. ``reset_after``: handled, then connection reset instead of an answer.
            ``hang``: never answered, not handled (or handled first, see ``after``). ``truncate``: handled, then the
            answer's body is cut in the middle. ``html``: status 200 with an error page, not handled.
        status: For ``status``.
        rate: Share of requests, 0 to 1.
        retry_after_s: Seconds in a ``Retry-After`` header (and the platform's own like it); absent when ``None``.
        latency_s: Seconds to wait, for ``latency``.
        count: At most this many times per platform.
        after: For ``hang``: handle the request first.
        body: For ``status``: this body instead of the platform's own; a string is sent as it is, anything else as JSON.
    """

    kind: Kind
    platform: str = EVERY
    path: str = ""
    status: int = 503
    rate: float = 1.0
    retry_after_s: float | None = None
    latency_s: float = 1.0
    count: int | None = None
    after: bool = False
    body: Any = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if not 0 <= self.rate <= 1:
            raise ValueError("rate must be between 0 and 1")
        if not 200 <= self.status <= 599:
            raise ValueError("status must be between 200 and 599")
        if self.latency_s < 0 or (self.retry_after_s or 0) < 0:
            raise ValueError("latency_s and retry_after_s must not be negative")
        if self.count is not None and self.count < 0:
            raise ValueError("count must not be negative")


class Faults:
    """The active faults, and one seeded generator per platform.

    Every matching fault draws once per request, whether or not another one fires, so that a platform's n-th request
    meets the same fate on every run with the same seed and the same faults.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._numbers = count(1)
        self._active: list[tuple[int, Fault, Counter[str]]] = []
        self._random: dict[str, random.Random] = {}

    def __iter__(self) -> Iterator[Fault]:
        return (fault for _, fault, _ in self._active)

    def numbered(self) -> list[tuple[int, Fault]]:
        """Each with a number that no other one ever has."""
        return [(number, fault) for number, fault, _ in self._active]

    def add(self, fault: Fault) -> None:
        self._active.append((next(self._numbers), fault, Counter()))

    def remove(self, number: int) -> None:
        """Take away the one of this number, if it is still there."""
        self._active = [one for one in self._active if one[0] != number]

    def clear(self) -> None:
        self._active.clear()

    def choose(self, platform: str, path: str = "") -> tuple[float, Fault | None]:
        """Seconds of latency for the next request, and the fault that befalls it."""
        if not self._active:
            return 0.0, None
        source = self._random.get(platform)
        if source is None:
            source = self._random[platform] = random.Random(f"{self._seed}:{platform}:faults")
        latency_s, chosen = 0.0, None
        for _, fault, fired in self._active:
            if fault.platform not in (platform, EVERY) or not path.startswith(fault.path):
                continue
            if source.random() >= fault.rate or fired[platform] == fault.count:
                continue
            if fault.kind == "latency":
                latency_s += fault.latency_s
            elif chosen is None:
                chosen = fault
            else:
                continue
            fired[platform] += 1
        return latency_s, chosen
