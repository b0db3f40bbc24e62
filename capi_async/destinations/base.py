"""What the destinations of several platforms share."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from capi_async.destinations.refusals import BAD_PAGE as BAD_PAGE
from capi_async.event import NO_CLICK, Event
from capi_async.pii.clicks import checked, in_address

ODD_PAGE: Final = "page.url: is no http(s) address and was left out"


def is_web(url: str) -> bool:
    """Whether this is an address of the web that names a host; blanks are encoded before anybody asks."""
    scheme = url[:8]
    if scheme == "https://" or (not scheme.startswith("http") and (scheme := scheme.lower()) == "https://"):
        return url[8:9] not in _NO_HOST
    return scheme[:7] == "http://" and url[7:8] not in _NO_HOST


_NO_HOST: Final = frozenset({"", "/", "?", "#"})


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
    if (page.url or page.referrer) and getattr(click, fields[0]) is None and (found := in_address(page, parameter)):
        click = replace(click, **{fields[0]: found})
    elif click is NO_CLICK:
        return event, ()
    good, warnings = checked(click, fields)
    return (event if good is event.click else replace(event, click=good)), warnings
