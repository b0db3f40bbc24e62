"""The address that the visitor sees, and what a request says about the browser."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from capi_async.context.addresses import Visitor
from capi_async.context.request import Request, clean_url
from capi_async.pii.clicks import same_site

#: No browser has a longer name; platforms refuse longer texts.
MAX_AGENT_CHARS: Final = 4_096
#: Longer addresses lose their query.
MAX_URL_CHARS: Final = 8_192

_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?").fullmatch
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,4}").fullmatch
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

LONG_AGENT: Final = f"user agent: longer than {MAX_AGENT_CHARS:,} characters; left out"
LONG_URL: Final = f"page address: longer than {MAX_URL_CHARS:,} characters; its query was left out"
LONG_REFERRER: Final = f"referrer: longer than {MAX_URL_CHARS:,} characters; its query was left out"
NO_HOST: Final = "page address: the request names no host that can be one; left out"
NO_REFERRER: Final = "referrer: is no address of the web; left out"


class Seen(NamedTuple):
    """The page that the visitor sees.

    Attributes:
        url: ``None`` if the request does not say where it was sent.
        referrer: The page before it.
        host: Of the site, in small letters and without port; empty if it is not known.
        secure: Whether the visitor uses HTTPS.
        queries: Of the request, and of the page it came from if that is of the same site; clicks are in one of them.
    """

    url: str | None
    referrer: str | None
    host: str
    secure: bool
    queries: tuple[str, ...]


def page_of(request: Request, visitor: Visitor, *, forwarded: bool, notes: list[str]) -> Seen:
    """The page as the visitor sees it: in front of the proxies, and for a script's request the page that sent it.

    ``forwarded``: the proxies write scheme and host into ``Forwarded``, so that nothing else is believed.
    """
    scheme, host = _outside(request, visitor, forwarded=forwarded)
    url: str | None = None
    if host:
        url = f"{scheme}://{host}{request.path}"
        if request.query:
            url = f"{url}?{clean_url(request.query).replace('#', '%23')}"
    else:
        notes.append(NO_HOST)
    referrer = _referrer(request, notes)
    queries: tuple[str, ...] = (request.query,)
    if referrer is not None and url is not None and same_site(url, referrer):
        queries = (request.query, referrer.partition("#")[0].partition("?")[2])
    # a script's call to an API is no page; the page is where the script runs
    if referrer is not None and request.header("sec-fetch-dest") == "empty":
        url, referrer = referrer, None
    return Seen(
        _bounded(url, LONG_URL, notes),
        _bounded(referrer, LONG_REFERRER, notes),
        _name(host),
        scheme == "https",
        queries,
    )


def user_agent_of(request: Request, notes: list[str]) -> str | None:
    """The browser's name for itself; one longer than any browser's is left out: half of it would match nobody."""
    agent = request.header("user-agent")
    if agent is None:
        return None
    if len(agent) > MAX_AGENT_CHARS:
        notes.append(LONG_AGENT)
        return None
    return utf8(agent)


def language_of(request: Request) -> str | None:
    """The language the visitor likes best, as BCP 47 has it, such as ``de-AT``."""
    wanted = request.header("accept-language")
    if wanted is None:
        return None
    best, liking = None, 0.0
    for part in wanted[:1_000].split(","):
        tag, _, rest = part.strip().partition(";")
        try:
            quality = float(rest.partition("q=")[2] or "1") if rest else 1.0
        except ValueError:
            continue
        if liking < quality <= 1 and _TAG(tag.strip()):
            best, liking = tag.strip(), quality
    return best


def utf8(text: str) -> str:
    """``text``, whose bytes were read as Latin-1, as UTF-8 if they are that."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text.encode("utf-8", "replace").decode("utf-8")


def _outside(request: Request, visitor: Visitor, *, forwarded: bool) -> tuple[str, str]:
    """Scheme and host as the outermost trusted proxy saw them."""
    scheme, host = request.scheme, request.host
    if forwarded:
        hop = visitor.hop
        scheme, host = (hop and hop.proto.lower()) or scheme, (hop and hop.host) or host
    elif visitor.proxies:
        scheme = _listed(request, "x-forwarded-proto", visitor.proxies).lower() or scheme
        host = _listed(request, "x-forwarded-host", visitor.proxies) or host
    scheme = _SCHEMES.get(scheme, "https" if request.scheme in ("https", "wss") else "http")
    return scheme, host if _HOST(host) else ""


def _listed(request: Request, name: str, proxies: int) -> str:
    """What the outermost trusted proxy wrote into a header to which every proxy may add."""
    parts = [part.strip() for line in request.headers.get(name, ()) for part in line.split(",") if part.strip()]
    return parts[-min(proxies, len(parts))] if parts else ""


def _referrer(request: Request, notes: list[str]) -> str | None:
    text = request.header("referer")
    if text is None:
        return None
    cleaned = clean_url(text)
    try:
        parts = urlsplit(cleaned)
        if parts.scheme in ("http", "https", "android-app") and parts.netloc:
            # a name and a password before the host are nobody else's affair
            return cleaned.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
    except ValueError:
        pass
    notes.append(NO_REFERRER)
    return None


def _bounded(url: str | None, note: str, notes: list[str]) -> str | None:
    if url is None or len(url) <= MAX_URL_CHARS:
        return url
    notes.append(note)
    return url.partition("?")[0][:MAX_URL_CHARS]


def _name(host: str) -> str:
    """The host without its port."""
    return (host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]).lower() if host else ""
