"""The sandbox's page: what arrived and why not, and what is to go wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, get_args
from urllib.parse import urlencode

from msgspec import Struct

from capi_async.pages.markup import Content, Html, tag
from capi_async.pages.parts import clock, fold, mark, page, row, table
from capi_async.sandbox.arrivals import Arrival, Tally
from capi_async.sandbox.faults import EVERY, Fault, Kind
from capi_async.sandbox.platforms.tiktok_shop import Delivery, Order, TikTokShop

#: Below the sandbox's own routes: where the page's files are, and what its forms ask for.
BASE: Final = "/_sandbox"
CLEAR: Final = "clear"
FAULT_ON: Final = "fault-on"
FAULT_OFF: Final = "fault-off"
FAULTS_OFF: Final = "faults-off"

_BODY_CHARS = 4_000
_NUMBERS = ("requests", "events", "accepted", "duplicates")
_ORDERS_SHOWN, _DELIVERIES_LOOKED_AT = 12, 200
_COLUMNS = ("Requests", "Events", "Accepted", "Duplicates", "Rejected", "Test")
_VERDICTS: Final = ("accepted", "refused")


class Chosen(Struct, frozen=True, kw_only=True):
    """What the page is to show of the newest events.

    Attributes:
        platform: Of this one; empty: of all.
        verdict: ``accepted``, ``refused``, or empty: both.
        text: Those whose body, account or reason holds this, in whatever case.
        still: Do not load anew, so that a body can be read at leisure.
    """

    platform: str = ""
    verdict: str = ""
    text: str = ""
    still: bool = False

    def takes(self, arrival: Arrival) -> bool:
        """Whether an arrival is to be shown."""
        if self.verdict and arrival.accepted != (self.verdict == "accepted"):
            return False
        if not self.text:
            return True
        wanted = self.text.lower()
        return (
            wanted.encode("utf-8", "replace") in bytes(arrival.raw).lower()
            or wanted in arrival.reason.lower()
            or wanted in arrival.account.lower()
        )

    def address(self, **changes: object) -> str:
        """The page's own address, with something changed."""
        fields = {
            "platform": self.platform,
            "verdict": self.verdict,
            "q": self.text,
            "still": "1" if self.still else "",
        }
        query = urlencode({name: value for name, value in (fields | changes).items() if value}, errors="replace")
        return f"/?{query}" if query else "/"


def sandbox_page(
    base_url: str,
    tallies: Mapping[str, Tally],
    newest: Iterable[Arrival],
    faults: Iterable[tuple[int, Fault]],
    token: str,
    shop: TikTokShop,
    chosen: Chosen,
    readings: Mapping[str, Collection[str]],
) -> Html:
    """The whole page. Everything that came over the wire is text.

    Args:
        newest: The events that ``chosen`` takes.
        faults: With the number of each, by which it is taken away.
        readings: By platform, where they differ from the usual ones.
    """
    main = tag(
        "div",
        tag(
            "p",
            "Plays the platforms below. The token is ",
            tag("code", token),
            "; every account id of valid form exists.",
        ),
        tag("h2", "Platforms"),
        table(
            ("Platform", "Base URL", *((name, "n") for name in _COLUMNS)),
            [_platform(base_url, name, tally, readings.get(name, ())) for name, tally in tallies.items()],
            caption="Platforms",
            empty="None.",
        ),
        tag("h2", "Faults"),
        _faults(list(faults), list(tallies)),
        tag("h2", "Newest events"),
        _filter(chosen, list(tallies)),
        _events(list(newest), chosen),
        tag("h2", "TikTok Shop"),
        _shop(shop),
    )
    links = (
        ("all", chosen.address(platform=""), not chosen.platform),
        *((name, chosen.address(platform=name), name == chosen.platform) for name in tallies),
    )
    return page("capi_async sandbox", BASE, links=links, main=main, live=not chosen.still)


def _platform(base_url: str, name: str, tally: Tally, readings: Collection[str]) -> Html:
    numbers = [*(getattr(tally.stats, number) for number in _NUMBERS), tally.rejected, tally.test]
    address: list[Content] = [tag("code", f"{base_url}/{name}")]
    if readings:
        address += [tag("br"), f"reading: {', '.join(sorted(readings))}"]
    return row(address, *(("n", f"{number:,}") for number in numbers), head=name)


def _faults(faults: Sequence[tuple[int, Fault]], platforms: Sequence[str]) -> Html:
    rows = []
    for number, fault in faults:
        detail = {"status": f"status {fault.status}", "latency": f"{fault.latency_s:g} s"}.get(fault.kind, "")
        limit = "" if fault.count is None else f"at most {fault.count} times"
        rows.append(
            row(
                fault.platform, fault.kind, detail, fault.path, f"{fault.rate:.0%} of requests", limit,
                _button("Off", FAULT_OFF, number=str(number)),
            )
        )  # fmt: skip
    return tag(
        "div",
        table(
            ("Platform", "Kind", "Detail", "Path", "Share", "Limit", "Take away"),
            rows,
            caption="Faults",
            empty="None.",
        ),
        _button("All off", FAULTS_OFF) if faults else None,
        tag(
            "form",
            tag("label", "Platform", _choice("platform", "", platforms, every=EVERY)),
            tag("label", "Fault", _choice("kind", "status", get_args(Kind))),
            tag("label", "Status", _number("status", "503", 200, 599, "1")),
            tag("label", "Share in per cent", _number("percent", "100", 1, 100, "1")),
            tag("label", "Latency in s", _number("latency_s", "1", 0, 60, "0.1")),
            tag("label", "At most, times", _number("count", "", 1, 1_000_000, "1")),
            tag("button", "On"),
            class_="search",
            method="post",
            action=f"{BASE}/{FAULT_ON}",
        ),
    )


def _number(name: str, value: str, least: int, most: int, step: str) -> Html:
    return tag("input", type="number", name=name, value=value, min=least, max=most, step=step)


def _choice(name: str, chosen: str, options: Sequence[str], *, every: str | None = None) -> Html:
    return tag(
        "select",
        None if every is None else tag("option", "all", value=every),
        [tag("option", one, value=one, selected=one == chosen) for one in options],
        name=name,
    )


def _button(said: str, action: str, **hidden: str) -> Html:
    """A form of one button. A page of another origin cannot press it: the server looks where a form was."""
    fields = [tag("input", type="hidden", name=name, value=value) for name, value in hidden.items()]
    return tag("form", fields, tag("button", said), method="post", action=f"{BASE}/{action}")


def _filter(chosen: Chosen, platforms: Sequence[str]) -> Html:
    still = chosen.address(still="" if chosen.still else "1")
    return tag(
        "div",
        tag(
            "form",
            tag("label", "Platform", _choice("platform", chosen.platform, platforms, every="")),
            tag("label", "Verdict", _choice("verdict", chosen.verdict, _VERDICTS, every="")),
            tag("label", "Holds this text", tag("input", type="search", name="q", value=chosen.text, maxlength=200)),
            tag("input", type="hidden", name="still", value="1") if chosen.still else None,
            tag("button", "Show"),
            class_="search",
            method="get",
            action="/",
            role="search",
        ),
        tag("p", tag("a", "Go on loading anew" if chosen.still else "Stop loading anew", href=still)),
        _button("Clear", CLEAR),
        tag("p", "Forgets arrivals, counters and what copies are known by; faults stay.", class_="quiet"),
    )


def _events(arrivals: Sequence[Arrival], chosen: Chosen) -> Html:
    filtered = chosen.platform or chosen.verdict or chosen.text
    return table(
        ("Time (UTC)", "Platform", "Account", "Event", "Id", "Verdict", "Body"),
        [_event(arrival, place) for place, arrival in enumerate(arrivals)],
        caption="Newest events",
        empty="No such event among the newest." if filtered else "Nothing has arrived yet.",
    )


def _event(arrival: Arrival, place: int) -> Html:
    event = _read(arrival)
    verdict: list[Content] = [mark("ok", "accepted") if arrival.accepted else mark("bad", "refused")]
    if arrival.reason:
        verdict += [" ", arrival.reason]
    if arrival.test:
        verdict.append(" (test)")
    event_id = _first(event, "event_id", "client_dedup_id", "invoiceId", "customerExternalId")
    return row(
        ("t", clock(arrival.received_at, exact=True)),
        arrival.platform,
        arrival.account,
        _first(event, "event_name", "event_type", "event", "eventName"),
        event_id,
        verdict,
        _body(arrival, f"{arrival.platform} {arrival.request} {event_id or place} {arrival.received_at}"),
    )


def _read(arrival: Arrival) -> Any:
    # one event that cannot be read must not take the page from all others
    try:
        return arrival.event
    except (ValueError, RecursionError):
        return None


def _body(arrival: Arrival, key: str) -> Html:
    """The wire object as it came, folded away; of a long one, the beginning."""
    whole = bytes(arrival.raw)
    if whole == b"null":
        return tag("span", "not kept", class_="quiet")
    text = whole[: 4 * _BODY_CHARS].decode("utf-8", "replace")[:_BODY_CHARS]
    rest = None if len(whole) == len(text.encode()) else tag("p", f"The beginning of {len(whole):,} bytes.")
    return fold(f"{len(whole):,} bytes", [tag("pre", text), rest], key)


def _shop(shop: TikTokShop) -> Html:
    app = shop.app
    addresses = ", ".join(dict.fromkeys(one.address for one in shop.webhooks.subscriptions())) or "none"
    orders = sorted(shop.orders(), key=lambda order: order.raw["update_time"], reverse=True)[:_ORDERS_SHOWN]
    newest = list(shop.webhooks.deliveries)[-_DELIVERIES_LOOKED_AT:]
    return tag(
        "div",
        tag(
            "p",
            "App key ", tag("code", app.key), ", secret ", tag("code", app.secret), ", service id ",
            tag("code", app.service_id), ", redirect URL ", tag("code", app.redirect_url or "none"),
            f". {len(shop.calls):,} API calls. Webhooks go to ", tag("code", addresses), ".",
        ),
        table(
            ("Changed (UTC)", "Shop", "Order", "Status", "Total", "Webhooks"),
            [_order(order, newest) for order in orders],
            caption="Orders",
            empty="No orders.",
        ),
    )  # fmt: skip


def _order(order: Order, deliveries: Iterable[Delivery]) -> Html:
    states = Counter(one.state for one in deliveries if order.id.encode() in one.body)
    sent = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states.items())
    total = f"{order.total_amount} {order.currency}"
    return row(
        ("t", clock(order.raw["update_time"], day=True)), order.shop.region, order.id, order.status, total, sent
    )  # fmt: skip


def _first(event: Any, *names: str) -> str:
    if not isinstance(event, dict):
        return ""
    return next((str(event[name])[:100] for name in names if name in event), "")
