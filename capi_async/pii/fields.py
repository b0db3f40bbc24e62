"""The identifiers of one user field: each value normalised by every rule that is wanted, each text hashed once.

A field's result is a tuple with one place per attribute of the field, in the order of
:class:`~capi_async.pii.identifiers.Identifiers`; a place nobody wants, or that has no value, is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date
from hashlib import sha256
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, TypeAlias

from capi_async.event import Hashed, variant_of
from capi_async.pii import normalize
from capi_async.pii.hashing import EMPTY_DIGEST, looks_hashed, sha256_hex
from capi_async.pii.refused import (
    EMPTY_HASH,
    ID_PLACEHOLDERS,
    LOOKS_HASHED,
    PLACEHOLDER,
    PLACEHOLDERS,
    Empty,
    Refused,
    is_placeholder,
)

Text: TypeAlias = str | None
#: A rule takes the raw value and the alpha-2 code of the event's country.
Rule: TypeAlias = Callable[[Any, Text], str]
#: For each attribute of a field, what it is for one user after the other; may be endless where it is always ``None``.
Columns: TypeAlias = Sequence[Iterable[Any]]

#: An attribute that nobody has.
NOBODYS: Final = repeat(None)


class Notes:
    """What was refused, what looked odd, and of what there are several, of the event at hand.

    Attributes:
        any: True as soon as there is something to report.
        countries: Alpha-2 codes by position, of who has several.
    """

    __slots__ = ("any", "countries", "refused", "several", "warnings")

    def __init__(self) -> None:
        self.any = False
        self.refused: dict[str, str] = {}
        self.warnings: dict[str, None] = {}  # in order, without repeats
        self.several: dict[str, tuple[str, ...]] = {}
        self.countries: tuple[Text, ...] = ()

    def take(self) -> tuple[Any, ...]:
        """Refusals, warnings and several values so far; the next event starts without them."""
        taken = self.refused, tuple(self.warnings), self.several or None
        self.any, self.refused, self.warnings, self.several, self.countries = False, {}, {}, {}, ()
        return taken

    def keep(self, attribute: str, values: tuple[str, ...]) -> None:
        """Hold all values of an identifier that has one elsewhere."""
        self.any = True
        self.several[attribute] = values

    def refuse(self, field: str, reason: str) -> None:
        self.any = True
        self.refused[field] = reason

    def warn(self, field: str, text: str) -> None:
        self.any = True
        path = field if "." in field else f"user.{field}"
        self.warnings[f"{path}: {text}"] = None


def _of_text(rule: Callable[[str], str]) -> Rule:
    return lambda value, _country: rule(value)


def _month(value: date | str, _country: Text) -> str:
    return normalize.date_of_birth(value)[4:6]


def _day(value: date | str, _country: Text) -> str:
    return normalize.date_of_birth(value)[6:]


def _names(field: str, *kinds: str) -> dict[str, tuple[Rule, bool]]:
    rules = {
        "plain": (normalize.plain, True),
        "joined": (normalize.joined, True),
        "spaced": (normalize.spaced, True),
        "letters": (normalize.letters, True),
        "google": (normalize.name_google, True),
        "soundex": (normalize.soundex, False),
        "clear": (normalize.trimmed, False),
    }
    return {f"{field}_{kind}": (_of_text(rule), hashed) for kind, (rule, hashed) in rules.items() if kind in kinds}


_EVERY_NAME: Final = ("plain", "joined", "spaced", "letters", "google", "soundex", "clear")

#: For each user field with a single value: attribute to its rule, and whether the result is hashed.
RULES: Final[Mapping[str, Mapping[str, tuple[Rule, bool]]]] = {
    "first_name": _names("first_name", *_EVERY_NAME),
    "middle_name": _names("middle_name", "plain", "soundex"),
    "last_name": _names("last_name", *_EVERY_NAME),
    "city": {
        "city_joined": (_of_text(normalize.joined), True),
        "city_plain": (_of_text(normalize.plain), True),
        "city_soundex": (_of_text(normalize.soundex), False),
        "city_clear": (_of_text(normalize.joined), False),
        "city_letters": (_of_text(normalize.letters), False),
        "city_trimmed": (_of_text(normalize.trimmed), False),
    },
    "state": {
        "state_code": (normalize.state_code, True),
        "state_code_na": (normalize.state_code_na, True),
        "state_plain": (_of_text(normalize.plain), True),
        "state_soundex": (_of_text(normalize.soundex), False),
        "state_clear": (normalize.state_code, False),
        "state_letters": (_of_text(normalize.letters), False),
    },
    "zip": {
        "zip_us5": (normalize.zip_us5, True),
        "zip_plain": (_of_text(normalize.zip_plain), True),
        "zip_google": (_of_text(normalize.zip_google), False),
        "zip_clear": (_of_text(normalize.zip_clear), False),
    },
    "country": {
        "country": (_of_text(normalize.country), True),
        "country_clear": (_of_text(normalize.country), False),
    },
    "gender": {
        "gender": (_of_text(normalize.gender), True),
        "gender_binary": (_of_text(normalize.gender_binary), True),
    },
    "date_of_birth": {
        "dob": (lambda value, _country: normalize.date_of_birth(value), True),
        "dob_month": (_month, True),
        "dob_day": (_day, True),
    },
    "mobile_ad_id": {
        "mobile_ad_id": (_of_text(normalize.mobile_ad_id), True),
        "idfa_upper": (_of_text(normalize.idfa_upper), True),
        "mobile_ad_id_clear": (_of_text(normalize.mobile_ad_id), False),
    },
    "idfv": {
        "idfv_hashed": (_of_text(normalize.mobile_ad_id), True),
        "idfv": (_of_text(normalize.idfv), False),
    },
    "ip": {
        "ip_hashed": (_of_text(normalize.ip), True),
        "ip": (_of_text(normalize.ip), False),
    },
    "user_agent": {"user_agent": (_of_text(normalize.user_agent), False)},
}  # fmt: skip

#: Attribute to another variant whose digests it takes, too: they differ for Canadian names, or as ``_ONLY`` says.
_ALSO: Final = {"state_code_na": "state_code", "gender_binary": "gender"}
#: Attribute to the digests that there can be of it, where there are so few.
_ONLY: Final = {"gender_binary": (frozenset({sha256_hex("f"), sha256_hex("m")}), normalize.NOT_BINARY)}
_IDS: Final = frozenset({"mobile_ad_id", "idfv"})
_MAY_BE_DIGEST: Final = frozenset(RULES) - {"ip", "user_agent"}
_Key: TypeAlias = Any
# What was refused, and why: one attribute, the value as a whole (""), or several in words of their own (None).
_Refusal: TypeAlias = tuple[str | None, str]
_MAX_HELD: Final = 64


def one_by_one(
    read: Callable[[Any], tuple[Any, ...]], values: Iterable[Any], blank: tuple[Any, ...], notes: Notes, odd: set[int]
) -> list[tuple[Any, ...]]:
    """The places of each value; the indices of those about which there is something to report go to ``odd``."""
    found = []
    for index, value in enumerate(values):
        found.append(blank if value is None else read(value))
        if notes.any:
            notes.take()
            odd.add(index)
    return found


def columns_one_by_one(
    read: Callable[[Any], tuple[Any, ...]], values: Iterable[Any], blank: tuple[Any, ...], notes: Notes, odd: set[int]
) -> Columns:
    """Like :func:`one_by_one`, by attribute."""
    return list(zip(*one_by_one(read, values, blank, notes, odd), strict=True))


def spread(values: Sequence[Any], found: Iterable[Any], number: int) -> Iterable[Any]:
    """``found``, which has nothing for the values that are ``None``, with ``None`` in their places.

    Args:
        number: How many of them there are.
    """
    if number == len(values):
        return found
    following = iter(found)
    return [None if value is None else next(following) for value in values]


class TextField(dict[_Key, tuple[Any, ...]]):
    """Raw value (or value and country, where a rule asks) to the field's places; computes what it does not hold.

    Holds at most ``size`` values and starts anew when it is full: a hit is a plain dict lookup, and what is
    common comes back at once. Refusals are not held, so that every event reports its own.
    """

    def __init__(self, name: str, wanted: Set[str], notes: Notes, *, size: int, inner: Set[str] = frozenset()) -> None:
        """``inner`` attributes are filled like wanted ones, but nobody is told when they are missing."""
        super().__init__()
        self.name = name
        self.blank: tuple[None, ...] = (None,) * len(RULES[name])
        self.wanted = wanted & RULES[name].keys()
        filled = self.wanted | inner
        self._rules = [(attribute, *rule) if attribute in filled else None for attribute, rule in RULES[name].items()]
        self._picks = [itemgetter(place) if rule else None for place, rule in enumerate(self._rules)]
        self._idle = not filled
        self._notes = notes
        self._nothing = ID_PLACEHOLDERS if name in _IDS else PLACEHOLDERS
        self._size = size

    def columns(self, keys: Sequence[_Key], odd: set[int]) -> Columns:
        """The places of many keys at once; ``None`` stands for a user without this field.

        Indices of those about whom there is something to report are added to ``odd``: they need a look of their own.
        """
        if self._idle or not any(keys):
            return [NOBODYS] * len(self.blank)
        found: Sequence[Any] = list(map(self.get, keys))
        if not all(found):
            found = one_by_one(self.__getitem__, keys, self.blank, self._notes, odd)
        return [NOBODYS if pick is None else map(pick, found) for pick in self._picks]

    def __missing__(self, key: _Key) -> tuple[Any, ...]:
        if self._idle:
            return self.blank
        if type(key) is tuple:
            return self._several(key, repeat(None))
        return self._one(key, key, None)

    def _one(self, key: _Key, value: Any, country: Text) -> tuple[Any, ...]:
        """The places of one value, which are held under ``key``."""
        places, refusals = self._read(value, country)
        if refusals:
            _report(self._notes, self.name, refusals, nothing=not any(places))
        # a long value is nobody's first name, and thousands of them would fill the memory
        elif self._size and not (isinstance(value, str) and len(value) > _MAX_HELD):
            if len(self) >= self._size:
                self.clear()
            self[key] = places
        return places

    def _several(self, values: Sequence[Any], countries: Iterable[Text]) -> tuple[Any, ...]:
        """The places of the first values that give something; all of them are noted."""
        found, refusals = [self.blank], {}
        for value, country in zip(values, countries, strict=False):
            if value is not None:
                places, why = self._read(value, country)
                found.append(places)
                refusals.update(dict.fromkeys(why))
        firsts: list[Text] = []
        for rule, column in zip(self._rules, zip(*found, strict=True), strict=True):
            given = tuple(dict.fromkeys([one for one in column if one is not None]))
            firsts.append(given[0] if given else None)
            if rule is not None and len(given) > 1 and rule[0] in self.wanted:
                self._notes.keep(rule[0], given)
        if refusals:
            given_of = {rule[0] for rule, first in zip(self._rules, firsts, strict=True) if rule is not None and first}
            told = [one for one in refusals if not given_of or one[0] in (None, "", *self.wanted)]
            _report(self._notes, self.name, told, nothing=not given_of, given=given_of)
        return tuple(firsts)

    def _read(self, value: Any, country: Text) -> tuple[tuple[Any, ...], Sequence[_Refusal]]:
        """The places of one value, and what was refused."""
        if type(value) is Hashed:
            return self._digest(value)
        if isinstance(value, str):
            if not value:
                return self.blank, ()
            if len(value) <= _MAX_HELD and is_placeholder(value, self._nothing):
                return self.blank, (("", PLACEHOLDER),)
            if len(value) >= 64 and self.name in _MAY_BE_DIGEST and looks_hashed(value.strip()):
                return self.blank, (("", LOOKS_HASHED),)
        return self._compute(value, country)

    def _compute(self, value: Any, country: Text) -> tuple[tuple[Any, ...], Sequence[_Refusal]]:
        places: list[Text] = []
        last_text = last_digest = ""
        refusals: list[_Refusal] | None = None
        for rule in self._rules:
            if rule is None:
                places.append(None)
                continue
            try:
                text = rule[1](value, country)
            except Empty:
                places.append(None)
            except Refused as refused:
                places.append(None)
                refusals = [*(refusals or ()), (rule[0], refused.reason)]
            else:
                if rule[2]:
                    if text != last_text:
                        last_text, last_digest = text, sha256(text.encode()).hexdigest()
                    text = last_digest
                places.append(text)
        return tuple(places), refusals or ()

    def _digest(self, value: Hashed) -> tuple[tuple[Any, ...], Sequence[_Refusal]]:
        if value.digest == EMPTY_DIGEST:
            return self.blank, (("", EMPTY_HASH),)
        variant = variant_of(self.name, value)
        attribute = f"{self.name}_{variant[5:]}" if variant.startswith("name_") else variant
        places: list[Text] = []
        refusals: list[_Refusal] = []
        for rule in self._rules:
            taken = rule is not None and attribute in (rule[0], _ALSO.get(rule[0]))
            if rule is not None and taken and rule[0] in _ONLY and value.digest not in _ONLY[rule[0]][0]:
                places.append(None)
                refusals.append((rule[0], _ONLY[rule[0]][1]))
                continue
            places.append(value.digest if taken else None)
            if rule is not None and not taken and rule[0] in self.wanted:
                refusals.append((None, elsewhere(variant, rule[0], hashed=rule[2])))
        return tuple(places), refusals


def elsewhere(variant: str, attribute: str, *, hashed: bool) -> str:
    """Why a digest of ``variant`` does not give ``attribute``."""
    return f"hashed elsewhere as {variant}, {attribute} needs {'its own digest' if hashed else 'the plain value'}"


def _report(
    notes: Notes, field: str, refusals: Iterable[_Refusal], *, nothing: bool, given: Set[str] = frozenset()
) -> None:
    """Refuse the field if nothing of it is left, else warn of what is missing.

    Args:
        given: Attributes that another value of the field gave.
    """
    reasons = []
    for attribute, reason in refusals:
        reasons.append(reason)
        if attribute is None:
            notes.warn(field, reason)
        elif nothing:
            break
        elif attribute == "":
            notes.warn(field, f"a value is left out: {reason}")
        else:
            missing = f"a value is left out of {attribute}" if attribute in given else f"no {attribute}"
            notes.warn(field, f"{missing}: {reason}")
    if nothing and reasons:
        notes.refuse(field, reasons[0])
