"""The authorize page: agrees at once, refuses, forgets the state, or asks, as told."""

from __future__ import annotations

from collections.abc import Collection
from html import escape
from typing import Literal, get_args
from urllib.parse import urlencode, urlsplit

from capi_async.sandbox.platforms.base import Call, Reply
from capi_async.sandbox.platforms.tiktok_shop.model import CREATOR, CREATOR_ID, SELLER, SELLERS
from capi_async.sandbox.platforms.tiktok_shop.oauth import App, Authorizations

Consent = Literal["allow", "refuse", "without_state", "ask"]
CONSENTS: tuple[str, ...] = get_args(Consent)

PATHS = ("/open/authorize", "/oauth/authorize", "/alliance/creator/auth")


def authorize(call: Call, known: Authorizations, consent: Consent, local_hosts: Collection[str]) -> Reply:
    """Answer one of the three links.

    The seller's link names the app by ``service_id``, the older one and the creator's by ``app_key``. ``decision`` in
    the query stands for a press on one of the page's buttons, and ``seller`` for who is logged in.
    """
    creator = call.path == PATHS[2]
    if call.path == PATHS[0]:
        app = known.app_of_service(call.query.get("service_id", ""))
    else:
        app = known.apps.get(call.query.get("app_key", ""))
    if app is None:
        return _page("<p>No such app.</p>", 400)
    owner = CREATOR_ID if creator else call.query.get("seller") or next(iter(SELLERS))
    if not creator and owner not in SELLERS:
        return _page("<p>No such seller.</p>", 400)
    decision = call.query.get("decision") or consent
    if decision not in CONSENTS:
        return _page("<p>No such decision.</p>", 400)
    if decision == "ask":
        return _ask(call, app, SELLERS.get(owner, "a creator"))
    answer = {"code": "null", "error": "auth_denied"}
    if decision != "refuse":
        kind = CREATOR if creator else SELLER
        answer = {"code": known.new_code(call.now, app_key=app.key, owner=owner, user_type=kind)}
    if "state" in call.query and decision != "without_state":
        answer["state"] = call.query["state"]
    target = app.redirect_url or _local(call.query.get("redirect_uri", ""), local_hosts)
    if not target:
        shown = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in answer.items())
        query = escape("?" + urlencode(answer))
        told = "<p>The app has no redirect URL. Whoever waits for the seller's return can be given this:</p>"
        return _page(f"{told}<pre>{query}</pre><table>{shown}</table>", 200)
    joint = "&" if urlsplit(target).query else "?"
    headers = {"Location": f"{target}{joint}{urlencode(answer)}", "Cache-Control": "no-store"}
    return Reply(302, b"", headers, "text/html")


def _local(target: str, local_hosts: Collection[str]) -> str:
    # Codes go nowhere but to this machine, whoever made up the link.
    try:
        parts = urlsplit(target)
    except ValueError:  # no address
        return ""
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return target if parts.scheme in ("http", "https") and host in local_hosts else ""


def _ask(call: Call, app: App, who: str) -> Reply:
    def link(decision: str) -> str:
        return escape("?" + urlencode({**call.query, "decision": decision}))

    return _page(
        f"<p>{escape(who)}: let the app <b>{escape(app.key)}</b> read your shop?</p>"
        f'<p><a href="{link("allow")}">Authorize</a> · <a href="{link("refuse")}">Refuse</a></p>',
        200,
    )


def _page(content: str, status: int) -> Reply:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sandbox: authorize</title></head>'
        f"<body><h1>TikTok Shop, in the sandbox</h1>{content}</body></html>"
    )
    headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store"}
    return Reply(status, text.encode(), headers, "text/html; charset=utf-8")
