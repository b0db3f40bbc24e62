"""Reading the ids out of cookies: the forms that platforms' own tags write.

Sources, read 2026-11: Google's help pages and the public description of ``_ga`` (community, no page of Google's gives
it), Stape's server tags for ``_gcl_*`` and ``FPGCL*``, the tags of Reddit and X. Each function gives ``None`` for what
has not the form, and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote

import msgspec

from capi_async.pii.clicks import fits, google_session

Reader: TypeAlias = Callable[[str], str | None]


class Source(NamedTuple):
    """A cookie, and how the id is taken out of its value."""

    cookie: str
    read: Reader


_GCL: Final = re.compile(r"GCL\.[0-9]{1,12}\.([A-Za-z0-9_\-]+)").fullmatch
_GCL_SERVER: Final = re.compile(r"\.k([A-Za-z0-9_\-]+)\$i").search
#: How many names the cookie's domain has, and, in older tags, how many parts its path has: ``1``, ``12``, ``1-2``.
_DEPTH: Final = r"[0-9]{1,3}(?:-[0-9]{1,3})?"
_GA: Final = re.compile(rf"GA[0-9]\.{_DEPTH}\.([0-9]{{1,20}}\.[0-9]{{1,20}})").fullmatch
_STREAM: Final = re.compile(r"_ga_[A-Z0-9]{4,20}").fullmatch
_REDDIT: Final = re.compile(
    r"([0-9]{1,16})\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.IGNORECASE
).fullmatch


def unchanged(value: str) -> str | None:
    """The whole value, not decoded: OpenAI compares its ids byte by byte."""
    return value or None


def as_is(value: str) -> str | None:
    """The whole value; percent codes, as scripts write them, are decoded once."""
    return (unquote(value) if "%" in value else value) or None


def google_click(value: str) -> str | None:
    """The last part of ``GCL.<seconds>.<id>``, or what stands between ``.k`` and ``$i``.

    The latter is the form of Google's server tagging and of ``_gcl_ag``; which cookie has which has changed before.
    """
    value = unquote(value) if "%" in value else value
    match = _GCL(value) or _GCL_SERVER(value)
    return match[1] if match else None


def google_client(value: str) -> str | None:
    """The two numbers at the end of ``GA1.1.<number>.<number>``."""
    match = _GA(value)
    return match[1] if match else None


def microsoft_click(value: str) -> str | None:
    """What stands behind ``_uet``; the form of this cookie is not documented."""
    return value.removeprefix("_uet") or None


class _XCookie(msgspec.Struct):
    twclid: str


_x_cookie: Final = msgspec.json.Decoder(_XCookie)


def x_click(value: str) -> str | None:
    """The id alone, or out of the JSON that X's tag writes."""
    text = unquote(value) if "%" in value else value
    if not text.startswith("{"):
        return text or None
    try:
        return _x_cookie.decode(text).twclid or None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


#: Field of ``ClickIds`` to the cookies it may come from, best first.
SOURCES: Final[Mapping[str, tuple[Source, ...]]] = {
    "sc_click_id": (Source("_scclid", as_is),),
    "sc_cookie1": (Source("_scid", as_is),),
    "epik": (Source("_epik", as_is),),
    "ttclid": (Source("ttclid", as_is),),
    "ttp": (Source("_ttp", as_is),),
    "cms_rf": (Source("cms_rf", as_is), Source("cms_id", as_is)),
    "fbc": (Source("_fbc", as_is),),
    "fbp": (Source("_fbp", as_is),),
    "ga_client_id": (Source("_ga", google_client),),
    "rdt_cid": (Source("_rdt_cid", as_is),),
    "li_fat_id": (Source("li_fat_id", as_is),),
    "gclid": (Source("_gcl_aw", google_click), Source("FPGCLAW", google_click)),
    "gbraid": (Source("_gcl_ag", google_click), Source("FPGCLAG", google_click)),
    "wbraid": (Source("_gcl_gb", google_click), Source("FPGCLGB", google_click)),
    "twclid": (Source("_twclid", x_click), Source("twclid", x_click)),
    "msclkid": (Source("_uetmsclkid", microsoft_click),),
    "oppref": (Source("__oppref", unchanged),),
    "obref": (Source("__obref", unchanged),),
}
#: Cookie to the field that it is for.
FIELDS: Final[Mapping[str, str]] = {source.cookie: field for field, sources in SOURCES.items() for source in sources}
#: Cookies that no platform takes from a server yet; they are kept under their own names.
KEPT: Final = ("_pin_unauth",)

ODD: Final = "has not the form of such an id and was left out"
SEVERAL_STREAMS: Final = (
    "cookie _ga_<STREAM>: there are several and ga_stream does not say which; the session was left out: set "
    "ga_stream to the measurement id, such as G-ABC123"
)


class Found(NamedTuple):
    """Ids by their field, and what to say of those that were left out."""

    ids: dict[str, str]
    notes: list[str]


def read(jar: Mapping[str, Sequence[str]], ga_stream: str | None = None) -> Found:
    """The ids in a request's cookies. Of a cookie that came several times, the first value with the form is taken."""
    found = Found({}, [])
    # a request has few cookies and there are many kinds: those that are there are looked up
    for field in {FIELDS[name]: None for name in jar if name in FIELDS}:
        for source in SOURCES[field]:
            values = jar.get(source.cookie)
            if values is None or field in found.ids:
                continue
            for value in values:
                text = source.read(value)
                if text is not None and fits(field, text):
                    found.ids[field] = text
                    break
            else:
                found.notes.append(f"cookie {source.cookie}: {ODD}")
    _reddit(jar.get("_rdt_uuid", ()), found)
    _session(jar, ga_stream, found)
    return found


def _reddit(values: Sequence[str], found: Found) -> None:
    """The part behind the point; of several cookies the one that was made first, as Reddit's tag has it."""
    if not values:
        return
    matches = [match for match in map(_REDDIT, values) if match]
    if matches:
        found.ids["rdt_uuid"] = min(matches, key=lambda match: int(match[1]))[2]
    elif values:
        found.notes.append(f"cookie _rdt_uuid: {ODD}")


def _session(jar: Mapping[str, Sequence[str]], stream: str | None, found: Found) -> None:
    names = [f"_ga_{stream}"] if stream else [name for name in jar if name.startswith("_ga_") and _STREAM(name)]
    if not names:
        return
    sessions = {name: text for name in names for value in jar.get(name, ()) if (text := google_session(value))}
    if len(sessions) == 1:
        found.ids["ga_session_id"] = next(iter(sessions.values()))
    elif sessions:
        found.notes.append(SEVERAL_STREAMS)
    elif any(jar.get(name) for name in names):
        found.notes.append(f"cookie _ga_<STREAM>: {ODD}")
