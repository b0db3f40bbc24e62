"""Strings of the Global Privacy Platform (GPP), and the older US Privacy string.

Sources, read 2026-11: IAB Tech Lab, "Global Privacy Platform String", "Section Information" and the technical
specifications of the sections of the US. Those of Maryland, Indiana, Kentucky and Rhode Island exist in two layouts:
that of the specification begins with the section's number, that of the IAB's own library with its version.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from capi_async.consent.bits import MAX_CHARS, Bits
from capi_async.consent.tcf import PURPOSES, consent_of_tcf
from capi_async.errors import ConsentError
from capi_async.event import Consent

_HEADER_TYPE: Final = 3
_VERSION: Final = 1
_TCF_EU: Final = 2
_US_PRIVACY: Final = 6
_OPTED_OUT: Final = 1
_DID_NOT: Final = 2
_GPC_SEGMENT: Final = 1


class _Section(NamedTuple):
    """A section of the US: its region, and at which bits its opt-outs stand (sale, sharing, targeted advertising)."""

    region: str
    opt_outs: tuple[int, ...]


def _state(code: str, first: int, count: int = 2) -> _Section:
    return _Section(f"US-{code}", tuple(range(first, first + 2 * count, 2)))


# after six bits of version, every notice and every opt-out has two bits
_SECTIONS: Final[Mapping[int, _Section]] = {
    7: _Section("US", (18, 20, 22)),
    8: _state("CA", 12),
    11: _state("UT", 14),
    18: _state("IA", 14),
    24: _state("MD", 16),
    25: _state("IN", 16),
    26: _state("KY", 16),
    27: _state("RI", 16),
    **{
        number: _state(code, 12)
        for number, code in (
            (9, "VA"), (10, "CO"), (12, "CT"), (13, "FL"), (14, "MT"), (15, "OR"), (16, "TX"), (17, "DE"), (19, "NE"),
            (20, "NH"), (21, "NJ"), (22, "TN"), (23, "MN"),
        )
    },
}  # fmt: skip
#: Where the opt-outs stand if the section begins with its own number.
_NUMBERED: Final = {number: _state(_SECTIONS[number].region[3:], 28) for number in (24, 25, 26, 27)}


def read_gpp(text: str) -> dict[int, str]:
    """The sections of a GPP string by their numbers, each as it stands.

    Raises:
        ConsentError: The header is none, or names another number of sections than there are.
    """
    text = text.strip()
    if len(text) > MAX_CHARS:
        raise ConsentError(f"a GPP string is longer than {MAX_CHARS:,} characters")
    header, *sections = text.split("~")
    bits = Bits(header)
    if bits.number(6) != _HEADER_TYPE or bits.number(6) != _VERSION:
        raise ConsentError("a GPP string does not begin with a header of version 1")
    numbers = bits.ids_after_one_another()
    if len(numbers) != len(sections) or len(set(numbers)) != len(numbers):
        raise ConsentError("a GPP string has other sections than its header says")
    return dict(zip(numbers, sections, strict=True))


def consent_of_gpp(
    text: str, *, vendors: Collection[int] = (), purposes: Mapping[str, tuple[int, ...]] = PURPOSES
) -> Consent:
    """The choices that a GPP string states; the string itself is kept in ``gpp``.

    ``sale_opt_out`` is true if any section of the US says that the person opted out of sale, sharing or targeted
    advertising, or holds their browser's Global Privacy Control; false if one says that they did not. The section of
    the EU states what :func:`~capi_async.consent.consent_of_tcf` says. Other sections, such as Canada's, are kept, not
    read.

    Raises:
        ConsentError: The string, or a section that is read, is malformed.
    """
    european = Consent()
    opted_out: list[bool] = []
    regions: list[str] = []
    for number, section in read_gpp(text).items():
        if number == _TCF_EU:
            european = consent_of_tcf(section, vendors=vendors, purposes=purposes)
            continue
        said = us_privacy(section) if number == _US_PRIVACY else _opted_out(number, section)
        if said is not None:
            opted_out.append(said)
        if number in _SECTIONS:
            regions.append(_SECTIONS[number].region)
    return Consent(
        ad_storage=european.ad_storage,
        ad_user_data=european.ad_user_data,
        ad_personalization=european.ad_personalization,
        analytics_storage=european.analytics_storage,
        sale_opt_out=any(opted_out) if opted_out else None,
        region=regions[0] if len(regions) == 1 else None,
        tcf=european.tcf,
        gpp=text.strip(),
    )


def us_privacy(text: str) -> bool | None:
    """Whether a US Privacy string, such as ``1YNN``, says that the person opted out; ``None``: not applicable.

    Raises:
        ConsentError: It is none of version 1.
    """
    text = text.strip().upper()
    if len(text) != 4 or text[0] != "1" or any(char not in "YN-" for char in text[1:]):
        raise ConsentError("a US Privacy string is none of version 1, such as 1YNN")
    return {"Y": True, "N": False}.get(text[2])


def _opted_out(number: int, text: str) -> bool | None:
    section = _SECTIONS.get(number)
    if section is None:
        return None
    core, *segments = text.split(".")
    if number in _NUMBERED and Bits(core).number(6) == number:
        section = _NUMBERED[number]
    found = {_at(core, place) for place in section.opt_outs}
    if _OPTED_OUT in found or any(_gpc(segment) for segment in segments):
        return True
    return False if _DID_NOT in found else None


def _at(core: str, place: int) -> int:
    bits = Bits(core)
    bits.skip(place)
    return bits.number(2)


def _gpc(segment: str) -> bool:
    bits = Bits(segment)
    return bits.left >= 3 and bits.number(2) == _GPC_SEGMENT and bits.flag()
