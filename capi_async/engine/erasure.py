"""A person is forgotten, or withdraws: which records are theirs, and what of them is not stored yet."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from capi_async.errors import ConfigError
from capi_async.event import User
from capi_async.outcome import Outcome
from capi_async.pii.identifiers import Plan
from capi_async.pii.refused import NOT_UNICODE, PLACEHOLDER, is_placeholder
from capi_async.plain import plain_integer, plain_text
from capi_async.spool.base import Record, Refused

logger = logging.getLogger(__name__)

#: Identifiers that distinguish persons; names and places do not.
_TELLING: Final = (
    "email", "email_google", "email_reddit", "email_clear", "phone_digits", "phone_e164", "external_id",
    "external_id_lower", "external_id_plain", "external_id_clear",
)  # fmt: skip

#: Up to so many texts are searched for one by one; of more, every text of a record is searched for among them instead.
_FEW: Final = 32
#: What may stand behind the end of a text in JSON.
_BETWEEN_TEXTS: Final = (b":", b",", b"]", b"}")
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')

#: Ids that platforms gave: one or several, as text or number.
LeadIds: TypeAlias = str | int | Sequence[str | int]

#: Shorter numbers may be a time in seconds, an amount or a count.
_LONG_ID: Final = 11
#: A whole number of so many digits, or the end of a URN.
_IN_ANOTHER_FORM: Final = re.compile(
    rb'[:\[,]([0-9]{%d,19})(?=[,}\]])|"urn:[^"\\]*:([^"\\:]{%d,})"' % (_LONG_ID, _LONG_ID)
)

#: How a warning says that one of several values gave nothing.
_OF_FORM: Final = re.compile(r": a value is left out(?: of [a-z0-9_]+)?: ")


def matches_subject(subject: User, phone_region: str | None, lead_id: LeadIds = ()) -> Callable[[Record], bool]:
    """Whether a record carries an e-mail, phone, external id or lead id of ``subject``, in any platform's form.

    Values that cannot be read are not searched for, and warned of.

    Raises:
        ConfigError: The subject names none that can be read.
    """
    looks = SubjectLooks(phone_region)
    for sentence in looks.add(subject, lead_id):
        logger.warning("a value of the person to be looked for is left out: %s", sentence)
    return looks.matches()


class SubjectLooks:
    """What the records of some people are found by.

    Args:
        phone_region: Country of phone numbers without country code.

    Raises:
        ConfigError: There is no such country.
    """

    def __init__(self, phone_region: str | None) -> None:
        self._plan = Plan(_TELLING, phone_region=phone_region)
        self._marks: set[bytes] = set()
        self._long_ids: set[bytes] = set()

    def add(self, subject: User, lead_id: LeadIds = ()) -> list[str]:
        """Search for this person, too. Returns a sentence for each kind of value that cannot be read, without it.

        Args:
            lead_id: Of a lead ad, or any other id that a platform gave the person. Found as a whole text, wherever it
                stands; with at least 11 characters as a number and as the end of a URN, too.

        Raises:
            ConfigError: A lead id is neither text nor a whole number.
        """
        ids = self._plan.identify(subject)
        for name in _TELLING:
            value = getattr(ids, name)
            # as whole JSON strings: an external id of "12" must not match inside "112"
            self._marks.update(
                msgspec.json.encode(text) for text in ([value] if isinstance(value, str) else value or ())
            )
        unread = [f"user.{field}: {reason}" for field, reason in ids.refused.items()]
        # a value that is left out is left out of each form of it
        unread += [_OF_FORM.sub(": ", warning) for warning in ids.warnings if _OF_FORM.search(warning)]
        several = isinstance(lead_id, Sequence) and not isinstance(lead_id, (str, bytes))
        for one in lead_id if several else (lead_id,):  # type: ignore[union-attr]  # mypy does not follow the name
            if reason := self._add_lead(one):
                unread.append(f"lead_id: {reason}")
        return list(dict.fromkeys(unread))

    def _add_lead(self, given: Any) -> str:
        """Search for this id, too; returns why it cannot be one."""
        number = plain_integer(given)
        text = str(number) if type(number) is int and 0 <= number < 2**63 else plain_text(given)
        if text is None:
            raise ConfigError("lead_id needs text, a whole number or a list of them")
        text = text.strip()
        if is_placeholder(text):
            return PLACEHOLDER
        try:
            octets = text.encode()
        except UnicodeEncodeError:
            return NOT_UNICODE
        if text:
            self._marks.add(msgspec.json.encode(text))
            if len(octets) >= _LONG_ID:
                self._long_ids.add(octets)
        return ""

    def matches(self) -> Callable[[Record], bool]:
        """Whether a record carries an identifier of one of them.

        Raises:
            ConfigError: There is nothing to search for.
        """
        marks, long_ids = frozenset(self._marks), frozenset(self._long_ids)
        if not marks:
            raise ConfigError("the subject needs an email, a phone, an external_id or a lead_id that can be read")

        # a text of JSON's own signs, such as ``:``, would be found between two others
        whole = len(marks) > _FEW or any(mark[1:2] in _BETWEEN_TEXTS for mark in marks)

        def holds(said: bytes) -> bool:
            if not whole:
                if any(mark in said for mark in marks):
                    return True
            elif not marks.isdisjoint(_TEXT.findall(said)):
                return True
            return bool(long_ids) and any((one[1] or one[2]) in long_ids for one in _IN_ANOTHER_FORM.finditer(said))

        return lambda record: holds(record.body) or holds(record.head)


#: What one event came to.
Prepared: TypeAlias = tuple[list[Record], list[Refused]]


class Erasure:
    """A person was forgotten, or withdrew, while these submissions waited to be stored: what matches is not delivered.

    Attributes:
        found: Destination to events that it has met.
    """

    __slots__ = ("_matches", "_outcome", "found")

    def __init__(self, matches: Callable[[Record], bool], outcome: Outcome) -> None:
        self._matches = matches
        self._outcome = outcome
        self.found: dict[str, int] = {}

    def of(self, event: Prepared) -> Prepared:
        """What is left of one event."""
        records, refused = event
        hits = [record for record in records if self._matches(record)]
        if not hits:
            return event
        for record in hits:
            self.found[record.destination] = self.found.get(record.destination, 0) + 1
        gone = {id(record) for record in hits}
        ended = [Refused(record.destination, record.event_id, self._outcome, record.receipt) for record in hits]
        return [record for record in records if id(record) not in gone], [*refused, *ended]


def without(event: Prepared, erasures: Sequence[Erasure]) -> Prepared:
    """What is left of one event once all of these have met it."""
    for erasure in erasures:
        event = erasure.of(event)
    return event
