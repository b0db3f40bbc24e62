"""Click and browser ids: what has not the documented form is left out, because a platform refuses the event for it.

Sources, read 2026-11: Meta, .../conversions-api/parameters/fbp-and-fbc (``fb.<subdomain index>.<milliseconds>.<id>``).
The other platforms call their ids opaque; what no program makes such an id of is none of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from capi_async.event import NO_CLICK, ClickIds, Page
from capi_async.pii.refused import ID_PLACEHOLDERS, PLACEHOLDERS, is_placeholder

_META: Final = re.compile(r"fb\.[0-9]{1,3}\.[0-9]{10,13}\.(.+)").fullmatch
#: A tag of Meta's parameter builder may stand behind the number.
_META_BROWSER: Final = re.compile(r"fb\.[0-9]{1,3}\.[0-9]{10,13}\.[0-9]+(?:\.[A-Za-z0-9_\-]+)?").fullmatch
_METAS: Final = re.compile(r"_?fb[cp]?[.=]", re.IGNORECASE).match
#: What ids are made of: a token, Base64 of either alphabet, a UUID, percent-encoding. No blanks, quotes, brackets,
#: commas and semicolons, none of the signs that part a query, and no at sign, which makes an e-mail address.
_OPAQUE: Final = re.compile(r"[!$%*+\-./0-9:=A-Z_a-z|~]{1,1000}").fullmatch
#: An address, or a parameter with its name: ``fbclid=IwAR...``. Base64 ends in equals signs and has none before.
_NAMED: Final = re.compile(r"[A-Za-z_]+=[^=]|[a-z]+://").match
#: Google's cookies, which are found in other fields when columns are mixed up.
_GOOGLE: Final = re.compile(r"GA[0-9]\.[0-9]").match

#: How many names the cookie's domain has, and, in older tags, how many parts its path has: ``1``, ``12``, ``1-2``.
_DEPTH: Final = r"[0-9]{1,3}(?:-[0-9]{1,3})?"
_GS1: Final = re.compile(rf"GS1\.{_DEPTH}\.([0-9]{{1,20}})(?:\..*)?").fullmatch
_GS2: Final = re.compile(rf"GS2\.{_DEPTH}\.(?:.*\$)?s([0-9]{{1,20}})(?:\$.*)?").fullmatch

_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{1,4000}").fullmatch

_GOOGLES_OWN: Final = frozenset({"ga_client_id", "ga_session_id"})

ODD: Final = "has not the form of such an id and was left out"
NOBODYS: Final = "stands for an id that was not there and was left out"


def google_session(cookie: str) -> str | None:
    """The session's number, out of either layout of ``_ga_<STREAM>``."""
    match = _GS1(cookie) or _GS2(unquote(cookie) if "%" in cookie else cookie)
    return match[1] if match else None


def is_meta_cookie(text: str) -> bool:
    """Whether this is a whole ``_fbc`` cookie."""
    match = _META(text)
    return match is not None and _is_opaque(match[1])


def _is_opaque(text: str) -> bool:
    """Whether a program may have made such an id of somebody's click or browser."""
    if _OPAQUE(text) is None or _NAMED(text) or is_nobodys(text):
        return False
    # what a page has encoded twice is still no id
    return "%" not in text or (_OPAQUE(plain := unquote(text)) is not None and not is_nobodys(plain))


def is_nobodys(text: str) -> bool:
    """Whether a program wrote this where it had no id, or had none for any of the parts of one: ``null.null``."""
    return is_placeholder(text, ID_PLACEHOLDERS) or all(
        is_placeholder(part, PLACEHOLDERS) for part in text.replace("|", ".").split(".")
    )


def is_click_id(text: str) -> bool:
    """Whether a click id may look like this; a cookie of Meta is none, whole or not."""
    return _is_opaque(text) and not _GOOGLE(text) and not _METAS(text)


def _is_session(text: str) -> bool:
    return _SESSION(text) is not None and not is_nobodys(text)


#: Field to the form of its value, which no text has that stands for nobody; fields that are not here are opaque.
_FORMS: Final[Mapping[str, Callable[[str], object]]] = {
    "fbc": is_meta_cookie,
    "fbp": _META_BROWSER,
    "google_session": _is_session,
}


def fits(field: str, text: str) -> bool:
    """Whether the field ``field`` of :class:`~capi_async.ClickIds` may hold this text."""
    if field in _GOOGLES_OWN:
        # the platform's own mapping reads the two numbers out of it; a session may have the number 0
        return _OPAQUE(text) is not None and not is_placeholder(text)
    return bool(_FORMS.get(field, is_click_id)(text))


def in_address(page: Page, parameter: str) -> str | None:
    """The click id in the query of the page's address, else of its referrer on the same site, decoded once.

    The first that has the form of one; if none has, the first there is.
    """
    mark = f"{parameter}="
    url, referrer = page.url, page.referrer
    found = in_query(url, parameter) if url is not None and mark in url else []
    if referrer is not None and mark in referrer and (url is None or same_site(url, referrer)):
        found += in_query(referrer, parameter)
    return best_of(found)


def in_query(url: str, parameter: str) -> list[str]:
    """The values of a parameter in the query of an address, without empty ones."""
    mark = f"{parameter}="
    query = url.partition("#")[0].partition("?")[2]
    # decoded once and not otherwise touched: the id is opaque, and its case counts
    values = [unquote(part[len(mark) :]).strip() for part in query.split("&") if part.startswith(mark)]
    return [value for value in values if value]


def best_of(found: Sequence[str]) -> str | None:
    """The first click id that has the form of one, else the first."""
    return next((one for one in found if is_click_id(one) or is_meta_cookie(one)), found[0] if found else None)


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
        warnings.append(f"click.{field}: {NOBODYS if is_nobodys(value) else ODD}")
        wrong[field] = None
    return (replace(click, **wrong), tuple(warnings)) if wrong else (click, ())
