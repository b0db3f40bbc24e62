"""The identifiers of the fields that take several values: e-mail addresses, phone numbers, external ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from hashlib import sha256
from typing import Any, Final, TypeAlias

from capi_async.event import Hashed, variant_of
from capi_async.pii import normalize
from capi_async.pii.fields import NOBODYS, Columns, Notes, columns_one_by_one, elsewhere, spread
from capi_async.pii.hashing import EMPTY_DIGEST, as_lines, digests_of, looks_hashed
from capi_async.pii.normalize import email, email_google, email_reddit, phone, trimmed
from capi_async.pii.phone import TRUNK_ZERO
from capi_async.pii.refused import (
    EMPTY_HASH,
    ID_PLACEHOLDERS,
    LOOKS_HASHED,
    MAX_LENGTH,
    PLACEHOLDER,
    PLACEHOLDERS,
    VARIABLE_SIGNS,
    Empty,
    Refused,
    is_placeholder,
)

Values: TypeAlias = str | Hashed | Sequence[str | Hashed]
Rule: TypeAlias = Callable[[str], str]
#: Digests per hashed attribute, then the clear text of the first value where the field has one.
Places: TypeAlias = tuple[Any, ...]

# Attribute to its texts, in order and without repeats.
_Found: TypeAlias = dict[str, dict[str, None]]
# What was left out, and why: one attribute, a value as a whole (""), or something already reported (None).
_Refusals: TypeAlias = dict[tuple[str | None, str], None]

#: Plain ASCII addresses and E.164 numbers, a line each; as strict as the rules, which take more.
_lines_of_emails: Final = re.compile(
    r"(?:[!#$%&'+\-./0-9=?^_`a-zA-Z{|}~]++@(?:[0-9a-zA-Z_\-]++\.)++[0-9a-zA-Z_\-]++\n)*+"
).fullmatch
_lines_of_numbers: Final = re.compile(rf"(?:\+1[0-9]{{10}}\n|(?!{TRUNK_ZERO})\+[2-9][0-9]{{7,14}}\n)*+").fullmatch

_DIGITS_READ: Final = "64 hex digits read as a digest"


def _email_clear(value: str) -> str:
    """Trimmed only, of a valid address."""
    normalize.email(value)
    return normalize.trimmed(value)


def _without_plus(number: str) -> str:
    return number[1:]


#: User field to attribute to its rule (a phone is E.164 already) and whether the result is hashed. Hashed ones
#: hold every value, clear ones the first.
LIST_RULES: Final[Mapping[str, Mapping[str, tuple[Rule, bool]]]] = {
    "email": {
        "email": (normalize.email, True),
        "email_google": (normalize.email_google, True),
        "email_reddit": (normalize.email_reddit, True),
        "email_clear": (_email_clear, False),
    },
    "phone": {
        "phone_digits": (_without_plus, True),
        "phone_e164": (str, True),
    },
    "external_id": {
        "external_id": (normalize.external_id, True),
        "external_id_lower": (normalize.external_id_lower, True),
        "external_id_plain": (normalize.external_id_plain, True),
        "external_id_clear": (normalize.external_id, False),
    },
}


class ListField:
    """One field's values to its places; every text is hashed once."""

    def __init__(self, name: str, wanted: Set[str], notes: Notes) -> None:
        rules = LIST_RULES[name]
        self.name = name
        self.wanted = wanted & rules.keys()
        self.blank: tuple[None, ...] = (None,) * len(rules)
        self._rules = [(attribute, *rule) for attribute, rule in rules.items() if attribute in wanted]
        self._attributes = tuple(rules)
        self._notes = notes
        self._nothing = ID_PLACEHOLDERS if name == "external_id" else PLACEHOLDERS

    def read(self, values: Values, region: str | None = None) -> Places:
        """The places of what one user has; ``region`` is the country of phone numbers without its code."""
        raise NotImplementedError

    def columns(self, values: Sequence[Values | None], odd: set[int]) -> Columns:
        """The places of many users at once; ``None`` stands for one without this field.

        Indices of those about whom there is something to report are added to ``odd``: they need a look of their own.
        """
        if not self.wanted or not any(values):
            return [NOBODYS] * len(self.blank)
        return columns_one_by_one(self.read, values, self.blank, self._notes, odd)

    def skip(self, _values: Values, _region: str | None = None) -> Places:
        """The places of a field that nobody wants."""
        return self.blank

    def _general(self, values: Values, region: str | None) -> Places:
        """The places of any value, of a list, and of what a short path does not know."""
        found: _Found = {}
        refusals: _Refusals = {}
        # event.User lets nothing else through than text, digests and lists of them
        several = (values,) if isinstance(values, (str, Hashed)) else values
        for value in several:
            if type(value) is Hashed:
                self._digest(value, found, refusals)
            elif isinstance(value, str) and len(value) >= 64 and looks_hashed(digits := value.strip()):
                if self.name == "phone":
                    refusals["", LOOKS_HASHED] = None
                else:
                    self._notes.warn(self.name, _DIGITS_READ)
                    self._digest(Hashed(digits), found, refusals)
            elif isinstance(value, str) and is_placeholder(value, self._nothing):
                refusals["", PLACEHOLDER] = None
            elif isinstance(value, str):
                self._text(value, region, found, refusals)
        if refusals:
            self._report(found, refusals)
        return tuple([self._place(name, found.get(name)) for name in self._attributes])

    def _place(self, attribute: str, found: dict[str, None] | None) -> Any:
        if not found:
            return None
        return tuple(found) if LIST_RULES[self.name][attribute][1] else next(iter(found))

    def _text(self, value: str, region: str | None, found: _Found, refusals: _Refusals) -> None:
        if self.name == "phone":
            try:
                value = normalize.phone(value, region)
            except Empty:
                return
            except Refused as refused:
                refusals["", refused.reason] = None
                return
        last_text = last_digest = ""
        for attribute, rule, hashed in self._rules:
            try:
                text = rule(value)
            except Empty:
                continue
            except Refused as refused:
                refusals[attribute, refused.reason] = None
                continue
            if hashed:
                if text != last_text:
                    last_text, last_digest = text, sha256(text.encode()).hexdigest()
                text = last_digest
            found.setdefault(attribute, {})[text] = None

    def _digest(self, value: Hashed, found: _Found, refusals: _Refusals) -> None:
        if value.digest == EMPTY_DIGEST:
            refusals["", EMPTY_HASH] = None
            return
        variant = variant_of(self.name, value)
        # whoever hashes an own id without naming a rule hashes it as the browser tags get it: it is good for all
        any_rule = value.variant is None and self.name == "external_id"
        for attribute, _, hashed in self._rules:
            if attribute == variant or (any_rule and hashed):
                found.setdefault(attribute, {})[value.digest] = None
            else:
                reason = elsewhere(variant, attribute, hashed=hashed)
                self._notes.warn(self.name, reason)
                refusals[None, reason] = None

    def _report(self, found: _Found, refusals: _Refusals) -> None:
        """Refuse the field if nothing of it is left, else warn of what is missing."""
        if not found:
            self._notes.refuse(self.name, next(iter(refusals))[1])
            return
        for what, reason in refusals:
            if what == "":
                self._notes.warn(self.name, f"a value is left out: {reason}")
            elif what is not None:
                missing = f"a value is left out of {what}" if what in found else f"no {what}"
                self._notes.warn(self.name, f"{missing}: {reason}")


class Emails(ListField):
    """Addresses; nearly always one, and nearly always the same text by every rule."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("email", wanted, notes)
        self._one_rule = self.wanted == {"email"}
        self._plain, self._google = "email" in wanted, "email_google" in wanted
        self._reddit, self._clear = "email_reddit" in wanted, "email_clear" in wanted

    def read(self, values: Values, region: str | None = None) -> Places:
        if type(values) is not str:
            return self._general(values, None)
        try:
            text = email(values)
            digests = (sha256(text.encode()).hexdigest(),)
            if self._one_rule:
                return digests, None, None, None
            return (
                digests if self._plain else None,
                _again(email_google(text), text, digests) if self._google else None,
                _again(email_reddit(text), text, digests) if self._reddit else None,
                trimmed(values) if self._clear else None,
            )
        except Refused:
            return self._general(values, None)

    def columns(self, values: Sequence[Values | None], odd: set[int]) -> Columns:
        """See :meth:`ListField.columns`."""
        if self._one_rule and any(values):
            lines = as_lines(values, _lines_of_emails, longest=MAX_LENGTH)
            if lines is not None:
                return [_in_tuples(values, digests_of(lines.lower())), NOBODYS, NOBODYS, NOBODYS]
        return super().columns(values, odd)


def _in_tuples(values: Sequence[Any], digests: Sequence[str]) -> Iterable[tuple[str] | None]:
    """Each digest as the only one of its user; ``None`` for those without a value."""
    return spread(values, zip(digests), len(digests))


def _again(text: str, hashed: str, digests: tuple[str]) -> tuple[str]:
    """``digests`` of ``hashed`` if ``text`` is the same, else its own."""
    return digests if text == hashed else (sha256(text.encode()).hexdigest(),)


class Phones(ListField):
    """Numbers; nearly always one, already in E.164."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("phone", wanted, notes)
        self._digits, self._e164 = "phone_digits" in wanted, "phone_e164" in wanted

    def read(self, values: Values, region: str | None = None) -> Places:
        if type(values) is not str:
            return self._general(values, region)
        try:
            number = phone(values, region)
        except Refused:
            return self._general(values, region)
        octets = number.encode()
        return (
            (sha256(octets[1:]).hexdigest(),) if self._digits else None,
            (sha256(octets).hexdigest(),) if self._e164 else None,
        )

    def columns_in(
        self, values: Sequence[Values | None], countries: Sequence[str | None], region: str | None, odd: set[int]
    ) -> Columns:
        """Like :meth:`ListField.columns`, with the country of each user, or ``region`` where none is known."""
        if not self.wanted or not any(values):
            return [NOBODYS] * len(self.blank)
        lines = as_lines(values, _lines_of_numbers, longest=MAX_LENGTH)
        if lines is not None:
            return [
                _in_tuples(values, digests_of(lines.replace("+", ""))) if self._digits else NOBODYS,
                _in_tuples(values, digests_of(lines)) if self._e164 else NOBODYS,
            ]
        pairs = [
            None if value is None else (value, country.upper() if country else region)
            for value, country in zip(values, countries, strict=True)
        ]
        return columns_one_by_one(lambda pair: self.read(*pair), pairs, self.blank, self._notes, odd)


class ExternalIds(ListField):
    """Own ids; nearly always one."""

    def __init__(self, wanted: Set[str], notes: Notes) -> None:
        super().__init__("external_id", wanted, notes)
        kinds = ("external_id", "external_id_lower", "external_id_plain", "external_id_clear")
        self._kinds = tuple([kind in wanted for kind in kinds])

    def read(self, values: Values, region: str | None = None) -> Places:
        if type(values) is not str or len(values) >= 64:
            return self._general(values, None)
        text = values.strip()
        # a word that stands for nothing may be quoted: what has a quote anywhere is looked at in general
        if "'" in text or '"' in text or "*" in text or not text or not text.isascii():
            return self._general(values, None)
        small = text.lower()
        if small in ID_PLACEHOLDERS or text[0] in VARIABLE_SIGNS:
            return self._general(values, None)
        hashed, lower, plain, clear = self._kinds
        digests = (sha256((small if lower or plain else text).encode()).hexdigest(),)
        # of white space in ASCII, only the blank itself is printable
        blank = lower and (" " in small or not small.isprintable())
        return (
            (digests if text == small or not (lower or plain) else (sha256(text.encode()).hexdigest(),))
            if hashed
            else None,
            (_again("".join(small.split()), small, digests) if blank else digests) if lower else None,
            digests if plain else None,
            text if clear else None,
        )
