"""From a request to its context: the stations in their order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from capi_async.context import clicks, cookies, response, visit
from capi_async.context.addresses import read_address
from capi_async.context.clicks import CLICK_COOKIE
from capi_async.context.facts import Facts
from capi_async.context.request import Request, parameters
from capi_async.context.response import Cookie
from capi_async.context.settings import ContextSettings
from capi_async.event import NO_CLICK, NO_PAGE, NO_USER, ClickIds, Consent, Page, User
from capi_async.log import Log
from capi_async.pii.clicks import fits

T = TypeVar("T", bound=Facts)

logger = Log(__name__)

_USUAL: Final = ContextSettings()
#: Notes that were logged; there are a few dozen different ones.
_told: set[str] = set()
_MAX_TOLD: Final = 500


def context_of(kind: type[T], request: Request, settings: ContextSettings | None, now: datetime | None) -> T:
    """The context of a request."""
    settings = _USUAL if settings is None else settings
    now = datetime.now(UTC) if now is None else now
    notes: list[str] = []
    address, page = _visitor(request, settings, notes)
    agent = visit.user_agent_of(request, notes)
    consent = _consent(request, settings, notes)
    ids = _ids(request, settings, page, agent, now, notes)
    context = kind(
        user=User(ip=address, user_agent=agent) if address or agent else NO_USER,
        page=Page(url=page.url, referrer=page.referrer) if page.url or page.referrer else NO_PAGE,
        language=visit.language_of(request),
        click=ClickIds(**ids.click, fbclid_seen=ids.meta_seen) if ids.click else NO_CLICK,
        others=_others(request),
        first_seen={field: seen.at for field, seen in ids.seen.items()},
        consent=consent,
        at=now,
        notes=tuple(notes),
        to_set=_to_set(request, settings, page, consent, ids, now),
    )
    if notes:
        _tell(notes)
    return context


def _visitor(request: Request, settings: ContextSettings, notes: list[str]) -> tuple[str | None, visit.Seen]:
    proxies = settings.proxies
    peer = read_address(request.peer) if request.peer else None
    visitor = proxies.visitor(peer, request.headers.get(proxies.header, ()), socket=request.peer is None)
    if visitor.note:
        notes.append(f"visitor's address: {visitor.note}")
    page = visit.page_of(request, visitor, forwarded=proxies.header == "forwarded", notes=notes)
    return str(visitor.address) if visitor.address else None, page


def _consent(request: Request, settings: ContextSettings, notes: list[str]) -> Consent | None:
    """What the caller's function says; one that fails grants nothing."""
    if settings.consent is None:
        return None
    try:
        found = settings.consent(request)
        if found is None or isinstance(found, Consent):
            return found
        kind = f"returned {type(found).__name__}, not Consent or None"
    except Exception as error:  # the caller's code may raise anything, and a request must not fail of it
        kind = f"raised {type(error).__name__}"
    notes.append(f"consent: the function of the settings {kind}; what the visitor chose is taken as denied: mend it")
    return Consent(ad_storage=False, ad_user_data=False, ad_personalization=False, analytics_storage=False)


class _Ids(NamedTuple):
    """The ids of a visit.

    Attributes:
        click: By field.
        seen: The clicks among them that are to be remembered.
        new_meta: ``_fbc`` is to be set: the address carries another click than the cookie.
    """

    click: dict[str, str]
    seen: dict[str, clicks.Seen]
    meta_seen: datetime | None
    new_meta: bool


def _ids(
    request: Request, settings: ContextSettings, page: visit.Seen, agent: str | None, now: datetime, notes: list[str]
) -> _Ids:
    stored = cookies.read(request.cookies, settings.ga_stream)
    notes += stored.notes
    query: dict[str, tuple[str, ...]] = {}
    for text in reversed(page.queries):
        query |= parameters(text)
    fresh: dict[str, str] = {}
    if query:
        fresh, odd = clicks.in_parameters(query)
        notes += odd
        if landing := clicks.google_landing(query, page.url or "", page.referrer, agent, now):
            fresh["google_session"] = landing
    kept = request.cookies.get(CLICK_COOKIE)
    known = clicks.remembered(kept, now, response.MAX_AGE_S) if kept else {}
    seen: dict[str, clicks.Seen] = {}
    click = stored.ids
    for field in clicks.CLICKS if fresh or known else ():
        if field in fresh:
            text = fresh[field]
            # the landing's text is another one with every request; what counts is the first
            same = field in known and (
                known[field].text == text
                or (field == "google_session" and clicks.landing_page(known[field].text) == page.url)
            )
            seen[field] = known[field] if same else clicks.Seen(text, now)
            click[field] = seen[field].text
        elif field in known and click.get(field, known[field].text) == known[field].text:
            seen[field] = known[field]
            click[field] = known[field].text
    return _with_meta(click, seen, page, settings)


def _with_meta(
    click: dict[str, str], seen: dict[str, clicks.Seen], page: visit.Seen, settings: ContextSettings
) -> _Ids:
    """Meta's rule: ``_fbc`` stays unless the address carries another click; that gets the time it was first seen."""
    first = seen.get("fbclid")
    if first is None:
        return _Ids(click, seen, None, new_meta=False)
    *_, stamp, held = ["", *click.get("fbc", "").split(".", 3)][-2:]
    if held == first.text or held.startswith(f"{first.text}."):  # Meta's own builder adds a mark behind a point
        made_at = datetime.fromtimestamp(int(stamp) / 1_000, UTC)
        seen["fbclid"] = clicks.Seen(first.text, min(first.at, made_at))
        return _Ids(click, seen, seen["fbclid"].at, new_meta=False)
    index = _index(page, settings)
    made = response.meta_click(index, first.at, first.text)
    if fits("fbc", made):
        click["fbc"] = made
    return _Ids(click, seen, first.at, new_meta=fits("fbc", made))


def _index(page: visit.Seen, settings: ContextSettings) -> int:
    return response.subdomain_index(response.domain_for(page.host, settings.cookie_domain) or page.host)


def _to_set(
    request: Request, settings: ContextSettings, page: visit.Seen, consent: Consent | None, ids: _Ids, now: datetime
) -> tuple[Cookie, ...]:
    granted = consent.ad_storage if consent else None
    if granted is False or (settings.require_consent and granted is not True):
        return ()
    domain = response.domain_for(page.host, settings.cookie_domain)
    values: dict[str, str] = {}
    if ids.new_meta:
        values["_fbc"] = ids.click["fbc"]
    if "fbp" not in ids.click:
        values["_fbp"] = response.meta_browser(_index(page, settings), now)
    if ids.seen and (text := clicks.cookie_of(ids.seen)) not in request.cookies.get(CLICK_COOKIE, ()):
        values[CLICK_COOKIE] = text
    return tuple(
        Cookie(name=name, value=value, domain=domain, secure=page.secure, http_only=name == CLICK_COOKIE)
        for name, value in values.items()
        if name in settings.set_cookies
    )


def _others(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in cookies.KEPT:
        for value in request.cookies.get(name, ()):
            if (text := cookies.as_is(value)) and fits(name, text):
                found.setdefault(name, text)
    return found


def _tell(notes: list[str]) -> None:
    """Log each note once per process: what one request does wrong, thousands do."""
    for note in notes:
        if note not in _told and len(_told) < _MAX_TOLD:
            _told.add(note)
            logger.info("request context: %s (this is said once per process)", note)
