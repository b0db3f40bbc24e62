"""TC strings, GPP strings, US Privacy and Consent Mode, by the IAB's own published strings."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import Consent
from capi_async.consent import (
    VENDORS,
    consent_of_google,
    consent_of_gpp,
    consent_of_tcf,
    read_gpp,
    read_tcf,
    us_privacy,
)
from capi_async.consent.bits import Bits
from capi_async.errors import ConsentError

# of the specification and of the test data of the IAB's own libraries
NOTHING = "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"
THREE = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA"
RANGES = "COv_eg6Ov_eg6AOADBENAaCgAP_AAH_AACiQAVEUQQoAIQAqIoghAAQgAA.YAAAAAAAAAAAAAAAAAA"
MANY = (
    "CPi8wgAPi8wgAAOACBENCuCoAP_AAEfAACiQJHNd_H__bX9n-f7_6ft0eY1f9_r37uQzDhfNk-8F3L_W_LwX_2E7NF36tq4KmR4ku1LBIUNtHMnUDUmx"
    "aokVrzHsak2cpzNKJ_BkknsZe2dYGF9vm5tj-QKZ7_5_d3f52T_9_9v-39z33913v3d93-_13LjdV5_9H_v9fR_b8_Kf9_5-_4v8_____3_e______8A"
    "EEggCTDVuIAuxLHAm0DCKBECMKwkKoFABBQDC0QGADg4KdlYBPrCBAAgFAEYEQIcAUYEAgAAAgCQiACQIsEAAAIgEAAIAEQiEABAwCCgAsDAIAAQDQMU"
    "QoABAkIMiAiKUwICIEggJbKhBKC6Q0wgCrLACgkRsFAAiAAAUgACAsHAMESAlYsECTFG-QAjBCgFEqFaAGGgAwABBI4RABgACCRwqADAAEEjgA"
)


def test_a_tc_string_is_read_field_by_field() -> None:
    """Purposes and vendors as the published decoding has them."""
    said = read_tcf(THREE)
    assert (said.cmp_id, said.purposes, said.vendors, said.country) == (27, {1, 2, 3}, {2, 6, 8}, "AA")
    nothing = read_tcf(NOTHING)
    assert (nothing.cmp_id, nothing.vendor_list_version, nothing.policy_version, nothing.country) == (31, 126, 2, "DE")
    assert (nothing.purposes, nothing.vendors, nothing.special_features) == (frozenset(), frozenset(), frozenset())
    assert (nothing.service_specific, nothing.language) == (True, "EN")
    assert nothing.created == nothing.updated == datetime.fromtimestamp(1650492000, UTC)


def test_a_long_tc_string_has_the_vendors_that_were_consented_to() -> None:
    """772 of them, and ten purposes."""
    said = read_tcf(MANY)
    assert len(said.vendors) == 772
    assert said.purposes == set(range(1, 11))
    assert said.legitimate_interests == {2, 6, 7, 8, 9, 10}
    assert (said.special_features, said.country, said.vendor_list_version) == ({1}, "US", 174)
    assert read_tcf(RANGES).purposes == set(range(1, 11))


def test_purposes_make_choices_by_googles_table() -> None:
    """Purpose 1, 1 and 7, 3 and 4; nothing is said of analytics."""
    assert consent_of_tcf(NOTHING) == Consent(
        ad_storage=False, ad_user_data=False, ad_personalization=False, tcf=NOTHING
    )
    assert consent_of_tcf(THREE) == Consent(ad_storage=True, ad_user_data=False, ad_personalization=False, tcf=THREE)
    assert consent_of_tcf(MANY) == Consent(ad_storage=True, ad_user_data=True, ad_personalization=True, tcf=MANY)
    own = consent_of_tcf(THREE, purposes={"ad_storage": (1, 2), "analytics_storage": (1, 8)})
    assert (own.ad_storage, own.analytics_storage, own.ad_user_data) == (True, False, None)


def test_nothing_is_granted_without_the_vendors_consent() -> None:
    """Who is asked for stands in a table or is given by number."""
    assert consent_of_tcf(THREE, vendors=[2, 8]).ad_storage is True
    assert consent_of_tcf(THREE, vendors=[2, 7]).ad_storage is False
    assert consent_of_tcf(THREE, vendors=[VENDORS["google"]]).ad_storage is False


def test_a_range_of_vendors_is_read() -> None:
    """The other way to write them: single ids and groups."""
    core = Bits(THREE.partition(".")[0])
    head = format(int("".join(f"{core.number(1)}" for _ in range(213)), 2), "0213b")
    entries = [(0, 2, 2), (1, 5, 8)]
    bits = head + format(9, "016b") + "1" + format(len(entries), "012b")
    for group, first, last in entries:
        bits += f"{group}{first:016b}" + (f"{last:016b}" if group else "")
    assert read_tcf(packed(bits)).vendors == {2, 5, 6, 7, 8}


def test_thousands_of_groups_of_everybody_are_one_group() -> None:
    """A cookie of 16 KB must not hold up a request for seconds."""
    core = Bits(THREE)
    head = "".join(f"{core.number(1)}" for _ in range(213))
    groups = 2_900
    bits = head + format(65_535, "016b") + "1" + format(groups, "012b") + f"1{1:016b}{65_535:016b}" * groups
    assert len(read_tcf(packed(bits)).vendors) == 65_535


def packed(bits: str) -> str:
    bits += "0" * (-len(bits) % 6)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return "".join(alphabet[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        (f"DBABM~{NOTHING}", {2: NOTHING}),
        (f"DBABMA~{NOTHING}", {2: NOTHING}),
        (f"DBACNY~{NOTHING}~1YNN", {2: NOTHING, 6: "1YNN"}),
        ("DBABjw~BPXuQIAPXuQIAAfKABENB-CgAAAAAAAAAAAAAAAA.YAAAAAAAAAA~1YNN",
         {5: "BPXuQIAPXuQIAAfKABENB-CgAAAAAAAAAAAAAAAA.YAAAAAAAAAA", 6: "1YNN"}),
        ("DBABTA~1YNN", {6: "1YNN"}),
        ("DBABzw~1YNN~BVVqAAEABCA.QA", {6: "1YNN", 7: "BVVqAAEABCA.QA"}),
    ],
)  # fmt: skip
def test_a_gpp_string_has_the_sections_of_its_header(text: str, sections: dict[int, str]) -> None:
    """The examples of the specification, in its numbers' Fibonacci code."""
    assert read_gpp(text) == sections


@pytest.mark.parametrize(
    ("text", "opted_out", "region"),
    [
        ("DBABTA~1YNN", False, None), ("DBABTA~1YYY", True, None), ("DBABTA~1---", None, None),
        ("DBABBg~BAAAAACA", None, "US-CA"), ("DBABBg~BVVVVVVY", True, "US-CA"), ("DBABBg~BVqqqqpY.YA", True, "US-CA"),
        ("DBABBg~BVqqqqpY.QA", False, "US-CA"), ("DBABBg~BVqqqqpY", False, "US-CA"),
        ("DBABJg~BAAAAEA", None, "US-CO"), ("DBABJg~BVVVVVg", True, "US-CO"),
        ("DBABVg~BAAAAAEA", None, "US-CT"), ("DBABVg~BVVVVVVg.YA", True, "US-CT"),
        ("DBABLA~BAAAAAAAAQA", None, "US"), ("DBABLA~BVVVVVVVVWA", True, "US"), ("DBABLA~CAAAAAAAAAWA.Q", None, "US"),
        ("DBABLA~BVQqAAAACg", False, "US"), ("DBABLA~BVVVkkkkkpFY.YA", True, "US"),
        ("DBABFg~BAAAAAQA", None, "US-UT"), ("DBABFg~BVVVVVmA", True, "US-UT"),
        ("DBABRg~BAAAABA", None, "US-VA"), ("DBABRg~BVVVVWY", True, "US-VA"),
    ],
)  # fmt: skip
def test_sections_of_the_us_say_who_opted_out(text: str, opted_out: bool | None, region: str | None) -> None:
    """Of sale, sharing or targeted advertising, or by their browser's Global Privacy Control."""
    assert consent_of_gpp(text) == Consent(sale_opt_out=opted_out, region=region, gpp=text)


def test_indianas_two_layouts_say_the_same() -> None:
    """The IAB's library begins with the version, its specification with the section's number."""
    header = packed(f"{3:06b}{1:06b}{1:012b}0{fibonacci(25)}")
    numbered = f"{25:06b}{1:06b}{1:06b}"
    for section, opted_out in (
        ("BVVVkkk.YA", True),
        (packed(numbered + "01" * 12), True),
        (packed(numbered + "01" * 5 + "10" * 4), False),
        ("BQAAAAA.QA", None),
    ):
        found = consent_of_gpp(f"{header}~{section}")
        assert (found.sale_opt_out, found.region) == (opted_out, "US-IN"), section


def test_the_european_section_of_a_gpp_string_counts_too() -> None:
    """With its string kept beside the whole."""
    text = f"DBACNY~{THREE}~1YYN"
    assert consent_of_gpp(text) == Consent(
        ad_storage=True, ad_user_data=False, ad_personalization=False, sale_opt_out=True, tcf=THREE, gpp=text
    )
    assert consent_of_gpp(text, vendors=[999]).ad_storage is False


@pytest.mark.parametrize(
    "text",
    ["", "hello",
     "BOONm0NOONm0NABABAENAa-AAAARh7______b9_3__7_9uz_Kv_K7Vf7nnG072lPVA9LTOQ6gEaY", THREE[:35], "C", "CPX",
     "C\u00e9", THREE[:20] + "!" + THREE[20:], "C" + "A" * 20_000, "C" + "_" * 60, NOTHING[:-9] + "________"],
)  # fmt: skip
def test_what_is_no_tc_string_is_refused(text: str) -> None:
    """Version 1, cut, or of other characters; the error repeats nothing."""
    with pytest.raises(ConsentError) as raised:
        read_tcf(text)
    assert len(str(raised.value)) < 100
    assert not text or text not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["", "D", "DBAB", "DBABM", f"DBABM~{NOTHING}~1YNN", "CBABM~x", "DCABM~x", "DBACNY~x", "DBA_~x", "DBAB~x",
     "DBABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD~x", "~", "DBA__________~x", f"DBABM~{NOTHING}" + "A" * 20_000],
)  # fmt: skip
def test_what_is_no_gpp_string_is_refused(text: str) -> None:
    """A header of another version, or of other sections than there are."""
    with pytest.raises(ConsentError):
        read_gpp(text)


@pytest.mark.parametrize("text", ["", "1YN", "2YNN", "1YNX", "1YNNN"])
def test_what_is_no_us_privacy_string_is_refused(text: str) -> None:
    """Four characters, of version 1."""
    with pytest.raises(ConsentError):
        us_privacy(text)


@pytest.mark.parametrize(
    ("number", "code"), [(1, "11"), (2, "011"), (3, "0011"), (4, "1011"), (5, "00011"), (6, "10011"), (7, "01011")]
)
def test_fibonacci_numbers_are_those_of_the_specification(number: int, code: str) -> None:
    """Its own table."""
    assert Bits(packed(code)).fibonacci() == number


@pytest.mark.parametrize(
    ("state", "consent"),
    [
        ({"ad_storage": "granted", "ad_user_data": "denied", "wait_for_update": 500},
         Consent(ad_storage=True, ad_user_data=False)),
        ({"ad_storage": True, "ad_personalization": False, "analytics_storage": "GRANTED", "ad_user_data": None},
         Consent(ad_storage=True, ad_personalization=False, analytics_storage=True)),
        ({}, Consent()),
        ("G111", Consent(ad_storage=True, analytics_storage=True)),
        ("G100", Consent(ad_storage=False, analytics_storage=False)),
        ("G1-1", Consent(analytics_storage=True)),
        ("13r3r3r3r5", Consent(ad_storage=True, ad_user_data=True, ad_personalization=True, analytics_storage=True)),
        ("11p1t1q1u5", Consent(ad_storage=False, analytics_storage=True, ad_user_data=False, ad_personalization=False)),
        ("13l3l3l3l1l1", Consent()),
    ],
)  # fmt: skip
def test_consent_mode_is_read(state: Any, consent: Consent) -> None:
    """As it is given to the tag, and as the tag writes it."""
    assert consent_of_google(state) == consent


@pytest.mark.parametrize(
    "state", [{"ad_storage": "yes"}, {"ad_storage": 1}, {"ad_storage": ["granted"]}, "", "G2", "11"]
)
def test_what_is_no_state_of_consent_mode_is_refused(state: Any) -> None:
    """Neither granted nor denied."""
    with pytest.raises(ConsentError):
        consent_of_google(state)


letters = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~", max_size=120)


@given(
    st.text(max_size=60) | letters,
    st.sampled_from(["", "C", NOTHING[:36], THREE[:36], "DBABM~", "DBABBg~B", "DBABRg~"]),
)
def test_no_string_raises_anything_else(text: str, start: str) -> None:
    """Whatever stands in a cookie."""
    for read in (consent_of_tcf, consent_of_gpp, us_privacy, consent_of_google):
        with contextlib.suppress(ConsentError):
            read(start + text)  # type: ignore[operator]


@given(st.sets(st.integers(1, 24)), st.sets(st.integers(1, 900)))
def test_what_is_written_by_the_specification_is_read_back(purposes: set[int], vendors: set[int]) -> None:
    """A writer of the tests' own, straight from the table of the core segment."""
    last = max(vendors, default=0)
    bits = (
        f"{2:06b}{16500000000:036b}{16500000000:036b}{31:012b}{1:012b}{1:06b}"
        + f"{4:06b}{13:06b}{126:012b}{4:06b}"
        + "10"
    )
    bits += (
        "0" * 12 + "".join("1" if one in purposes else "0" for one in range(1, 25)) + "0" * 24 + "0" + f"{3:06b}{4:06b}"
    )
    bits += f"{last:016b}0" + "".join("1" if one in vendors else "0" for one in range(1, last + 1))
    said = read_tcf(packed(bits + "0" * 17))
    assert (said.purposes, said.vendors) == (purposes, vendors)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8, unique=True))
def test_headers_written_by_the_specification_are_read_back(numbers: list[int]) -> None:
    """Fibonacci numbers of the distances."""
    numbers = sorted(numbers)
    bits = f"{3:06b}{1:06b}{len(numbers):012b}"
    for before, number in zip([0, *numbers], numbers, strict=False):
        bits += "0" + fibonacci(number - before)
    text = "~".join([packed(bits), *map(str, numbers)])
    assert read_gpp(text) == {number: str(number) for number in numbers}


def fibonacci(number: int) -> str:
    values = [1, 2]
    while values[-1] < number:
        values.append(values[-1] + values[-2])
    code = ""
    for value in reversed(values):
        code = ("1" if value <= number else "0") + code
        number -= value if value <= number else 0
    return code.rstrip("0") + "1"
