"""Promises that hold for any text."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.errors import EventError
from capi_async.event import SEVERAL, Hashed, Page, User
from capi_async.pii import fields as user_fields
from capi_async.pii import normalize
from capi_async.pii.identifiers import IDENTIFIER_SOURCES, Plan
from capi_async.pii.lists import LIST_RULES
from capi_async.pii.normalize import Refused

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
PLAN = Plan(IDENTIFIER_SOURCES, phone_region="US", cache_size=8)
RULES = [
    normalize.plain, normalize.joined, normalize.letters, normalize.trimmed, normalize.email, normalize.email_google,
    normalize.email_reddit, normalize.phone, normalize.phone_e164, normalize.external_id, normalize.state_code,
    normalize.zip_us5, normalize.zip_google, normalize.country, normalize.gender, normalize.mobile_ad_id,
    normalize.idfa_upper, normalize.idfv, normalize.ip, normalize.user_agent, normalize.date_of_birth,
]  # fmt: skip
ONE_WAY = [normalize.soundex, normalize.phone_digits]

# surrogates, controls and combining marks come up as often as letters
pieces = st.one_of(
    st.text(max_size=6),
    st.characters(categories=["Cs", "Cc", "Cf", "Mn", "Zs"]),
    st.sampled_from(
        ["H\u0331", "İ", "ΑΣ", "e\u0301", "\u202e", "👩‍👧", "ｘ", "+44", "(0)", "00", "@gmail.com", "a@b.co", "*", "-",
         "ext", "  ", "²", "ſ", "ß", "\ufb01", "\u1e9e", "1997-12-26", "4155552671"]
    ),
)  # fmt: skip
texts = st.one_of(st.text(), st.lists(pieces, max_size=6).map("".join))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@given(text=texts)
def test_a_rule_settles_and_never_raises_anything_else(rule, text: str) -> None:
    """What it returns is not empty, can be encoded, and stays as it is when it comes in again."""
    try:
        once = rule(text)
    except Refused:
        return
    assert once
    assert once.encode()
    assert rule(once) == once


@pytest.mark.parametrize("rule", ONE_WAY, ids=lambda rule: rule.__name__)
@given(text=texts)
def test_a_code_is_never_empty(rule, text: str) -> None:
    with suppress(Refused):
        assert rule(text).isascii()


@pytest.mark.parametrize(
    "rule", [normalize.plain, normalize.joined, normalize.letters, normalize.email, normalize.email_google]
)
@given(text=texts)
def test_composed_and_decomposed_text_are_one(rule, text: str) -> None:
    """A Mac's file names and a phone's keyboard give different code points for the same name."""

    def result(form: str) -> str:
        try:
            return rule(unicodedata.normalize(form, text))
        except Refused:
            return ""

    if len(text) < 1000:
        assert result("NFC") == result("NFD")


@given(text=texts)
def test_a_scrubbed_url_is_settled_and_holds_no_address(text: str) -> None:
    url = f"https://a.example/?{text}&fbclid=x#{text}"
    once = normalize.scrub_url(url)
    assert "fbclid=x" in once
    assert normalize.scrub_url(once) == once


hexes = st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)
FIELDS = [source for source in dict.fromkeys(IDENTIFIER_SOURCES.values()) if "." not in source]


def digests(found: object) -> list[str]:
    values = [getattr(found, name) for name in IDENTIFIER_SOURCES]
    flat = [one for value in values if value is not None for one in (value if isinstance(value, tuple) else (value,))]
    assert all(flat), "an identifier is absent, never empty"
    return flat


@given(values=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, texts)), url=st.none() | texts)
def test_identify_never_raises(values: dict[str, str], url: str | None) -> None:
    """Whatever the fields hold; and the digest of nothing never comes out."""
    for plan in (PLAN, Plan({name for name in IDENTIFIER_SOURCES if len(name) % 2})):
        found = plan.identify(User(**values), Page(url=url, referrer=url))
        assert EMPTY not in digests(found)
        assert plan.identify(User(**values), Page(url=url, referrer=url)) == found


@given(values=st.lists(st.one_of(texts, hexes.map(Hashed), st.emails()), max_size=4))
def test_lists_never_raise(values: list[str | Hashed]) -> None:
    found = PLAN.identify(User(email=values, external_id=values))
    assert EMPTY not in digests(found)


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in {"ip", "user_agent"}])
@given(digest=hexes)
def test_a_digest_is_never_hashed_again(field: str, digest: str) -> None:
    """It comes out as it went in, or not at all."""
    assert set(digests(PLAN.identify(User(**{field: digest})))) <= {digest.lower()}


@given(address=st.emails())
def test_the_short_path_for_addresses_gives_what_the_general_one_gives(address: str) -> None:
    """One rule, three rules, a list: the same digests."""
    several = PLAN.identify(User(email=[address]))
    for plan in (PLAN, Plan({"email"})):
        assert plan.identify(User(email=address)).email == several.email
    assert PLAN.identify(User(email=address)) == several


@given(name=texts)
def test_the_short_path_for_last_names_gives_what_the_general_one_gives(name: str) -> None:
    """``first_name`` goes through the same rules without it."""
    plan = Plan(
        [f"{which}_name_{kind}" for which in ("first", "last") for kind in ("plain", "joined", "letters")],
        cache_size=0,
    )
    found = plan.identify(User(first_name=name, last_name=name))
    for kind in ("plain", "joined", "letters"):
        assert getattr(found, f"first_name_{kind}") == getattr(found, f"last_name_{kind}")


usual = {
    "email": st.emails() | st.sampled_from(["Jane.Doe+1@Example.com", "a@b.co", "a@b", "a@b.co\nc@d.co", " a@b.co "]),
    "phone": st.sampled_from(["+14155552671", "+4915112345678", "0049 151 12345678", "+0123456789", "4155552671"]),
    "last_name": st.sampled_from(["Doe", "McKenzie", "O'Neil", "Müller", "ab\ncd", "x" * 63, "y" * 64]),
    "first_name": st.sampled_from(["Jane", "José"]),
    "city": st.sampled_from(["San Francisco", "Köln"]),
    "state": st.sampled_from(["CA", "Ohio", "Bavaria"]),
    "zip": st.sampled_from(["94107", "94107-1234", "EC1A 1BB", "123456", "1234\n"]),
    "country": st.sampled_from(["US", "Germany", "Atlantis"]),
    "ip": st.sampled_from(["203.0.113.7", "2001:db8::1", "nonsense"]),
    "user_agent": st.just("Mozilla/5.0"),
}
single = {
    name: st.none() | usual.get(name, texts) | texts | hexes.map(Hashed)
    | (st.dates() if name == "date_of_birth" else st.nothing())
    for name in FIELDS
}  # fmt: skip
fields = {
    name: one if name not in SEVERAL else one | one | st.lists(one, max_size=3) | st.lists(one, max_size=3).map(tuple)
    for name, one in single.items()
}


class Kind(str):
    """Text of a kind of its own."""

    __slots__ = ()


urls = st.none() | st.sampled_from(
    ["https://a.example/?q=1", "https://a.example/?q=a b", " https://a.example ", "", " ", "https://a.example/?e=a@b.co",
     "https://a.example/?e=a%2540b.co", "https://a.example/?e=%20", Kind("https://a.example/")]
) | texts  # fmt: skip


def made(values: dict[str, object]) -> User:
    """Without the field that :class:`User` itself refuses: a digest that must say what it is of."""
    for name, value in list(values.items()):
        try:
            User(**{name: value})
        except EventError:
            del values[name]
    return User(**values)


plain_people = st.builds(
    User,
    email=st.none() | st.emails(),
    phone=st.none() | st.integers(10**9, 10**11).map(lambda number: f"+1{number}"),
    last_name=st.none() | st.text("abcXYZ", min_size=1),
    zip=st.none() | st.integers(10_000, 99_999).map(str),
    country=st.sampled_from([None, "US", "DE"]),
)


@given(
    people=st.lists(st.fixed_dictionaries({}, optional=fields).map(made), min_size=1, max_size=12)
    | st.lists(plain_people, min_size=4, max_size=12),
    pages=st.lists(st.builds(Page, url=urls, referrer=urls), min_size=12, max_size=12),
    size=st.sampled_from([0, 8]),
)
@pytest.mark.parametrize(
    "wanted",
    [
        frozenset(IDENTIFIER_SOURCES),
        frozenset({"email", "phone_digits", "last_name_joined", "zip_us5", "state_code", "page_url", "ip"}),
        frozenset({"phone_e164", "last_name_plain", "last_name_letters", "zip_plain", "country_clear", "external_id"}),
        frozenset({"external_id_lower", "external_id_plain", "last_name_spaced", "state_code_na"}),
        frozenset({"zip_google", "email_google", "user_agent"}),
        frozenset(),
    ],
    ids=len,
)
def test_many_are_identified_as_each_of_them_is(
    wanted: frozenset[str], people: list[User], pages: list[Page], size: int
) -> None:
    """Refusals and warnings included."""
    plan = Plan(wanted, phone_region="US", cache_size=size)
    pages = pages[: len(people)]
    together = plan.identify_all(people, pages)
    assert together == [plan.identify(*pair) for pair in zip(people, pages, strict=True)]
    for found in together:
        # a subclass of text equals its text, and cannot be encoded
        assert {type(url) for url in (found.page_url, found.page_referrer)} <= {str, type(None)}


address_pieces = st.sampled_from(
    ["shop.example/", "a@b.co", "?q=", "&q=", "&", "#", "&#64;", "&Commat;", "&commat;", "%40", "%2540", "%20",
     "\\u0040", "\uff20", "@", ";", " ", "\n", "\x7f", "\x1f", "é", "b.co", "http://", "[::1]", "^", "~", "!", "'", '"']
)  # fmt: skip


@given(
    scheme=st.sampled_from(["https://", "http://", "HTTPS://", "httpS://", "//", ""]),
    pieces=st.lists(address_pieces, max_size=6),
)
def test_a_usual_address_is_what_the_long_way_makes_of_it(scheme: str, pieces: list[str]) -> None:
    """A blank in front sends an address the general way, which trims it: the result and the notes are the same."""
    plan = Plan(["page_url"])
    url = scheme + "".join(pieces)
    assert plan.identify(User(), Page(url=url)) == plan.identify(User(), Page(url=f" {url}"))


facts = sorted(SEVERAL - {"email", "phone", "external_id"})


@given(field=st.sampled_from(facts), data=st.data(), country=usual["country"])
def test_each_of_several_values_is_read_as_if_it_stood_alone(field: str, data: st.DataObject, country: str) -> None:
    """In their order and without repeats; what one value lacks, another may give."""
    values = data.draw(st.lists(single[field], min_size=2, max_size=4))
    known: dict[str, Any] = {} if field == "country" else {"country": country}
    try:
        several, alone = User(**{field: values}, **known), [User(**{field: one}, **known) for one in values]
    except EventError:
        return
    found = PLAN.identify(several)
    each = [PLAN.identify(one) for one in alone]
    for attribute, source in IDENTIFIER_SOURCES.items():
        if source != field:
            continue
        wanted = [made for one in each if (made := getattr(one, attribute)) is not None]
        distinct = tuple(dict.fromkeys(wanted))
        assert getattr(found, attribute) == (distinct[0] if distinct else None)
        assert (found.several or {}).get(attribute) == (distinct if len(distinct) > 1 else None)
    reasons = {reason for one in each if (reason := one.refused.get(field))}
    assert (field in found.refused) == bool(
        reasons and not any(getattr(found, name) for name in user_fields.RULES[field])
    )
    for reason in reasons:
        assert reason == found.refused.get(field) or any(reason in said for said in found.warnings) or found.refused


id_pieces = st.sampled_from(
    ["a", "B7", "-", " ", "\t", "\x1c", "\x00", "'", '"', "*", "null", "N/A", "é", "x" * 30, "\x7f", "(not set)"]
)


@given(value=st.lists(id_pieces, max_size=5).map("".join) | texts)
@pytest.mark.parametrize(
    "wanted",
    [
        {"external_id"},
        {"external_id_lower"},
        {"external_id_plain", "external_id_clear"},
        set(LIST_RULES["external_id"]),
    ],
    ids=len,
)
def test_an_external_id_is_the_same_by_the_short_way_and_in_a_list(wanted: set[str], value: str) -> None:
    """White space, quotes, placeholders and letters of any script."""
    plan = Plan(wanted)
    assert plan.identify(User(external_id=value)) == plan.identify(User(external_id=[value]))
