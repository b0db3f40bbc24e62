"""What would become of one event, offline and without anybody's data in the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.engine.prepare import Preparer
from capi_async.event import Event, Hashed
from capi_async.outcome import Outcome, OutcomeKind
from capi_async.pii.identifiers import IDENTIFIER_SOURCES, Identifiers
from capi_async.spec import Destination
from capi_async.spool.base import Record


class Explanation(Struct, frozen=True, kw_only=True):
    """One event at one destination.

    Attributes:
        verdict: What is to be expected: ``pending`` (it would be sent), or why not.
        reason, field, fix: Of a refusal.
        wire: The wire object with every clear personal value masked as ``<field>``; ``None`` if refused. What lies
            more than 100 levels deep is left out.
        used: Identifiers that would be sent.
        unused: Fields that the event has and this platform has no use for.
        refused: Fields whose value could not be read, and why.
        warnings: What was adjusted or left out.
    """

    destination: str
    verdict: OutcomeKind
    reason: str = ""
    field: str = ""
    fix: str = ""
    wire: Any = None
    used: Sequence[str] = ()
    unused: Sequence[str] = ()
    refused: Mapping[str, str] = {}
    warnings: Sequence[str] = ()


#: Values shorter than this are masked only where they stand alone, not inside longer texts.
_MIN_INSIDE: Final = 4
_MIN_PHONE: Final = 7
#: Levels that are shown; any deeper is nobody's reading, and the stack has an end.
_MAX_DEPTH: Final = 100
_TOO_DEEP: Final = "<nested too deeply to show>"

_AMOUNTS: Final = (
    "value", "price", "item_price", "amount", "predicted_ltv", "quantity", "num_items", "number_items",
)  # fmt: skip
_TIME: Final = re.compile(r"\d{10,13}|\d{4}-\d\d-\d\dT[\d:.]+Z")
#: Keys that say nothing of a person, and the form of what belongs there: equal to an id by coincidence only.
_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    **dict.fromkeys(_AMOUNTS, re.compile(r"-?\d+(\.\d+)?")),
    "currency": re.compile(r"[A-Z]{3}"),
    "event_time": _TIME,
    "timestamp": _TIME,
}
#: Keys of the event's name, left where it is the platform's own word.
_NAMES: Final = frozenset({"event_name", "event_type", "event", "eventName"})
#: Keys of the ids of what was bought: a short number is nobody's.
_ITEMS: Final = frozenset({"id", "content_id", "content_ids", "item_ids"})


def explain(destination: Destination, preparer: Preparer, event: Event, now: float) -> Explanation:
    """See :meth:`capi_async.client.Client.explain`."""
    made, ids, warnings = preparer.one(destination, event, now)
    given = [name for name in event.user.__struct_fields__ if getattr(event.user, name) not in (None, "", (), [])]
    mine = {attribute: IDENTIFIER_SOURCES[attribute] for attribute in destination.identifiers}
    used = [attribute for attribute in destination.identifiers if getattr(ids, attribute, None)]
    common: dict[str, Any] = {
        "destination": destination.name,
        "used": used,
        "unused": [name for name in given if name not in mine.values()],
        "refused": {field: reason for field, reason in ids.refused.items() if field in _fields(mine.values())},
        "warnings": [*ids.warnings, *warnings],
    }
    if isinstance(made, Outcome):
        return Explanation(verdict=made.kind, reason=made.reason, field=made.field, fix=made.fix, **common)
    return Explanation(verdict="pending", wire=_masked(made, event, ids, destination.name_of(event)), **common)


def _fields(sources: Any) -> set[str]:
    return {name for source in sources for name in (source, f"user.{source}")}


def _masked(record: Record, event: Event, ids: Identifiers, name: str | None) -> Any:
    """The wire object without anything that somebody could be known by, except digests."""
    try:
        wire = msgspec.json.decode(record.body)
    except RecursionError:  # near the end of the caller's stack
        return _TOO_DEEP
    return _mask(wire, _clear_values(event, ids), name)


def _clear_values(event: Event, ids: Identifiers) -> dict[str, str]:
    """Every clear text of the event's person, in each form in which it may travel, to the name that masks it."""
    found: dict[str, str] = {}

    def note(value: object, name: str) -> None:
        if isinstance(value, (list, tuple)):
            for one in value:
                note(one, name)
        elif isinstance(value, str) and value.strip() and not _is_digest(value):
            for form in (value, value.strip(), value.strip().lower()):
                found.setdefault(form, f"<{name}>")

    for name in event.user.__struct_fields__:
        value = getattr(event.user, name)
        if isinstance(value, date):
            note(value.isoformat(), name)
            note(value.strftime("%Y%m%d"), name)
        elif not isinstance(value, Hashed):
            note(value, name)
    phones = event.user.phone
    for phone in (phones,) if isinstance(phones, str) else phones if isinstance(phones, Sequence) else ():
        digits = "".join(filter(str.isdigit, phone)) if isinstance(phone, str) else ""
        # as an address may hold it: without punctuation, and without its country code of one to three digits
        for country in range(4):
            if len(digits[country:]) >= _MIN_PHONE:
                note(digits[country:], "phone")
    for attribute, source in IDENTIFIER_SOURCES.items():
        if not source.startswith("page."):
            note(getattr(ids, attribute, None), source)
    for name in event.click.__struct_fields__:
        note(getattr(event.click, name), f"click.{name}")
    full = " ".join(filter(None, (ids.first_name_clear, ids.last_name_clear)))
    note(full, "name")
    # longest first, so that a full name is not masked piecemeal
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _mask(value: Any, secrets: Mapping[str, str], name: str | None, key: str = "", depth: int = 0) -> Any:
    """``value``, which stands at ``key``, with all of ``secrets`` masked; ``name`` is the platform's of the event."""
    if isinstance(value, (dict, list)) and depth >= _MAX_DEPTH:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {below: _mask(one, secrets, name, below, depth + 1) for below, one in value.items()}
    if isinstance(value, list):
        return [_mask(one, secrets, name, key, depth + 1) for one in value]
    if not isinstance(value, str) or _is_digest(value) or _is_nobodys(value, secrets, name, key):
        return value
    if value in secrets:
        return secrets[value]
    for text, mask in secrets.items():
        if len(text) >= _MIN_INSIDE and text in value:
            value = value.replace(text, mask)
    return value


def _is_nobodys(value: str, secrets: Mapping[str, str], name: str | None, key: str) -> bool:
    """Whether a text is merely written like something of the person's."""
    if form := _FORMS.get(key):
        # what was put in the wrong place is masked all the same where it could reach the person
        return form.fullmatch(value) is not None and not any(
            mask.startswith(("<phone", "<click.")) and len(text) >= _MIN_INSIDE and text in value
            for text, mask in secrets.items()
        )
    return (key in _NAMES and value == name) or (key in _ITEMS and len(value) < _MIN_INSIDE and value.isdigit())
