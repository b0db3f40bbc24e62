"""TC strings of version 2 (``euconsent-v2``), of IAB Europe's Transparency and Consent Framework.

Sources, read 2026-11: IAB Tech Lab, "Consent string and vendor list formats v2" (the core segment); Google, "Consent
mode and the TCF" (purpose 1 is ``ad_storage``, 1 and 7 are ``ad_user_data``, 3 and 4 are ``ad_personalization``;
nothing is ``analytics_storage``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from capi_async.consent.bits import Bits
from capi_async.errors import ConsentError
from capi_async.event import Consent

#: Choice of :class:`~capi_async.Consent` to the purposes that must all be consented to. It may be given otherwise.
PURPOSES: Final[Mapping[str, tuple[int, ...]]] = {
    "ad_storage": (1,),
    "ad_user_data": (1, 7),
    "ad_personalization": (3, 4),
}
#: Platform to its number on the Global Vendor List, as copies of the list have it. Others: look them up there.
VENDORS: Final[Mapping[str, int]] = {"google": 755, "amazon": 793}

_VERSION: Final = 2
_PURPOSES: Final = 24
_FEATURES: Final = 12


class TcString(Struct, frozen=True, kw_only=True, gc=False):
    """What a TC string says.

    Attributes:
        purposes: Consented to, by number.
        legitimate_interests: Purposes on that basis, which nobody objected to. They grant nothing here.
        vendors: Consented to, by number.
        created, updated: By the consent tool.
        service_specific: It holds for this site only.
        country: Of the publisher, ISO 3166-1; ``AA`` where it is not known.
    """

    purposes: frozenset[int]
    legitimate_interests: frozenset[int]
    special_features: frozenset[int]
    vendors: frozenset[int]
    created: datetime
    updated: datetime
    cmp_id: int
    vendor_list_version: int
    policy_version: int
    service_specific: bool
    language: str
    country: str


def read_tcf(text: str) -> TcString:
    """Read the core segment of a TC string; other segments say nothing of consent to vendors.

    Raises:
        ConsentError: It is none of version 2, or cut.
    """
    bits = Bits(text.strip().partition(".")[0])
    if bits.number(6) != _VERSION:
        raise ConsentError("a TC string is not of version 2 of the framework")
    created, updated = _time(bits.number(36)), _time(bits.number(36))
    cmp_id = bits.number(12)
    bits.skip(12 + 6)  # version of the consent tool, and its screen
    language = bits.letters(2)
    list_version, policy, specific = bits.number(12), bits.number(6), bits.flag()
    bits.skip(1)  # whether its texts are not the standard's
    features, purposes, interests = bits.members(_FEATURES), bits.members(_PURPOSES), bits.members(_PURPOSES)
    bits.skip(1)  # whether purpose 1 was disclosed otherwise
    country = bits.letters(2)
    return TcString(
        purposes=purposes,
        legitimate_interests=interests,
        special_features=features,
        vendors=_vendors(bits),
        created=created,
        updated=updated,
        cmp_id=cmp_id,
        vendor_list_version=list_version,
        policy_version=policy,
        service_specific=specific,
        language=language,
        country=country,
    )


def consent_of_tcf(
    text: str, *, vendors: Collection[int] = (), purposes: Mapping[str, tuple[int, ...]] = PURPOSES
) -> Consent:
    """The choices that a TC string states; the string itself is kept in ``tcf``.

    Args:
        vendors: Nothing is granted unless all of these are consented to; see :data:`VENDORS`.
        purposes: Which purposes make a choice; a choice that is not in it stays open.

    Raises:
        ConsentError: As :func:`read_tcf`.
    """
    said = read_tcf(text)
    known = said.vendors.issuperset(vendors)
    choices: dict[str, Any] = {name: known and said.purposes.issuperset(needed) for name, needed in purposes.items()}
    return Consent(**choices, tcf=text.strip())


def _vendors(bits: Bits) -> frozenset[int]:
    last = bits.number(16)
    if not bits.flag():
        return bits.members(last)
    return frozenset(vendor for vendor in bits.ids() if vendor <= last)


def _time(tenths: int) -> datetime:
    try:
        return datetime.fromtimestamp(tenths / 10, UTC)
    except (ValueError, OverflowError, OSError):
        raise ConsentError("a TC string was made at a time that cannot be") from None
