"""A clock that moves only when a test says so."""

from __future__ import annotations


class ManualClock:
    """Time that stands still until it is moved; for ``Client(clock=...)``, a spool or the sandbox.

    ::

        clock = ManualClock()
        clock.advance(3600)        # an hour later, by both readings
        clock.step_wall(-3600)     # somebody sets the machine's clock back

    Args:
        now: Monotonic seconds at the start.
        wall: Seconds since the Unix epoch at the start; 2026-01-15 12:00:00 UTC unless told otherwise.

    Attributes:
        now: Monotonic seconds; may be set. Wall time moves with it.
        offset: Seconds from the monotonic reading to the wall reading; may be set.
    """

    #: Wall time at which a clock begins: 2026-01-15 12:00:00 UTC.
    START = 1_768_478_400.0

    def __init__(self, now: float = 0.0, *, wall: float = START) -> None:
        self.now = now
        self.offset = wall - now

    def monotonic(self) -> float:
        """Seconds since an arbitrary point."""
        return self.now

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return self.now + self.offset

    def advance(self, seconds: float) -> None:
        """Move both readings forward.

        Raises:
            ValueError: ``seconds`` is negative: a monotonic clock never steps back. Use :meth:`step_wall`.
        """
        if seconds < 0:
            raise ValueError("a monotonic clock never steps back; step_wall() moves the wall time alone")
        self.now += seconds

    def step_wall(self, seconds: float) -> None:
        """Move the wall time alone, as when the machine's clock is set."""
        self.offset += seconds
