"""What CutMeShort takes, key by key. Source: PyPI ``cutmeshort`` 1.0.1 and docs.cutmeshort.com, read 2026-11.

Lengths and patterns are the mildest that any of the vendor's SDKs checks; the server's own are not documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from capi_async.early import ready
from capi_async.spec import encode_head

Call: TypeAlias = Literal["lead", "sale"]

MAX_TEXT: Final = 255
MAX_EMAIL: Final = 254

Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT, pattern=r"\S")]
Email: TypeAlias = Annotated[str, Meta(max_length=MAX_EMAIL, pattern=r"\A[^\s@]+@[^\s@]+\Z")]
Avatar: TypeAlias = Annotated[str, Meta(max_length=2_048, pattern=r"\Ahttps?://\S+\Z")]
Time: TypeAlias = Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z")]


@ready
class CutMeShortHead(Struct, frozen=True, array_like=True):
    """Which of the two calls it is."""

    call: Call


@ready
class CutMeShortLead(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The body of ``/track/lead``; name, e-mail and avatar are clear text."""

    eventName: Text  # noqa: N815 - the platform's key, as all below
    # without one the event is of nobody and is not sent
    customerExternalId: Text | None  # noqa: N815
    timestamp: Time
    clickId: Text | None = None  # noqa: N815
    customerName: Text | None = None  # noqa: N815
    customerEmail: Email | None = None  # noqa: N815
    customerAvatar: Avatar | None = None  # noqa: N815
    mode: Annotated[str, Meta(pattern=r"\Adeferred\Z")] | None = None


@ready
class CutMeShortSale(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The body of ``/track/sale``. What the event lacks is ``None`` here, and such a sale is not sent."""

    eventName: Text  # noqa: N815
    # without one the event is of nobody and is not sent
    customerExternalId: Text | None  # noqa: N815
    timestamp: Time
    invoiceId: Text | None  # noqa: N815
    amount: int | Decimal | None
    currency: Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")] | None
    clickId: Text | None = None  # noqa: N815
    customerName: Text | None = None  # noqa: N815
    customerEmail: Email | None = None  # noqa: N815
    customerAvatar: Avatar | None = None  # noqa: N815


HEADS: Final[Mapping[Call, bytes]] = {
    "lead": encode_head(CutMeShortHead("lead")),
    "sale": encode_head(CutMeShortHead("sale")),
}
