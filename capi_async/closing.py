"""What a client leaves behind when it is closed, or when nobody closes it, and how it says so."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping

from msgspec import Struct

from capi_async.log import Log
from capi_async.outcome import Outcome
from capi_async.spool.base import Ledger, Spool

#: The client's own: what it says is said under its name.
logger = Log("capi_async.client")


class CloseReport(Struct, frozen=True, kw_only=True):
    """What ``aclose`` left behind.

    Attributes:
        ledger: Destination to counts, at the end.
        pending: Destination to events that were not settled before the deadline; empty if none.
        unstored: Events that callers had handed in and that never reached the spool (their callers were told).
        where: Where the pending events lie.
        unanswered: Requests that were under way at the deadline: what they carried may have arrived.
        unknown: Events that storage was taking at the deadline: they may be stored, and delivered later (their
            callers were told that, too).
    """

    ledger: Mapping[str, Ledger]
    pending: Mapping[str, int]
    unstored: int
    where: str
    unanswered: int = 0
    unknown: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing was left."""
        return not self.pending and not self.unstored and not self.unknown


def pending_of(ledger: Mapping[str, Ledger]) -> dict[str, int]:
    """Destination to events that are not settled; those without any are left out."""
    return {name: counts.pending for name, counts in ledger.items() if counts.pending}


def close_report(spool: Spool, *, unstored: int, unanswered: int = 0, unknown: int = 0) -> CloseReport:
    """What would be left behind at this moment; the arguments are as :class:`CloseReport` says."""
    ledger = spool.ledger()
    return CloseReport(
        ledger=ledger,
        pending=pending_of(ledger),
        unstored=unstored,
        unanswered=unanswered,
        unknown=unknown,
        where=spool.where,
    )


def say_waiting(
    log: Callable[..., None], name: str, left: int, waiting: Outcome, spool: Spool, within_s: float
) -> None:
    """The caller goes on while events of destination ``name`` wait for its next call, and why.

    Args:
        log: Logs a line of a kind, as :meth:`capi_async.engine.notices.Notices.note` does.
        within_s: The seconds for which the platform's answers were waited for.
    """
    log(
        logging.WARNING,
        ("left", name),
        "%s: %d events are not delivered yet%s; they wait %s for the next call%s",
        name,
        left,
        f" ({waiting.reason})" if waiting.reason else f" after {within_s:g} s",
        f"in {spool.where}" if spool.durable else "in memory",
        "" if spool.durable else ", and are lost if this process ends before: raise flush_s, or use a durable spool",
        extra={"destination": name, "pending": left, "reason": waiting.reason, "fix": waiting.fix},
    )


def say_left(report: CloseReport, *, durable: bool) -> None:
    """What a close leaves in memory is lost, unless the client is entered again: nothing else will say so."""
    for name, count in ({} if durable else report.pending).items():
        logger.error(
            "%s: closed with %d events undelivered in memory; they are lost with this process: "
            "close with a longer deadline, or use a durable spool",
            name,
            count,
            extra={"destination": name, "pending": count},
        )
    if report.unstored:
        logger.error(
            "closed with %d events that were never stored; their callers were told",
            report.unstored,
            extra={"unstored": report.unstored},
        )


def say_unclosed(client: object, pending: Mapping[str, int], unstored: int) -> None:
    """A client is collected that was never closed, and with it what waits."""
    counts = ", ".join(f"{name}: {count}" for name, count in pending.items())
    logger.error(
        "%r was never closed: events in memory are lost (%s; %d not stored): use 'async with', or await aclose()",
        client,
        counts or "none stored",
        unstored,
    )
    # the line of the warning is that at which the client was collected, two calls above
    warnings.warn(
        f"unclosed {client!r}, events lost: {counts or unstored}", ResourceWarning, source=client, stacklevel=3
    )
