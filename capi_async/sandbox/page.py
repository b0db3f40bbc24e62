"""The sandbox's page: what arrived, as plain HTML without scripts or outside assets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from capi_async.sandbox.arrivals import Arrival, Tally
from capi_async.sandbox.faults import Fault
from capi_async.sandbox.platforms.tiktok_shop import Delivery, Order, TikTokShop

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --ok: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ok: #3fb950; --bad: #ff7b72; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; } .n { text-align: right; font-variant-numeric: tabular-nums; }
td { overflow-wrap: anywhere; } .t { white-space: nowrap; font-variant-numeric: tabular-nums; }
pre { margin: .25rem 0; max-width: 40rem; white-space: pre-wrap; }
code { background: var(--soft); border-radius: 4px; padding: .1rem .3rem; }
.ok { color: var(--ok); } .bad { color: var(--bad); } .empty { opacity: .7; }
"""

#: Below the sandbox's own routes: what the page's button asks for.
CLEAR = "clear"

_BODY_CHARS = 4_000
_REFRESH = '<meta http-equiv="refresh" content="2">'
_NUMBERS = ("requests", "events", "accepted", "duplicates")
_ORDERS_SHOWN, _DELIVERIES_LOOKED_AT = 12, 200
_COLUMNS = ("Requests", "Events", "Accepted", "Duplicates", "Rejected", "Test")


def page(
    base_url: str,
    tallies: Mapping[str, Tally],
    newest: Iterable[Arrival],
    faults: Iterable[Fault],
    token: str,
    shop: TikTokShop,
    platform: str | None,
    still: bool,
    chosen: Mapping[str, Collection[str]],
) -> str:
    """The whole page. Everything that came over the wire is escaped.

    Args:
        platform: Whose events ``newest`` are; ``None``: of all platforms.
        still: Do not load anew every two seconds, so that a body can be read.
        chosen: Readings by platform, where they differ from the usual ones.
    """
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{"" if still else _REFRESH}
<meta name="viewport" content="width=device-width, initial-scale=1"><title>capi_async sandbox</title>
<style>{_STYLE}</style></head><body>
<h1>capi_async sandbox</h1>
<p>Plays the platforms below. The token is <code>{escape(token)}</code>; every account id of valid form exists.</p>
<h2>Platforms</h2>
<div class="scroll"><table><thead><tr><th>Platform</th><th>Base URL</th>
{"".join(f'<th class="n">{name}</th>' for name in _COLUMNS)}</tr></thead><tbody>
{"".join(_platform_row(base_url, name, tally, chosen.get(name, ())) for name, tally in tallies.items())}
</tbody></table></div>
<h2>Faults</h2>
{_faults(list(faults))}
<h2>Newest events</h2>
{_steering(tallies, platform, still)}
{_events(list(newest))}
<h2>TikTok Shop</h2>
{_shop(shop)}
</body></html>
"""


def _platform_row(base_url: str, name: str, tally: Tally, readings: Collection[str]) -> str:
    numbers = [*(getattr(tally.stats, number) for number in _NUMBERS), tally.rejected, tally.test]
    cells = "".join(f'<td class="n">{number:,}</td>' for number in numbers)
    address = f"<code>{escape(base_url)}/{escape(name)}</code>"
    if readings:
        address += f"<br>reading: {escape(', '.join(sorted(readings)))}"
    return f"<tr><th>{escape(name)}</th><td>{address}</td>{cells}</tr>\n"


def _faults(faults: list[Fault]) -> str:
    if not faults:
        return '<p class="empty">None.</p>'
    rows = []
    for fault in faults:
        detail = {"status": f"status {fault.status}", "latency": f"{fault.latency_s:g} s"}.get(fault.kind, "")
        limit = "" if fault.count is None else f"at most {fault.count} times"
        cells = (fault.platform, fault.kind, detail, f"{fault.rate:.0%} of requests", limit)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _steering(platforms: Iterable[str], chosen: str | None, still: bool) -> str:
    """Links to the events of one platform, and the button that forgets everything received.

    A page of another origin cannot press it: a browser says where the form of a POST was, and the server looks.
    """
    names = [("all", "/", chosen is None), *((name, f"/?platform={quote(name)}", name == chosen) for name in platforms)]
    links = " \N{MIDDLE DOT} ".join(
        f"<strong>{escape(name)}</strong>" if current else f'<a href="{escape(address)}">{escape(name)}</a>'
        for name, address, current in names
    )
    query = urlencode({**({"platform": chosen} if chosen else {}), **({} if still else {"still": 1})})
    keep = f'<a href="/?{escape(query)}">{"go on" if still else "stop"} loading anew</a>'
    return f"""<p>Show {links}; {keep}</p>
<form method="post" action="/_sandbox/{CLEAR}"><button title="Arrivals, counters and keys">Clear</button></form>"""


def _events(arrivals: list[Arrival]) -> str:
    if not arrivals:
        return '<p class="empty">Nothing has arrived yet.</p>'
    head = "".join(
        f"<th>{name}</th>" for name in ("Time (UTC)", "Platform", "Account", "Event", "Id", "Verdict", "Body")
    )
    rows = "".join(map(_event_row, arrivals))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _event_row(arrival: Arrival) -> str:
    event = _read(arrival)
    time = datetime.fromtimestamp(arrival.received_at, UTC).strftime("%H:%M:%S.%f")[:-3]
    name = _first(event, "event_name", "event_type", "event", "eventName")
    event_id = _first(event, "event_id", "client_dedup_id", "invoiceId", "customerExternalId")
    verdict = '<span class="ok">accepted</span>'
    if not arrival.accepted:
        verdict = f'<span class="bad">refused</span> {escape(arrival.reason)}'
    if arrival.test:
        verdict += " (test)"
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in (arrival.platform, arrival.account, name, event_id))
    return f'<tr><td class="t">{time}</td>{cells}<td>{verdict}</td>{_body(arrival)}</tr>\n'


def _read(arrival: Arrival) -> Any:
    # one event that cannot be read must not take the page from all others
    try:
        return arrival.event
    except (ValueError, RecursionError):
        return None


def _body(arrival: Arrival) -> str:
    """The wire object as it came, folded away; of a long one, the beginning."""
    whole = bytes(arrival.raw)
    if whole == b"null":
        return '<td class="empty">not kept</td>'
    text = whole[: 4 * _BODY_CHARS].decode("utf-8", "replace")[:_BODY_CHARS]
    rest = "" if len(whole) == len(text.encode()) else f"<p>The beginning of {len(whole):,} bytes.</p>"
    return f"<td><details><summary>{len(whole):,} bytes</summary><pre>{escape(text)}</pre>{rest}</details></td>"


def _shop(shop: TikTokShop) -> str:
    app = shop.app
    addresses = ", ".join(dict.fromkeys(one.address for one in shop.webhooks.subscriptions())) or "none"
    about = (
        f"<p>App key <code>{escape(app.key)}</code>, secret <code>{escape(app.secret)}</code>, service id "
        f"<code>{escape(app.service_id)}</code>, redirect URL <code>{escape(app.redirect_url or 'none')}</code>. "
        f"{len(shop.calls):,} API calls. Webhooks go to <code>{escape(addresses)}</code>.</p>"
    )
    orders = sorted(shop.orders(), key=lambda order: order.raw["update_time"], reverse=True)[:_ORDERS_SHOWN]
    head = "".join(f"<th>{name}</th>" for name in ("Changed (UTC)", "Shop", "Order", "Status", "Total", "Webhooks"))
    newest = list(shop.webhooks.deliveries)[-_DELIVERIES_LOOKED_AT:]
    rows = "".join(_order_row(order, newest) for order in orders)
    return f'{about}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _order_row(order: Order, deliveries: Iterable[Delivery]) -> str:
    time = datetime.fromtimestamp(order.raw["update_time"], UTC).strftime("%m-%d %H:%M:%S")
    states = Counter(one.state for one in deliveries if order.id.encode() in one.body)
    sent = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states.items())
    cells = (order.shop.region, order.id, order.status, f"{order.total_amount} {order.currency}", sent)
    return f'<tr><td class="t">{time}</td>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>\n'


def _first(event: Any, *names: str) -> str:
    if not isinstance(event, dict):
        return ""
    return next((str(event[name])[:100] for name in names if name in event), "")
