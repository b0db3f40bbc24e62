"""Click and browser ids: what has not the documented form is left out, because a platform refuses the event for it.

Sources, read 2026-11: Meta, .../conversions-api/parameters/fbp-and-fbc (``fb.<subdomain index>.<milliseconds>.<id>``).
The other platforms call their ids opaque; what no cookie and no query parameter can hold is none of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from capi_async.event import NO_CLICK, ClickIds, Page
from capi_async.pii.refused import is_placeholder

_META: Final = re.compile(r"fb\.[0-9]{1,3}\.[0-9]{10,13}\.[^\s\"'<>]+").fullmatch
_META_BROWSER: Final = re.compile(r"fb\.[0-9]{1,3}\.[0-9]{10,13}\.[0-9][^\s\"'<>]*").fullmatch
# no blanks, controls, quotes, angle brackets, commas or semicolons: neither a cookie nor a parameter holds them
_OPAQUE: Final = re.compile(r"[!#$%&()*+\-./0-9:=?@A-Z\[\]^_`a-z{|}~]{1,1000}").fullmatch
#: Google's cookies, which are found in other fields when columns are mixed up.
_GOOGLE: Final = re.compile(r"GA[0-9]\.[0-9]").match

#: Field to the form of its value; fields that are not here are opaque.
_FORMS: Final[Mapping[str, Callable[[str], object]]] = {
    "fbc": _META,
    "fbp": _META_BROWSER,
    "google_session": re.compile(r"[A-Za-z0-9_-]{1,4000}").fullmatch,
}
_GOOGLES_OWN: Final = frozenset({"ga_client_id", "ga_session_id"})

ODD: Final = "has not the form of such an id and was left out"
NOBODYS: Final = "stands for an id that was not there and was left out"


def is_meta_cookie(text: str) -> bool:
    """Whether this is a whole ``_fbc`` cookie."""
    return _META(text) is not None


def is_click_id(text: str) -> bool:
    """Whether a click id may look like this."""
    return _OPAQUE(text) is not None and not is_placeholder(text) and not _GOOGLE(text)


def fits(field: str, text: str) -> bool:
    """Whether the field ``field`` of :class:`~capi_async.ClickIds` may hold this text."""
    if is_placeholder(text):
        return False
    form = _FORMS.get(field)
    return bool(form(text) if form else _OPAQUE(text) and (field in _GOOGLES_OWN or not _GOOGLE(text)))


def in_address(page: Page, parameter: str) -> str | None:
    """The click id in the query of the page's address, else of its referrer on the same site, decoded once."""
    mark = f"{parameter}="
    url, referrer = page.url, page.referrer
    if url is not None and mark in url and (found := _in_query(url, mark)):
        return found
    if referrer is not None and mark in referrer and (url is None or same_site(url, referrer)):
        return _in_query(referrer, mark)
    return None


def _in_query(url: str, mark: str) -> str | None:
    query = url.partition("#")[0].partition("?")[2]
    for part in query.split("&"):
        if part.startswith(mark):
            # decoded once and not otherwise touched: the id is opaque, and its case counts
            return unquote(part[len(mark) :]).strip() or None
    return None


def same_site(url: str, referrer: str) -> bool:
    """Whether one host is the other, or lies below it."""
    try:
        here, there = (f".{(urlsplit(one).hostname or '').removeprefix('www.')}" for one in (url, referrer))
    except ValueError:
        return False
    return len(here) > 1 and len(there) > 1 and (here.endswith(there) or there.endswith(here))


def checked(click: ClickIds, fields: tuple[str, ...]) -> tuple[ClickIds, tuple[str, ...]]:
    """The ids without those of these fields that have not their form, and what to warn of."""
    if click is NO_CLICK:
        return click, ()
    wrong: dict[str, None] = {}
    warnings: list[str] = []
    for field in fields:
        value = getattr(click, field)
        if value is None:
            continue
        if fits(field, value):
            continue
        warnings.append(f"click.{field}: {NOBODYS if is_placeholder(value) else ODD}")
        wrong[field] = None
    return (replace(click, **wrong), tuple(warnings)) if wrong else (click, ())
