"""What a platform calls an event: the destination's own names, else those of its type."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from capi_async.amounts import amount
from capi_async.browser.calls import SAME_TAG, TAGS, linkedin_rule
from capi_async.errors import ConfigError, EventError
from capi_async.event import STANDARD_EVENTS, Event
from capi_async.plain import shown
from capi_async.spec import Destination


class BrowserTag(Struct, frozen=True, kw_only=True):
    """A platform's tag whose names are told here.

    Attributes:
        platform: ``meta``, ``tiktok``, ``snap``, ``pinterest``, ``reddit``, ``linkedin``, ``ga4`` or ``x``.
        names: Canonical name of an event to the tag's; for ``linkedin`` the number of the browser's own conversion
            rule, for ``x`` the id of the event's tag (``tw-...``). ``None``: the tag is not called.

    Raises:
        ConfigError: A name is none, or of ``linkedin`` no number.
    """

    platform: str
    names: Mapping[str, str | int | None] = {}

    def __post_init__(self) -> None:
        if not isinstance(self.names, Mapping):
            found = shown(type(self.names).__name__)
            raise ConfigError(f"BrowserTag: names needs events and what the tag calls them, got {found}")
        force_setattr(self, "names", {event: self._checked(event, name) for event, name in self.names.items()})

    def _checked(self, event: str, name: object) -> str | None:
        if name is None:
            return None
        # LinkedIn's names are numbers, and are written as such
        text = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
        if not isinstance(text, str) or not text:
            found = shown(type(name).__name__)
            raise ConfigError(f"BrowserTag: names: what {shown(event)} is called needs a text, got {found}")
        if self.platform == "linkedin" and linkedin_rule(text) is None:
            raise ConfigError(
                f"BrowserTag: names: of linkedin, {shown(event)} needs the number of the browser's conversion rule"
            )
        return text


#: Whose tag is to be called: an account of the client's, a platform by its name, or a tag with names of its own.
Target: TypeAlias = Destination | BrowserTag | str

# names of platforms whose server side may be elsewhere; a destination's own names go before them
_GA4: Final[Mapping[str, str | None]] = {
    "view_content": "view_item", "initiate_checkout": "begin_checkout", "lead": "generate_lead", "app_install": None,
    "app_open": None, "view_list": "view_item_list", "level_complete": "level_up",
    "spend_credits": "spend_virtual_currency",
    # a name that Google Analytics keeps for itself
    "ad_click": None,
}  # fmt: skip
_REDDIT: Final[Mapping[str, str | None]] = {
    "page_view": "PAGE_VISIT", "view_content": "VIEW_CONTENT", "search": "SEARCH", "add_to_cart": "ADD_TO_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST", "purchase": "PURCHASE", "lead": "LEAD", "sign_up": "SIGN_UP", "refund": None,
}  # fmt: skip
_OWN: Final[Mapping[str, Mapping[str, str | None]]] = {
    "ga4": {name: _GA4.get(name, name) for name in STANDARD_EVENTS},
    "reddit": {name: _REDDIT.get(name, "CUSTOM") for name in STANDARD_EVENTS},
    "linkedin": {},
    "x": {},
}
#: Platforms that take a custom event under its own name, or under a name for all of them.
_CUSTOM: Final[Mapping[str, str]] = {"reddit": "CUSTOM", "pinterest": "custom"}
_NO_CUSTOM: Final = frozenset({"snap", "linkedin", "x"})

NO_NAME: Final = (
    "has no name for this event; give one in event_names of the destination (of LinkedIn: browser_conversions), or in "
    "names of BrowserTag(...)"
)


def platform_of(target: Target) -> str:
    """The key of :data:`~capi_async.browser.calls.TAGS`.

    Raises:
        ConfigError: There is no tag of such a platform.
    """
    found = target if isinstance(target, str) else target.platform if isinstance(target, BrowserTag) else target.type
    found = SAME_TAG.get(found, found)
    if found not in TAGS:
        raise ConfigError(f"platforms: there is no browser tag for {shown(found)}; there are {', '.join(sorted(TAGS))}")
    return found


def name_of(target: Target, platform: str, event: Event) -> str | None:
    """What this platform calls the event; ``None``: it has no such event."""
    if isinstance(target, Destination):
        return _named(target, event)
    names = target.names if isinstance(target, BrowserTag) else {}
    if event.name in names:
        given = names[event.name]
        return given if given is None else str(given)
    standard = _standard(platform)
    if event.name in standard:
        return standard[event.name]
    return None if platform in _NO_CUSTOM else _CUSTOM.get(platform, event.name)


def value_of(target: Target, event: Event) -> Decimal | None:
    """What this account is told as the event's value, as the server does it.

    Raises:
        EventError: The account's own ``value`` gives none.
    """
    chosen: Any = target.value if isinstance(target, Destination) else None
    if chosen is None:
        value: Any = event.value
        return value if value is None else amount(value, "value")
    try:
        return amount(event.properties.get(chosen) if isinstance(chosen, str) else chosen(event), "value")
    except EventError:
        raise
    except Exception as error:  # the caller's code may raise anything; its text may quote the event
        raise EventError("value", f"the value setting raised {type(error).__name__}") from None


def _named(destination: Destination, event: Event) -> str | None:
    # an account whose browser tag reports by names of its own
    told: Mapping[str, str] | None = getattr(destination, "browser_names", None)
    if told is not None:
        return told.get(event.name)
    here = replace(event, source="website")
    if destination.knows(here):
        return destination.name_of(here)
    # how a platform takes a custom event is its own affair
    named = getattr(destination, "named", None)
    found = named(here, []) if named is not None else None
    return found if isinstance(found, str) else None


def _standard(platform: str) -> Mapping[str, str | None]:
    from capi_async.destinations.registry import row_of

    try:
        return row_of(platform).load().standard_names
    except (ConfigError, AttributeError):
        return _OWN.get(platform, {})
