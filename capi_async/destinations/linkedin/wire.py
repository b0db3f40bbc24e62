"""What LinkedIn takes, key by key. Source: LinkedIn's Conversions API schema, May 2026, and public logs of requests.

LinkedIn refuses unknown keys and values of another type, and with one of them the whole request; it does not look at
what a value means (a currency that does not exist was accepted), so that is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from capi_async.destinations.forms import DIGEST, Currency, Filled
from capi_async.early import ready

# Patterns rather than enums: an error about an enum would repeat the value.
IdType = Annotated[
    str,
    Meta(
        pattern=r"\A(SHA256_EMAIL|LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID|PLAINTEXT_IP_ADDRESS|SHA256_IP_ADDRESS"
        r"|ACXIOM_ID|GOOGLE_AID|ORACLE_MOAT_ID)\Z"
    ),
]
Rule = Annotated[str, Meta(pattern=r"\Aurn:lla:llaPartnerConversion:[0-9]{1,19}\Z")]
#: A moment of this century: seconds in its place are the usual mistake.
Millis = Annotated[int, Meta(ge=10**12, lt=10**13)]
#: An amount is text there, and a number is refused.
AmountText = Annotated[str, Meta(pattern=r"\A[0-9]{1,40}(\.[0-9]{1,40})?\Z")]
Country = Annotated[str, Meta(pattern=r"\A[A-Z]{2}\Z")]
Lead = Annotated[str, Meta(pattern=r"\Aurn:li:[A-Za-z]+:\S+\Z")]

_is_digest: Final = re.compile(DIGEST).match
_BYTE: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_is_v4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}").fullmatch


class LinkedInId(Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    """One of ``userIds``."""

    id_type: IdType
    id_value: Filled

    def __post_init__(self) -> None:
        kind = self.id_type
        if kind.startswith("SHA256") and not _is_digest(self.id_value):
            raise ValueError("needs a SHA-256 digest in lower case")
        if kind == "PLAINTEXT_IP_ADDRESS" and not _is_v4(self.id_value):
            raise ValueError("needs an IPv4 address")


class LinkedInInfo(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``user.userInfo``, in clear."""

    first_name: Filled
    last_name: Filled
    company_name: Filled | None = None
    title: Filled | None = None
    country_code: Country | None = None


class LinkedInUser(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``user``: the list of ids is always there, be it empty."""

    user_ids: Sequence[LinkedInId]
    user_info: LinkedInInfo | None = None
    external_ids: Annotated[Sequence[Filled], Meta(min_length=1, max_length=1)] | None = None
    lead: Lead | None = None


class LinkedInValue(Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``conversionValue``: both or none."""

    currency_code: Currency
    amount: AmountText


@ready
class LinkedInEvent(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """One of ``elements``.

    ``conversion`` stays the first key: the request replaces it where an event counts by several rules.
    """

    conversion: Rule
    conversion_happened_at: Millis
    event_id: Filled
    user: LinkedInUser
    conversion_value: LinkedInValue | None = None


@ready
class LinkedInHead(Struct, frozen=True, array_like=True):
    """What one request shares: the numbers of the conversion rules that each of its events counts by.

    A rule that LinkedIn does not know is a fault of the whole request, so that events of different rules never share
    one.
    """

    rules: tuple[str, ...]
