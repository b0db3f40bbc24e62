"""The click ids of a visit: a newer click in the address wins over an older one in a cookie."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from capi_async.context.cookies import ODD
from capi_async.pii.clicks import fits

#: Parameter of an address (in small letters) to the field of ``ClickIds``.
PARAMETERS: Final[Mapping[str, str]] = {
    "fbclid": "fbclid",
    "ttclid": "ttclid",
    "sccid": "sc_click_id",
    "epik": "epik",
    "gclid": "gclid",
    "gbraid": "gbraid",
    "wbraid": "wbraid",
    "dclid": "dclid",
    "msclkid": "msclkid",
    "twclid": "twclid",
    "rdt_cid": "rdt_cid",
    "li_fat_id": "li_fat_id",
    "oppref": "oppref",
    "cms_rf": "cms_rf",
}
#: The ids that stand for one click, and are remembered with the time at which they were first seen.
CLICKS: Final = tuple(dict.fromkeys((*PARAMETERS.values(), "google_session")))

#: Longest text of Google's session attributes that is taken (google.com, Data Manager API, read 2026-11).
_MAX_SESSION_CHARS: Final = 4_000
_GAD: Final = re.compile(r"gad_[a-z0-9_]{1,40}").fullmatch


class Seen(NamedTuple):
    """A click id and when it was first seen."""

    text: str
    at: datetime


def in_parameters(parameters: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """The ids among an address's parameters, and what to say of those that were left out.

    Of a parameter that came several times, the first with the form is taken.
    """
    ids: dict[str, str] = {}
    notes: list[str] = []
    for name in parameters.keys() & PARAMETERS.keys():
        field, values = PARAMETERS[name], parameters[name]
        for value in values:
            if fits(field, text := value.strip()):
                ids[field] = text
                break
        else:
            notes.append(f"parameter {name}: {ODD}")
    return ids, notes


def google_landing(
    parameters: Mapping[str, Sequence[str]], url: str, referrer: str | None, user_agent: str | None, at: datetime
) -> str | None:
    """The text of Google's session attributes, made of a landing's ``gad_`` parameters; ``None`` if there are none.

    A JSON object as URL-safe Base64 without padding, as Google's own browser library makes it; the referrer and the
    user agent are part of it while it stays within 4,000 characters.
    """
    facts = {name: values[0][:200] for name, values in parameters.items() if _GAD(name)}
    if not facts:
        return None
    facts["session_start_time_usec"] = str(int(at.timestamp()) * 1_000_000 + at.microsecond)
    facts["landing_page_url"] = url
    text = _packed(facts)
    if text is None:
        return None
    for name, value in (("landing_page_referrer", referrer), ("landing_page_user_agent", user_agent)):
        if value and (longer := _packed({**facts, name: value})):
            facts[name], text = value, longer
    return text


def landing_page(text: str) -> str | None:
    """The page of a landing, out of the text that :func:`google_landing` made; ``None`` if it is none."""
    try:
        return _landing.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).landing_page_url
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


class _Landing(msgspec.Struct):
    landing_page_url: str


_landing: Final = msgspec.json.Decoder(_Landing)


def _packed(facts: Mapping[str, str]) -> str | None:
    text = base64.urlsafe_b64encode(msgspec.json.encode(facts)).rstrip(b"=").decode()
    return text if len(text) <= _MAX_SESSION_CHARS else None


# The cookie that remembers clicks: "1~<field>.<seconds in base 36>.<id, percent-encoded>~...". Its characters are those
# that a cookie may hold as they are.
CLICK_COOKIE: Final = "_capi_clicks"
_VERSION: Final = "1"
#: A browser keeps 4,096 bytes of a cookie, its name and attributes included.
_MAX_COOKIE_CHARS: Final = 3_500


def remembered(values: Sequence[str], now: datetime, keep_s: float) -> dict[str, Seen]:
    """The clicks that the cookie holds and that are no older than ``keep_s``; what cannot be read is not there."""
    seen: dict[str, Seen] = {}
    for value in values[:1]:
        version, _, rest = value.partition("~")
        if version != _VERSION:
            continue
        for entry in rest[:_MAX_COOKIE_CHARS].split("~"):
            field, _, more = entry.partition(".")
            stamp, _, text = more.partition(".")
            at, text = _time(stamp), unquote(text)
            if at is None or field not in CLICKS or not fits(field, text):
                continue
            if 0 <= (now - at).total_seconds() <= keep_s:
                seen[field] = Seen(text, at)
    return seen


def cookie_of(seen: Mapping[str, Seen]) -> str:
    """The value of the cookie; what does not fit goes, oldest clicks first."""
    text = _VERSION
    for field, one in sorted(seen.items(), key=lambda pair: pair[1].at, reverse=True):
        # the tilde stands for itself in an address, and between entries here
        entry = f"~{field}.{_base36(int(one.at.timestamp()))}.{quote(one.text, safe='').replace('~', '%7E')}"
        if len(text) + len(entry) <= _MAX_COOKIE_CHARS:
            text += entry
    return text


_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


def _time(text: str) -> datetime | None:
    if not 1 <= len(text) <= 8 or not text.isascii() or not text.isalnum():
        return None
    try:
        return datetime.fromtimestamp(int(text, 36), UTC)
    except (ValueError, OverflowError, OSError):
        return None
