"""The first page: how every destination does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlencode

from capi_async.dashboard.source import View
from capi_async.pages.markup import Content, Html, tag
from capi_async.pages.parts import Mood, bars, facts, mark, span
from capi_async.spool.base import Ledger
from capi_async.telemetry.snapshot import DestinationSnapshot
from capi_async.watch.history import LOST, REFUSED, Rate, columns, columns_of_minutes
from capi_async.watch.seen import Told

#: What a chart covers: hours, in so many bars.
_HOURS, _BARS = 4, 48
_KINDS: Final = ("delivered", "refused", "lost")
_MOODS: Final[dict[str, Mood]] = {"open": "ok", "broken": "bad", "paused": "bad"}
_SAID: Final = {
    "broken": "does not answer",
    "paused": "refuses the account",
    "open": "open",
    "unknown": "state not known",
}
#: The worst state comes first.
_ORDER: Final = ("paused", "broken", "open")
#: Seconds of a request from which on a destination is pointed at.
_SLOW_S: Final = 2.0
#: Share of events refused or lost from which a destination is pointed at.
_MANY: Final = 0.01


def overview(view: View) -> Html:
    """The content of the page."""
    names = view.names()
    if not names:
        return tag("p", "Nothing has been accepted yet.", class_="quiet")
    return tag(
        "div",
        tag("p", view.trouble, class_="bad") if view.trouble else None,
        tag("p", _summary(view), class_="quiet"),
        tag("h2", "What to do"),
        _to_do(view, names),
        tag("h2", "Destinations"),
        tag("div", [_card(view, name) for name in names], class_="cards"),
        _processes(view.told),
    )


def _summary(view: View) -> str:
    waiting = sum(counts.pending for counts in view.ledger.values())
    accepted = sum(rate.accepted for rate in view.rates.values())
    settled = sum(rate.settled for rate in view.rates.values())
    return f"{waiting:,} waiting ({view.where}); {accepted:,.1f} a second accepted, {settled:,.1f} settled."


def _to_do(view: View, names: Sequence[str]) -> Html:
    """What a person must know at once, with what to do about it; each destination is named."""
    lines: list[Html] = []
    for name in names:
        one = _worst(view, name)
        counts = view.ledger.get(name, Ledger())
        if one is not None and (line := _hindered(name, one, counts.pending)) is not None:
            lines.append(line)
        lines += _not_delivered(name, one, counts)
    if not lines:
        return tag("p", mark("ok", "Nothing"), ": every destination takes events, and none were lost.")
    return tag("ul", lines)


def _hindered(name: str, one: DestinationSnapshot, pending: int) -> Html | None:
    """What keeps a destination from taking events at the usual speed; ``None``: nothing."""
    if one.state != "open":
        oldest = f", the oldest for {span(one.oldest_s)}" if one.oldest_s else ""
        return tag(
            "li",
            mark("bad", f"{name}: {_SAID[one.state]}"),
            f": {one.reason or 'no reason given'}. {pending:,} events wait{oldest}.",
            f" To do: {one.fix}." if one.fix else _usual(one.state),
        )
    if one.throttled or (one.rate_factor < 1 and one.limiter_wait_s > 1):
        return tag(
            "li",
            mark("warn", f"{name}: slowed down by the platform"),
            f": {one.throttled or 'it has asked for less'}. The next request leaves in "
            f"{span(one.limiter_wait_s)}, {pending:,} events wait. "
            "To do: nothing, unless it goes on; then send less, or ask the platform for a higher limit.",
        )
    if one.request.p95_s is not None and one.request.p95_s >= _SLOW_S:
        return tag(
            "li",
            mark("warn", f"{name}: answers slowly"),
            f": 95 % of its requests take up to {span(one.request.p95_s)}, {pending:,} events wait. "
            "To do: see the platform's status page and your network; nothing is lost.",
        )
    return None


def _not_delivered(name: str, one: DestinationSnapshot | None, counts: Ledger) -> Iterator[Html]:
    """Of events that ended otherwise: those that were lost, and those that were rejected, if they are many."""
    if lost := sum(getattr(counts, kind) for kind in LOST):
        yield tag(
            "li", mark("bad", f"{name}: {lost:,} lost"), ": ended dead, uncertain, expired or dropped",
            _mostly(one, LOST), ". To do: mend the cause, then replay what is kept: ",
            tag("a", "the dead letters by reason", href="./letters"), ".",
        )  # fmt: skip
    settled = max(1, counts.settled)
    if counts.rejected and counts.rejected >= _MANY * settled:
        yield tag(
            "li", mark("warn", f"{name}: {counts.rejected:,} rejected"),
            f": {counts.rejected / settled:.0%} of what was settled", _mostly(one, ("rejected",)),
            ". To do: mend these events where they are made: ",
            tag("a", "recent ones with their reasons", href=_rejected(name)), ".",
        )  # fmt: skip


def _mostly(one: DestinationSnapshot | None, kinds: Sequence[str]) -> str:
    """The reason that the latest of these ends have most often, and what helps against it."""
    found = Counter(
        (ended.outcome.field, ended.outcome.reason, ended.outcome.fix)
        for ended in (() if one is None else one.undelivered)
        if ended.outcome.kind in kinds
    )
    if not found:
        return ""
    (field, reason, fix), _ = found.most_common(1)[0]
    said = f", mostly {field}: {reason}" if field else f", mostly {reason or 'without a reason'}"
    return f"{said} ({fix})" if fix else said


def _rejected(name: str) -> str:
    return "./events?" + urlencode({"kind": "rejected", "destination": name}, errors="replace")


def _usual(state: str) -> str:
    if state == "broken":
        return " To do: see the platform's status page and your network; events are tried again by themselves."
    return " To do: check the account and its access token; sending goes on by itself once the platform takes it."


def _worst(view: View, name: str) -> DestinationSnapshot | None:
    """The worst of it among the processes that deliver, or else among all that tell of themselves."""
    every = [
        (one.snapshot.delivers, one.snapshot.destinations[name])
        for one in view.told
        if name in one.snapshot.destinations
    ]
    found = [one for delivers, one in every if delivers] or [one for _, one in every]
    return min(found, key=lambda one: _ORDER.index(one.state), default=None)


def _drawn(view: View, name: str) -> Sequence[tuple[int, int, int]]:
    """What a chart shows: minutes that processes tell of, or else what the ledger did since somebody looks."""
    minutes = [
        minute
        for one in view.told
        if name in one.snapshot.destinations
        for minute in one.snapshot.destinations[name].minutes
    ]
    if minutes:
        return columns_of_minutes(minutes, until=view.at, hours=_HOURS, count=_BARS)
    return columns(view.samples, name, until=view.at, hours=_HOURS, count=_BARS)


def _card(view: View, name: str) -> Html:
    counts = view.ledger.get(name, Ledger())
    rate = view.rates.get(name, Rate())
    one = _worst(view, name)
    state: str = "unknown" if one is None else one.state
    why: Content = ""
    if one is None:
        why = "No process that delivers tells about itself at the moment."
    elif one.state != "open":
        why = [one.reason or "no reason given", f". {one.fix}" if one.fix else ""]
    drawn = _drawn(view, name)
    sums = [sum(one[index] for one in drawn) for index in range(3)]
    about = f"{name}, last {_HOURS} hours: {sums[0]:,} delivered, {sums[1]:,} refused or skipped, {sums[2]:,} lost"
    return tag(
        "section",
        tag("div", tag("h3", name), mark(_MOODS.get(state, "quiet"), _SAID[state]), class_="top"),
        tag("p", why, class_="why quiet"),
        bars(drawn, _KINDS, about),
        tag(
            "p",
            f"Last {_HOURS} h: ", mark("ok", f"{sums[0]:,} delivered"), " ", mark("warn", f"{sums[1]:,} refused"), " ",
            mark("bad", f"{sums[2]:,} lost"), class_="quiet",
        ),
        facts(
            {
                "Waiting": f"{counts.pending:,}",
                "Oldest": "–" if one is None or one.oldest_s is None else f"waits for {span(one.oldest_s)}",
                "Rate": f"{rate.accepted:,.1f} in, {rate.settled:,.1f} out a second",
                "Delivered": f"{counts.delivered:,} of {counts.accepted:,} accepted",
                "Refused": ", ".join(f"{getattr(counts, kind):,} {kind}" for kind in REFUSED),
                "Lost": ", ".join(f"{getattr(counts, kind):,} {kind}" for kind in LOST),
                **_requests(one),
            }
        ),
        class_="card",
        aria_label=name,
    )  # fmt: skip


def _requests(one: DestinationSnapshot | None) -> dict[str, Content]:
    if one is None:
        return {"Latency": "–", "Answers": "–", "Limiter": "–", "Breaker": "–"}
    answers = ", ".join(f"{number:,} × {said}" for said, number in sorted(one.requests.items()) if number)
    request = one.request
    latency = "none yet"
    if request.p50_s is not None and request.p95_s is not None:
        latency = f"half within {span(request.p50_s)}, 95 % within {span(request.p95_s)}"
    limiter = "open" if one.limiter_wait_s <= 0 else f"the next request leaves in {span(one.limiter_wait_s)}"
    if one.rate_factor < 1:
        limiter += f"; {one.rate_factor:.0%} of the usual rate"
    return {
        "Latency": latency,
        "Answers": answers or "none yet",
        "Limiter": limiter,
        "Breaker": f"{one.state}; {one.in_flight} of {one.window} requests under way",
    }


def _processes(told: Sequence[Told]) -> Html:
    if not told:
        return tag("p", "No process tells about itself.", class_="quiet")
    said = ", ".join(f"{one.process}{'' if one.snapshot.delivers else ', which only accepts'}" for one in told)
    return tag("p", f"Told by {said}.", class_="quiet")
