"""The names of events: the standard ones, and which of them somebody meant who wrote another.

Every platform takes or skips an unknown name without a word, so nothing else ever reports that a purchase which is
named "Order Completed" is counted nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

#: Names every destination has an opinion on; any other text is a custom event.
STANDARD_EVENTS: Final = frozenset(
    {
        "page_view", "view_content", "search", "add_to_cart", "add_to_wishlist", "initiate_checkout",
        "add_payment_info", "purchase", "refund", "lead", "sign_up", "subscribe", "start_trial", "login",
        "contact", "download", "app_install", "app_open", "view_list", "watch_video", "share", "rate", "save", "invite",
        "reserve", "schedule", "find_location", "customize_product", "submit_application", "tutorial_complete",
        "level_complete", "unlock_achievement", "spend_credits", "ad_click", "ad_view",
    }
)  # fmt: skip

#: How platforms, analytics tools and shops call the same, in any case and with any separators.
#: Source: the platforms' lists of names, and those of Google Analytics 4 and Segment, read 2026-11.
_SAYINGS: Final[Mapping[str, str]] = {
    "page_view": "page visit, page, browse, key page view",
    "view_content": "view item, product view, view product, content view, view details, product detail view",
    "search": "product search, search product, site search, view search results",
    "add_to_cart": "add cart, product add, add to basket, add to bag, cart add, product add to cart",
    "add_to_wishlist": "product add to wishlist, wishlist add, add to list, add to favorites",
    "initiate_checkout": "begin checkout, start checkout, checkout start, checkout begin, checkout initiate, "
    "proceed to checkout",
    "add_payment_info": "add billing, add billing info, payment info enter, add payment, payment info add",
    "purchase": "order complete, complete payment, place an order, order place, order paid, checkout complete, "
    "purchase complete, complete purchase, complete order, place order, payment complete, order create, buy, "
    "transaction",
    "refund": "order refund, purchase refund, refund order",
    "lead": "generate lead, lead generate, submit form, form submit, lead submit, lead capture, submit lead, "
    "create lead, lead create",
    "sign_up": "complete registration, registration complete, registration, register, sign up complete, "
    "complete sign up, account create, create account, user sign up, user register",
    "subscribe": "subscription, subscription start, subscription create, start subscription, create subscription",
    "start_trial": "trial start, free trial, begin trial, start free trial",
    "login": "sign in, log in, user log in, user sign in",
    "contact": "contact us, consult, consult by phone, contact form",
    "download": "click to download, file download, download file",
    "app_install": "install app, install, application install, mobile app install",
    "app_open": "launch app, open app, application open, app launch",
    "view_list": "list view, view item list, item list view, product list view, view category, category view",
    "watch_video": "view video, video view, video watch, play video, video play",
    "share": "product share, content share",
    "rate": "rating, product rate",
    "save": "",
    "invite": "",
    "reserve": "reservation, book, booking",
    "schedule": "book appointment, schedule appointment, appointment schedule, appointment book",
    "find_location": "location find, store locator",
    "customize_product": "product customize, customise product",
    "submit_application": "application submit",
    "tutorial_complete": "complete tutorial, tutorial completion",
    "level_complete": "complete level, achieve level, level achieve, level up",
    "unlock_achievement": "achievement unlock",
    "spend_credits": "spent credits, spend virtual currency",
    "ad_click": "click ad, in app ad click",
    "ad_view": "view ad, in app ad impr, ad impression",
}

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
#: A name that is made of words; others, which may hold anything, are not looked into and never repeated.
_READABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _.:/-]{1,59}").fullmatch
_DIGITS: Final = re.compile(r"\d{3}")
_ENDINGS: Final = re.compile(r"(?<=[a-z]{2})(?:ied|ed|ing|ies|s|y|e)$")
#: Words that change otherwise than by their ending.
_ODD_WORDS: Final = {
    "bought": "buy", "began": "begin", "begun": "begin", "found": "find", "sent": "send", "paid": "pay",
    "logged": "log", "signed": "sign", "spent": "spend", "submitted": "submit",
}  # fmt: skip
_SIMILAR: Final = 0.85


def _key(name: str) -> str:
    """The words without case, separators, tense and number."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return "".join(_ENDINGS.sub("", _ODD_WORDS.get(word, word)) for word in words)


def _letters(name: str) -> str:
    return "".join(filter(str.isalpha, name)).lower()


_BY_KEY: Final[Mapping[str, str]] = {
    form(saying): name
    for name, sayings in _SAYINGS.items()
    for saying in (name, *filter(None, sayings.split(", ")))
    for form in (_key, _letters)
}
_STANDARD_BY_LETTERS: Final[Mapping[str, str]] = {_letters(name): name for name in STANDARD_EVENTS}


@lru_cache(maxsize=1_024)
def meant(name: str) -> str | None:
    """The standard name that somebody probably meant; ``None``: this is one, or it is like none.

    >>> meant("Order Completed")
    'purchase'
    >>> meant("LIST_VIEW")
    'view_list'
    >>> meant("quiz_done") is None
    True
    """
    if name in STANDARD_EVENTS or not _READABLE(name.strip()) or _DIGITS.search(name):
        return None
    letters = _letters(name)
    if found := _BY_KEY.get(_key(name)) or _BY_KEY.get(letters):
        return found
    near = get_close_matches(letters, _STANDARD_BY_LETTERS, 1, _SIMILAR) if len(letters) > 4 else []
    return _STANDARD_BY_LETTERS[near[0]] if near else None


def said_of(name: str, standard: str) -> str:
    """What is told of a name when another was probably meant."""
    return f"name: {name!r} is no standard name; is {standard!r} meant? (name it in event_names if not)"
