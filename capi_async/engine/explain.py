"""What would become of one event: offline, and without personal data in the answer."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.engine.prepare import Preparer
from capi_async.event import Event
from capi_async.outcome import Outcome, OutcomeKind
from capi_async.pii.identifiers import IDENTIFIER_SOURCES, Identifiers
from capi_async.pii.urls import decoded_once
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


#: Values shorter than this are masked only as whole texts, not inside longer ones.
_MIN_INSIDE: Final = 4
_MIN_PHONE: Final = 7
#: Levels that are shown; deeper ones would not be read, and the stack is bounded.
_MAX_DEPTH: Final = 100
_TOO_DEEP: Final = "<nested too deeply to show>"
_NO_JSON: Final = "<no JSON that could be shown>"
#: Layers of encoding that are taken off.
_LAYERS: Final = 16
_EMAIL: Final = re.compile(r"[^\s@/?&=#,;:<>\"'()]+@[^\s@/?&=#,;:<>\"'()]+")
#: Digits with what people write between them.
_NUMBER: Final = re.compile(r"\+?\d[\d\s().\-/]{5,}\d")
#: What separates the parts of an address or a text, each of which may be encoded by itself.
_BETWEEN: Final = re.compile(r"([/?&=#;,|\s\"'<>()\[\]{}])")
_WIDE_SIGNS: Final = str.maketrans({"\uff20": "@", "\ufe6b": "@"})

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
#: Keys of the ids of what was bought: a short number there identifies no person.
_ITEMS: Final = frozenset({"id", "content_id", "content_ids", "item_ids"})


def explain(destination: Destination, preparer: Preparer, event: Event, now: float) -> Explanation:
    """See :meth:`capi_async.client.Client.explain`."""
    made, ids, warnings = preparer.one(destination, event, now)
    mask = _Mask(event, ids, destination.name_of(event))
    given = [name for name in event.user.__struct_fields__ if getattr(event.user, name) not in (None, "", (), [])]
    mine = {attribute: IDENTIFIER_SOURCES[attribute] for attribute in destination.identifiers}
    used = [attribute for attribute in destination.identifiers if getattr(ids, attribute, None)]
    common: dict[str, Any] = {
        "destination": destination.name,
        "used": used,
        "unused": [name for name in given if name not in mine.values()],
        "refused": {field: reason for field, reason in ids.refused.items() if field in _fields(mine.values())},
        "warnings": [mask.said(text) for text in (*ids.warnings, *warnings)],
    }
    if isinstance(made, Outcome):
        reason, field, fix = mask.said(made.reason), mask.said(made.field), mask.said(made.fix)
        return Explanation(verdict=made.kind, reason=reason, field=field, fix=fix, **common)
    return Explanation(verdict="pending", wire=_masked(made, mask), **common)


def _fields(sources: Any) -> set[str]:
    return {name for source in sources for name in (source, f"user.{source}")}


def _masked(record: Record, mask: _Mask) -> Any:
    """The wire object without anything that identifies a person, except digests."""
    try:
        wire = msgspec.json.decode(record.body)
    except RecursionError:  # near the end of the caller's stack
        return _TOO_DEEP
    except (msgspec.MsgspecError, UnicodeError):
        return _NO_JSON
    return mask.of(wire)


def _clear_values(event: Event, ids: Identifiers) -> dict[str, str]:
    """Every clear text of the event's person, in each form in which it may travel, to the name that masks it."""
    found: dict[str, str] = {}

    def note(value: object, name: str) -> None:
        if isinstance(value, (list, tuple)):
            for one in value:
                note(one, name)
        elif isinstance(value, date):
            note(value.isoformat(), name)
            note(value.strftime("%Y%m%d"), name)
        elif isinstance(value, str) and value.strip() and not _is_digest(value):
            for form in (value, value.strip(), value.strip().lower()):
                found.setdefault(form, f"<{name}>")

    for name in event.user.__struct_fields__:
        note(getattr(event.user, name), name)
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
    for attribute, values in (ids.several or {}).items():
        note(values, IDENTIFIER_SOURCES[attribute])
    for name in event.click.__struct_fields__:
        note(getattr(event.click, name), f"click.{name}")
    for field in ("first_name", "middle_name", "last_name"):
        # each word of a name by itself too
        given = getattr(event.user, field)
        for one in given if isinstance(given, tuple) else (given,):
            if isinstance(one, str):
                note(one.split(), field)
    full = " ".join(filter(None, (ids.first_name_clear, ids.last_name_clear)))
    note(full, "name")
    # longest first, so that a full name is not masked piecemeal
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


class _Mask:
    """Takes everything out of what is shown that one could be known by; see :func:`_clear_values`."""

    def __init__(self, event: Event, ids: Identifiers, name: str | None) -> None:
        self._secrets = _clear_values(event, ids)
        self._name = name
        self._given = event.name
        folded: dict[str, str] = {}
        for text, mask in self._secrets.items():
            if len(text) >= _MIN_INSIDE:
                folded.setdefault(text.casefold(), mask)
        self._folded = folded
        # longest first, so that a full name is not masked piecemeal
        texts = sorted(folded, key=len, reverse=True)
        self._inside = re.compile("|".join(map(re.escape, texts)), re.IGNORECASE).sub if texts else None
        self._phones = [text for text, mask in folded.items() if mask == "<phone>" and text.isdigit()]
        # keys of the wire's own are words like "city", which may be a city's name too
        self._free_keys = frozenset(_keys(event.properties)) | frozenset(_keys(event.extra))

    def of(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """``value``, found at ``key``, with all personal data masked."""
        if isinstance(value, (dict, list)) and depth >= _MAX_DEPTH:
            return _TOO_DEEP
        if isinstance(value, dict):
            return {self._key(below): self.of(one, below, depth + 1) for below, one in value.items()}
        if isinstance(value, list):
            return [self.of(one, key, depth + 1) for one in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._number(value, key)
        if not isinstance(value, str) or _is_digest(value) or _is_nobodys(value, self._secrets, self._name, key):
            return value
        return self._text(value)

    def said(self, text: str) -> str:
        """Words about the event, which repeat nothing of it but names."""
        shown = self._text(self._given)
        if shown != self._given:
            text = text.replace(self._given, shown)
        return _EMAIL.sub("<email>", text)

    def _text(self, value: str) -> str:
        if value in self._secrets:
            return self._secrets[value]
        if self._inside is not None:
            value = self._inside(self._replacement, value)
        if "&" in value:
            # an entity would be cut at its own signs
            value = html.unescape(value) if "&#" in value or "&commat" in value.lower() else value
        if "@" in value:
            value = _EMAIL.sub("<email>", value)
        value = _NUMBER.sub(self._phone, value)
        parts = _BETWEEN.split(value)
        for index in range(0, len(parts), 2):
            parts[index] = self._decoded(parts[index])
        return "".join(parts)

    def _replacement(self, found: re.Match[str]) -> str:
        return self._folded.get(found[0].casefold(), "<user>")

    def _phone(self, found: re.Match[str]) -> str:
        digits = "".join(filter(str.isdigit, found[0]))
        mine = any(phone in digits for phone in self._phones)
        return "<phone>" if mine or (found[0].startswith("+") and len(digits) > _MIN_PHONE) else found[0]

    def _decoded(self, part: str) -> str:
        """A part that is encoded, or its mask if it holds personal data once it is decoded."""
        if part.isalnum() and part.isascii():
            return part
        text = part
        for _ in range(_LAYERS):
            plain = unicodedata.normalize("NFKC", text.translate(_WIDE_SIGNS)).casefold()
            for form in (plain, plain.replace("+", " ")):
                if _EMAIL.search(form):
                    return "<email>"
                if (mask := self._held(form)) is not None:
                    return mask
            decoded = decoded_once(text)
            if decoded == text:
                return part
            text = decoded
        return "<encoded too often to show>"

    def _held(self, text: str) -> str | None:
        return next((mask for secret, mask in self._folded.items() if secret in text), None)

    def _number(self, value: float, key: str) -> Any:
        text = str(value)
        if _is_nobodys(text, self._secrets, self._name, key):
            return value
        if any(phone in text for phone in self._phones):
            return "<phone>"
        return self._secrets.get(text, value) if len(text) >= _MIN_INSIDE else value

    def _key(self, key: str) -> str:
        return self._text(key) if key in self._free_keys else key


def _keys(value: Any, depth: int = 0) -> Iterator[str]:
    """Every key inside ``value``, as deep as it is shown."""
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for key, below in value.items():
            yield str(key)
            yield from _keys(below, depth + 1)
    elif isinstance(value, (list, tuple)) and depth < _MAX_DEPTH:
        for below in value:
            yield from _keys(below, depth + 1)


def _is_nobodys(value: str, secrets: Mapping[str, str], name: str | None, key: str) -> bool:
    """Whether a text is merely written like something of the person's."""
    if form := _FORMS.get(key):
        # what was put in the wrong place is masked, too, where it could identify the person
        return form.fullmatch(value) is not None and not any(
            mask.startswith(("<phone", "<click.")) and len(text) >= _MIN_INSIDE and text in value
            for text, mask in secrets.items()
        )
    return (key in _NAMES and value == name) or (key in _ITEMS and len(value) < _MIN_INSIDE and value.isdigit())
