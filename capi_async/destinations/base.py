"""What the destinations of several platforms share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat
from typing import Final
from urllib.parse import quote

from msgspec.structs import replace

from capi_async.destinations.refusals import BAD_PAGE as BAD_PAGE
from capi_async.event import NO_CLICK, Event
from capi_async.pii.clicks import checked, fits, in_address

ODD_PAGE: Final = "page.url: is no http(s) address and was left out"


def is_web(url: str) -> bool:
    """Whether this is an address of the web that names a host; blanks are encoded before anybody asks."""
    # asked of every event at every platform, and a caller's pages lie at a few hosts
    return url.startswith(_known_origins) or _is_web(url)


def are_web(urls: Sequence[str | None] | None) -> bool:
    """Whether all are addresses of the web."""
    if urls is None or not all(urls):
        return False
    return all(map(str.startswith, urls, repeat(_known_origins))) or all(map(is_web, urls))  # type: ignore[arg-type]  # none is None


#: Origins of the web up to and with the slash, as :func:`_is_web` met them.
_known_origins: tuple[str, ...] = ()
_MAX_ORIGINS: Final = 8
#: In characters.
_MAX_ORIGIN: Final = 256


def _is_web(url: str) -> bool:
    """What :func:`is_web` says, read character by character. The first few origins are remembered.

    Of an address that has a slash behind its host no more than that is read: all that begin alike are of the web.
    """
    global _known_origins
    if _WEB(url) is None:
        return False
    if len(_known_origins) < _MAX_ORIGINS:
        origin = url[: url.find("/", len("https://")) + 1]
        # what stands before an at sign may be a credential, which is not kept
        if 0 < len(origin) <= _MAX_ORIGIN and "@" not in origin:
            _known_origins = (*_known_origins, origin)
    return True


#: What cannot stand in a host (a percent sign is an encoded blank); none begins with a point or a hyphen.
_NO_HOST: Final = r"\s/?#@:\\\[\]%,;|<>\"'(){}$&*+=!^`~"
_WEB: Final = re.compile(
    r"https?://(?:[^/?#\\@]*+@)?"
    rf"(?:\[[0-9a-f:.]+\]|[^.\-{_NO_HOST}][^{_NO_HOST}]*+)"
    r"(?::[0-9]{0,5})?(?![^/?#\\])",
    re.IGNORECASE,
).match


def quoted(text: str) -> str:
    """The text as a part of an address; nearly all ids and tokens are such parts as they are."""
    return text if _UNRESERVED(text) else quote(text, safe="")


_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


def page_of(url: str | None, warnings: list[str]) -> str | None:
    """The page's address, or a note and nothing where it is none of the web: for platforms that can do without."""
    if url is None or is_web(url):
        return url
    warnings.append(ODD_PAGE)
    return None


def without_odd_clicks(event: Event, fields: tuple[str, ...]) -> tuple[Event, tuple[str, ...]]:
    """The event without those of these click ids that have not their form, and what to warn of."""
    if event.click is NO_CLICK:
        return event, ()
    click, warnings = checked(event.click, fields)
    return (replace(event, click=click), warnings) if warnings else (event, ())


def with_good_clicks(event: Event, fields: tuple[str, ...], parameter: str) -> tuple[Event, tuple[str, ...]]:
    """The event without those of these click ids that have not their form, and what to warn of.

    Args:
        fields: Of ``event.click``; the first is looked for in the page's address, too, if the event lacks it.
        parameter: The query parameter that holds it there.
    """
    click, page = event.click, event.page
    if click is NO_CLICK:
        # of nearly all events no more need be asked, and this runs for each of them
        url, referrer = page.url, page.referrer
        if (url is None or parameter not in url) and (referrer is None or parameter not in referrer):
            return event, ()
    held = getattr(click, fields[0])
    if (
        (page.url or page.referrer)
        and (held is None or not fits(fields[0], held))
        and (found := in_address(page, parameter))
        and (held is None or fits(fields[0], found))
    ):
        click = replace(click, **{fields[0]: found})
    elif click is NO_CLICK:
        return event, ()
    good, warnings = checked(click, fields)
    return (event if good is event.click else replace(event, click=good)), warnings
