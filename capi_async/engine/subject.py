"""Which records are somebody's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from capi_async.errors import ConfigError
from capi_async.event import User
from capi_async.pii.identifiers import Plan
from capi_async.spool.base import Record

#: Identifiers that tell one person from another; names and places do not.
_TELLING: Final = (
    "email", "email_google", "email_reddit", "email_clear", "phone_digits", "phone_e164", "external_id",
    "external_id_lower", "external_id_plain", "external_id_clear",
)  # fmt: skip


def matches_subject(subject: User, phone_region: str | None) -> Callable[[Record], bool]:
    """Whether a record carries an e-mail, phone or external id of ``subject``, in any platform's form.

    Raises:
        ConfigError: The subject names none of them.
    """
    ids = Plan(_TELLING, phone_region=phone_region).identify(subject)
    texts: list[str] = []
    for name in _TELLING:
        value = getattr(ids, name)
        texts += [value] if isinstance(value, str) else value or ()
    if not texts:
        raise ConfigError("the subject needs an email, a phone or an external_id that can be read")
    # as whole JSON strings: an external id of "12" must not match inside "112"
    marks = [msgspec.json.encode(text) for text in texts]
    return lambda record: any(mark in record.body or mark in record.head for mark in marks)
