"""The way of an event through a platform, for many together: see :mod:`capi_async.destinations.platform`.

They are those of which nothing is asked for, see :func:`_is_regular`; the others are left to the steps for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from capi_async.destinations.base import are_web, is_web
from capi_async.destinations.declared import Form, Plan
from capi_async.destinations.texts import View, addresses
from capi_async.event import NO_CLICK, Consent, Event
from capi_async.platform_fields import PLATFORM_FIELDS
from capi_async.rows import Rows, Together

#: Where such events happen.
WEB: Final = "website"
#: Fewer than this share of the events are not worth to be taken together.
_LEAST: Final = 2 / 3


class Facts(NamedTuple):
    """What a platform says of events that happened on the web.

    Attributes:
        names: A canonical or custom name to the platform's.
        purchase: The platform's name of those that need an amount and its currency.
        max_age_s, window_s: See :class:`capi_async.spec.Wire`.
        click_parameter, with_good_clicks: See :class:`capi_async.destinations.platform.Platform`.
    """

    form: Form
    head: bytes
    names: Mapping[str, str]
    purchase: str | None
    max_age_s: float
    window_s: float
    click_parameter: str
    with_good_clicks: Callable[[Event, list[str]], Event]


def together(facts: Facts) -> Callable[[Rows], Together | None]:
    """The function that takes many events through the steps."""
    form, head, names_of, purchase, max_age_s, window_s, *_ = facts
    plans = {single: Plan(form.part, single=single) for single in (False, True)}

    def mapped(rows: Rows) -> Together | None:
        regular = rows.held("regular", lambda: _only_regular(rows))
        if regular is None:
            return None
        some, mask = regular
        names = [names_of.get(name) or "" for name in some.of("name")]
        if not all(names) or (purchase in names and not _told(some, names, purchase)):
            return None
        bodies = list(map(str.encode, plans[some.single].objects(_view(facts, some, names), some.size)))
        expires_at = [at + max_age_s for at in rows.times]
        if mask is None:
            return Together(bodies, head, expires_at, window_s)
        following = iter(bodies)
        return Together([next(following) if one else None for one in mask], head, expires_at, window_s)

    return mapped


def _only_regular(rows: Rows) -> tuple[Rows, Sequence[bool] | None] | None:
    """The regular ones of the events, and which of all they are, if some are not; ``None``: too few."""
    if _all_regular(rows):
        return rows, None
    emails = rows.of_people("email")
    urls = rows.of_people("page_url")
    if emails is None or urls is None:
        return None
    odd = set(rows.odd)
    mask = [
        index not in odd and _is_regular(event, email, url)
        for index, (event, email, url) in enumerate(zip(rows.events, emails, urls, strict=True))
    ]
    return (rows.only(mask), mask) if (count := sum(mask)) >= rows.least and count >= rows.size * _LEAST else None


def _all_regular(rows: Rows) -> bool:
    """Whether :func:`_is_regular` holds for all, looked at by columns."""
    size = rows.size
    return (
        not rows.odd
        and rows.of("source").count(WEB) == size
        and all(rows.of(field).count(None) == size for field in _NOT_THERE)
        and (
            (consents := rows.of("consent")).count(None) == size
            or all(one is None or _is_granted(one) for one in consents)
        )
        and not any(any(rows.of(field)) for field in _EMPTY)
        and all(rows.of_people("email") or ())
        and are_web(rows.of_people("page_url"))
    )


def _is_regular(event: Event, email: object, url: str | None) -> bool:
    """Whether it is a visit to a website by somebody of whom nothing is asked for but an e-mail address."""
    return (
        event.source == WEB
        and bool(email)
        and url is not None
        and is_web(url)
        and not (event.test or event.extra or event.properties)
        and (event.consent is None or _is_granted(event.consent))
        and all(getattr(event, field) is None for field in _NOT_THERE)
    )


#: Fields of the event that are ``None``, or empty.
_NOT_THERE: Final = ("app", "device", *PLATFORM_FIELDS)
_EMPTY: Final = ("test", "extra", "properties")


def _is_granted(consent: Consent) -> bool:
    """Whether nothing was denied, and nothing is to be passed on."""
    return consent.sale_opt_out is None and not (
        consent.ad_storage is False or consent.ad_user_data is False or consent.ad_personalization is False
    )


def _told(rows: Rows, names: Sequence[str], purchase: str | None) -> bool:
    """Whether all purchases have an amount and its currency."""
    return all(
        value is not None and currency
        for name, value, currency in zip(names, rows.of("value"), rows.of("currency"), strict=True)
        if name == purchase
    )


def _view(facts: Facts, rows: Rows, names: Sequence[str]) -> View:
    """The rows with such click ids as the platform takes."""
    clicks, parameter = rows.of("click"), facts.click_parameter
    if clicks.count(NO_CLICK) == rows.size and not (parameter and parameter in addresses(rows)):
        return View(rows, names, rows.events, None)
    ignored: list[str] = []
    events = [facts.with_good_clicks(event, ignored) for event in rows.events]
    return View(rows, names, events, [event.click for event in events])
