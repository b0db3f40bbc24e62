"""Recent events, and the way of each through every destination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capi_async.outcome import OUTCOME_KINDS
from capi_async.pages.markup import Content, Html, tag
from capi_async.pages.parts import Mood, clock, facts, fold, mark, row, span, table
from capi_async.spool.base import DeadLetter
from capi_async.watch.merging import merged
from capi_async.watch.seen import Attempt, Leg, Seen, Told

#: Events on one page.
_MOST: Final = 100
_MOODS: Final[dict[str, Mood]] = {
    "delivered": "ok", "pending": "quiet", "skipped": "quiet", "forgotten": "quiet", "rejected": "warn",
}  # fmt: skip


def events_page(told: Sequence[Told], *, kind: str, destination: str, names: Sequence[str]) -> Html:
    """The newest events, of one kind of outcome or of all."""
    every = merged(told)
    found = [seen for seen in every if _is_meant(seen, kind, destination)]
    missed = sum(one.missed for one in told)
    shown = found[:_MOST]
    return tag(
        "div",
        _search("", kind, destination, names),
        tag(
            "p",
            f"{len(shown):,} of {len(every):,} recent events.",
            f" {missed:,} more came too fast to be kept; of those only what went wrong is here." if missed else "",
            class_="quiet",
        ),
        [_event(seen, destination) for seen in shown],
        None if shown else tag("p", "No such event among those that are kept.", class_="quiet"),
    )


def search_page(wanted: str, found: Sequence[Seen], letters: Sequence[DeadLetter], *, names: Sequence[str]) -> Html:
    """What is known of one event or order id."""
    shown = found[:_MOST]
    return tag(
        "div",
        _search(wanted, "", "", names),
        tag("h2", f"Events of {wanted}"),
        [_event(seen, "", open_=True) for seen in shown],
        None if shown else tag("p", "Not among the recent events that are kept.", class_="quiet"),
        tag("h2", "Dead letters"),
        table(
            ("Ended (UTC)", "Destination", "Kind", "Event", "Reason"),
            [
                row(("t", clock(one.at, day=True)), one.destination, one.kind, one.event_id, one.reason)
                for one in letters
            ],
            caption="Dead letters of this event",
            empty="None of this id.",
        ),
    )  # fmt: skip


def _search(wanted: str, kind: str, destination: str, names: Sequence[str]) -> Html:
    return tag(
        "form",
        tag("label", "Event or order id", tag("input", type="search", name="q", value=wanted, maxlength=200)),
        tag("label", "Outcome", _choice("kind", kind, OUTCOME_KINDS)),
        tag("label", "Destination", _choice("destination", destination, names)),
        tag("button", "Show"),
        class_="search",
        method="get",
        action="./events",
        role="search",
    )


def _choice(name: str, chosen: str, options: Sequence[str]) -> Html:
    return tag(
        "select",
        tag("option", "all", value=""),
        [tag("option", one, value=one, selected=one == chosen) for one in options],
        name=name,
    )


def _is_meant(seen: Seen, kind: str, destination: str) -> bool:
    return any(
        (not destination or name == destination) and (not kind or leg.kind == kind) for name, leg in seen.legs.items()
    )


def _event(seen: Seen, destination: str, *, open_: bool = False) -> Html:
    legs = [(name, leg) for name, leg in seen.legs.items() if not destination or name == destination]
    marks: list[Content] = []
    for name, leg in legs:
        marks += [" ", mark(_MOODS.get(leg.kind, "bad"), f"{name} {leg.kind}")]
    key = f"{seen.event_id} {seen.at}"
    return fold(
        [clock(seen.at), " ", tag("strong", seen.name or "event"), " ", tag("code", seen.event_id), marks],
        [
            facts({"Event id": seen.event_id, "Order id": seen.order_id or None, "Seen": clock(seen.at, day=True)}),
            [_leg(name, leg, key) for name, leg in legs],
        ],
        key,
        open_=open_,
    )


def _leg(name: str, leg: Leg, key: str) -> Html:
    refused = "; ".join(f"{field}: {reason}" for field, reason in leg.refused.items())
    return tag(
        "section",
        tag("div", tag("h3", name), mark(_MOODS.get(leg.kind, "bad"), leg.kind), class_="top"),
        facts(
            {
                "Reason": f"{leg.field}: {leg.reason}" if leg.field and leg.reason else leg.reason or None,
                "To do": leg.fix or None,
                "Identifiers used": ", ".join(leg.used) or "none, or not seen",
                "Refused": refused or None,
                "Attempts": f"{leg.attempted:,}",
                "Took": None if leg.latency_s is None else span(leg.latency_s),
                "Last status": str(leg.status) if leg.status else None,
                "Platform's id": leg.trace_id or None,
            }
        ),
        _attempts(leg.attempts, name),
        fold("Wire JSON, masked", tag("pre", leg.wire), f"{key} {name} wire") if leg.wire else None,
        class_="card",
        aria_label=name,
    )


def _attempts(attempts: Sequence[Attempt], name: str) -> Html | None:
    if not attempts:
        return None
    return table(
        ("Time (UTC)", ("Status", "n"), "Verdict", "The platform's words", "Code", "Platform's id"),
        [
            row(("t", clock(one.at)), ("n", one.status or "none"), one.verdict, one.reason, one.code, one.trace_id)
            for one in attempts
        ],
        caption=f"Attempts at {name}",
        empty="",
    )
