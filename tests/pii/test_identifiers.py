"""A plan applied to users: what is filled, what is passed through, and what is explained."""

from __future__ import annotations

from datetime import date

import pytest

from capi_async.errors import ConfigError
from capi_async.event import Hashed, Page, User
from capi_async.pii.fields import RULES
from capi_async.pii.identifiers import IDENTIFIER_SOURCES, Identifiers, Plan
from capi_async.pii.lists import LIST_RULES

EVERYTHING = Plan(IDENTIFIER_SOURCES)
DIGEST = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
JANE = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def filled(found: Identifiers) -> set[str]:
    return {name for name in IDENTIFIER_SOURCES if getattr(found, name) is not None}


def test_the_places_stand_in_the_order_of_the_rules() -> None:
    """A plan fills the struct by position."""
    order = [name for table in (LIST_RULES, RULES) for rules in table.values() for name in rules]
    assert [*order, "page_url", "page_referrer", "refused", "warnings", "several"] == list(
        Identifiers.__struct_fields__
    )
    assert set(IDENTIFIER_SOURCES) == {*order, "page_url", "page_referrer"}


def test_everything_at_once() -> None:
    """Every attribute from its own field, the clear ones written out."""
    found = EVERYTHING.identify(
        User(
            email=" Jane.Doe@Example.com ", phone="+1 (415) 555-2671", external_id=" User-123 ", first_name=" Zoë ",
            middle_name="Ann", last_name="O'Brien", city="Los Angeles", state="California", zip="94107-1234",
            country="USA", gender="Female", date_of_birth=date(1997, 12, 26), ip=" 12.34.56.78", user_agent=" UA ",
            mobile_ad_id="EA7583CD-A667-48BC-B806-42ECB2B48606", idfv=" ABC-1 ",
        ),
        Page(url="https://a.example/?e=jane@example.com&fbclid=x", referrer="https://b.example/"),
    )  # fmt: skip
    assert filled(found) == set(IDENTIFIER_SOURCES)
    assert found.email == (JANE,)
    assert found.email_clear == "Jane.Doe@Example.com"
    assert found.external_id_clear == "User-123"
    assert (found.first_name_clear, found.last_name_clear) == ("Zoë", "O'Brien")
    assert (found.first_name_soundex, found.middle_name_soundex, found.last_name_soundex) == ("Z000", "A500", "O165")
    assert (found.city_clear, found.city_letters, found.city_soundex) == ("losangeles", "los angeles", "L252")
    assert (found.state_clear, found.state_letters, found.state_soundex) == ("ca", "california", "C416")
    assert found.zip_google == "94107-1234"
    assert (found.country_clear, found.gender_binary) == ("us", found.gender)
    assert found.mobile_ad_id_clear == "ea7583cd-a667-48bc-b806-42ecb2b48606"
    assert (found.idfv, found.ip, found.user_agent) == ("ABC-1", "12.34.56.78", "UA")
    assert (found.page_url, found.page_referrer) == ("https://a.example/?e=&fbclid=x", "https://b.example/")
    assert found.warnings == ("page.url: an e-mail address was removed from it",)
    assert dict(found.refused) == {}


@pytest.mark.parametrize("attribute", IDENTIFIER_SOURCES)
def test_only_what_is_wanted_is_filled(attribute: str) -> None:
    user = User(
        email="jane@example.com", phone="+14155552671", external_id="1", first_name="Jane", middle_name="Ann",
        last_name="Doe", city="Rome", state="CA", zip="94107", country="US", gender="f", date_of_birth="1997-12-26",
        ip="8.8.8.8", user_agent="UA", mobile_ad_id="AB-1", idfv="AB-2",
    )  # fmt: skip
    page = Page(url="https://a.example/", referrer="https://b.example/")
    alone, among_all = Plan([attribute]).identify(user, page), EVERYTHING.identify(user, page)
    assert filled(alone) == {attribute}
    assert getattr(alone, attribute) == getattr(among_all, attribute)


def test_nothing_known_gives_nothing() -> None:
    found = EVERYTHING.identify(User())
    assert filled(found) == set()
    assert (dict(found.refused), found.warnings) == ({}, ())
    blank = User(email=" ", phone="", external_id="\t", first_name="", city=" ", zip=" ", ip="", user_agent=" ")
    assert EVERYTHING.identify(blank) == found


def test_several_values_keep_their_order_and_lose_repeats() -> None:
    found = Plan({"email", "email_clear"}).identify(
        User(email=["bad", "jane.doe@example.com", "Jane.Doe@Example.com", "john_smith@gmail.com"])
    )
    assert found.email == (JANE, DIGEST)
    assert found.email_clear == "jane.doe@example.com"
    assert dict(found.refused) == {}
    assert len(found.warnings) == 2
    assert all(text.startswith("user.email: a value is left out of email") for text in found.warnings)


@pytest.mark.parametrize(
    ("field", "value", "attribute"),
    [
        ("email", Hashed(DIGEST), "email"),
        ("email", Hashed(DIGEST.upper(), "email_google"), "email_google"),
        ("phone", Hashed(DIGEST, "phone_digits"), "phone_digits"),
        ("phone", Hashed(DIGEST, "phone_e164"), "phone_e164"),
        ("external_id", Hashed(DIGEST, "external_id"), "external_id"),
        ("external_id", Hashed(DIGEST, "external_id_lower"), "external_id_lower"),
        ("external_id", Hashed(DIGEST, "external_id_plain"), "external_id_plain"),
        ("first_name", Hashed(DIGEST, "name_plain"), "first_name_plain"),
        ("middle_name", Hashed(DIGEST, "name_plain"), "middle_name_plain"),
        ("last_name", Hashed(DIGEST, "name_letters"), "last_name_letters"),
        ("city", Hashed(DIGEST, "city_plain"), "city_plain"),
        ("state", Hashed(DIGEST, "state_plain"), "state_plain"),
        ("last_name", Hashed(DIGEST, "name_spaced"), "last_name_spaced"),
        ("zip", Hashed(DIGEST, "zip_us5"), "zip_us5"),
        ("country", Hashed(DIGEST), "country"),
        ("date_of_birth", Hashed(DIGEST), "dob"),
        ("mobile_ad_id", Hashed(DIGEST, "idfa_upper"), "idfa_upper"),
        ("mobile_ad_id", Hashed(DIGEST, "mobile_ad_id"), "mobile_ad_id"),
    ],
)
def test_a_digest_reaches_its_own_variant_only(field: str, value: Hashed, attribute: str) -> None:
    """Elsewhere its absence is explained."""
    found = EVERYTHING.identify(User(**{field: value}))
    assert filled(found) == {attribute}
    assert getattr(found, attribute) in (DIGEST, (DIGEST,))
    others = [name for name, source in IDENTIFIER_SOURCES.items() if source == field and name != attribute]
    assert len(found.warnings) == len(others)
    for name in others:
        assert any(f" {name} needs " in text and text.startswith(f"user.{field}: ") for text in found.warnings)
    alone = Plan({attribute, "ip"}).identify(User(**{field: value}))
    assert (filled(alone), dict(alone.refused), alone.warnings) == ({attribute}, {}, ())


def test_a_digest_that_is_good_for_several_variants_reaches_all_of_them() -> None:
    """An own id hashed without a rule is what the browser tags send; codes of states differ for Canada only."""
    assert filled(EVERYTHING.identify(User(external_id=Hashed(DIGEST)))) == {
        "external_id",
        "external_id_lower",
        "external_id_plain",
    }
    assert filled(EVERYTHING.identify(User(state=Hashed(DIGEST, "state_code")))) == {"state_code", "state_code_na"}


def test_a_digest_nobody_takes_is_refused_with_its_reason() -> None:
    found = Plan({"phone_e164"}).identify(User(phone=Hashed(DIGEST, "phone_digits")))
    assert filled(found) == set()
    assert found.refused["phone"] == "hashed elsewhere as phone_digits, phone_e164 needs its own digest"
    assert found.warnings == ("user.phone: hashed elsewhere as phone_digits, phone_e164 needs its own digest",)


def test_a_hashed_country_explains_nothing_that_was_not_asked_for() -> None:
    """The country is also read for zip codes; its digest is no use there, which is nobody's concern."""
    found = Plan({"country", "zip_us5"}).identify(User(country=Hashed(DIGEST), zip="94107-1234"))
    assert found.country == DIGEST
    assert found.zip_us5 is not None
    assert found.warnings == ()


@pytest.mark.parametrize("field", ["email", "external_id"])
def test_64_hex_digits_are_read_as_the_default_digest(field: str) -> None:
    """In either case, with a warning, and never hashed again."""
    found = Plan({field}).identify(User(**{field: f" {DIGEST.upper()} "}))
    assert getattr(found, field) == (DIGEST,)
    assert found.warnings == (f"user.{field}: 64 hex digits read as a digest",)


@pytest.mark.parametrize(
    "field",
    ["phone", "first_name", "middle_name", "last_name", "city", "state", "zip", "country", "gender", "date_of_birth",
     "mobile_ad_id", "idfv"],
)  # fmt: skip
@pytest.mark.parametrize("digest", [DIGEST, DIGEST.upper(), f" {DIGEST}", "1" * 64, "ab" * 32])
def test_64_hex_digits_elsewhere_must_say_what_they_are(field: str, digest: str) -> None:
    for plan in (EVERYTHING, Plan(name for name, source in IDENTIFIER_SOURCES.items() if source == field)):
        found = plan.identify(User(**{field: digest}))
        assert filled(found) == set()
        assert found.refused[field] == "looks like a digest: pass Hashed(digest, variant)"


def test_a_digest_with_something_behind_it_is_no_digest() -> None:
    found = Plan({"email", "external_id"}).identify(User(email=DIGEST + " " * 300 + "x", external_id=DIGEST + "x"))
    assert found.email is None
    assert found.external_id not in (None, (DIGEST,))
    assert found.warnings == ()


def test_fields_nobody_wants_cost_no_reading() -> None:
    """Not even a refusal: nobody would have used the value."""
    user = User(email="bad", phone="call me", external_id="*", last_name="*", city="*", ip="x", zip="*", gender="?")
    found = Plan({"user_agent"}).identify(user)
    assert (filled(found), dict(found.refused), found.warnings) == (set(), {}, ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", EMPTY),
        ("email", Hashed(EMPTY)),
        ("external_id", Hashed(EMPTY)),
        ("phone", Hashed(EMPTY, "phone_e164")),
        ("city", Hashed(EMPTY, "city_plain")),
        ("country", Hashed(EMPTY)),
    ],
)
def test_the_digest_of_nothing_never_leaves(field: str, value: str | Hashed) -> None:
    found = EVERYTHING.identify(User(**{field: value}))
    assert filled(found) == set()
    assert found.refused[field] == "the digest of empty text"


def test_phone_numbers_are_read_with_the_events_country_then_the_configured_one() -> None:
    plan = Plan({"phone_digits"}, phone_region="us")
    british = ("40b5c38342a9c584ec707e8679b003f8c779c6aaa138c976ef94e049cc05208f",)
    american = ("e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176",)
    assert plan.identify(User(phone="07911 123456", country="UK")).phone_digits == british
    assert plan.identify(User(phone="(650) 555-1212")).phone_digits == american
    assert plan.identify(User(phone="(650) 555-1212", country="Atlantis")).phone_digits == american
    nowhere = Plan({"phone_digits"}).identify(User(phone="(650) 555-1212"))
    assert nowhere.phone_digits is None
    assert nowhere.refused["phone"].startswith("no country code")


def test_a_number_that_is_left_out_of_a_list_is_a_warning() -> None:
    found = Plan({"phone_e164"}).identify(
        User(phone=["+14155552671", "call me", Hashed(DIGEST, "phone_e164"), "1" * 64])
    )
    assert found.phone_e164 == ("cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928", DIGEST)
    assert dict(found.refused) == {}
    assert found.warnings == (
        "user.phone: a value is left out: not a number that can be dialled",
        "user.phone: a value is left out: looks like a digest: pass Hashed(digest, variant)",
    )


def test_one_variant_that_is_missing_is_a_warning() -> None:
    found = Plan({"email", "email_reddit"}).identify(User(email="...@example.com"))
    assert found.email is not None
    assert found.email_reddit is None
    assert dict(found.refused) == {}
    assert found.warnings == ("user.email: no email_reddit: nothing is left before the @ of this e-mail address",)
    soundex = Plan({"last_name_plain", "last_name_soundex"}).identify(User(last_name="田中"))
    assert (soundex.last_name_plain is not None, soundex.last_name_soundex) == (True, None)
    assert len(soundex.warnings) == 1


def test_reports_belong_to_one_event() -> None:
    """Each event is told its own refusals, also when the value is the same as before."""
    plan = Plan({"country", "zip_us5"})
    bad = User(country="Atlantis", zip="1")
    assert set(plan.identify(bad).refused) == {"country"}
    assert set(plan.identify(bad).refused) == {"country"}
    assert dict(plan.identify(User(country="US")).refused) == {}
    assert dict(plan.identify(User()).refused) == {}


def test_the_country_decides_held_values_too() -> None:
    """The same raw state and zip under another country are other values."""
    plan = Plan({"state_clear", "zip_us5"})
    for _ in range(2):
        assert plan.identify(User(state="Georgia", country="US")).state_clear == "ga"
        assert plan.identify(User(state="Georgia", country="GE")).state_clear == "georgia"
        first = plan.identify(User(zip="12345-6789", country="US")).zip_us5
        assert first != plan.identify(User(zip="12345-6789", country="BR")).zip_us5


@pytest.mark.parametrize("size", [0, 1, 3])
def test_held_values_are_bounded_and_never_stale(size: int) -> None:
    plan, fresh = Plan(IDENTIFIER_SOURCES, cache_size=size), Plan(IDENTIFIER_SOURCES)
    for index in range(50):
        user = User(city=f"City {index % 7}", first_name=f"Name{index}", zip=str(10000 + index), country="US")
        assert plan.identify(user) == fresh.identify(user)
    assert len(plan._city) <= size
    assert len(plan._zip) <= size


def test_long_values_are_not_held() -> None:
    plan = Plan({"city_plain"})
    assert plan.identify(User(city="x" * 1000)).city_plain
    assert len(plan._city) == 0


@pytest.mark.parametrize("field", [*LIST_RULES, *RULES])
@pytest.mark.parametrize("value", ["x" * 1_000_000, "\ud800", "a\udfff@example.com", "\0" * 5000])
def test_monstrous_values_are_refused_without_a_word_of_them(field: str, value: str) -> None:
    found = EVERYTHING.identify(User(**{field: value}))
    assert filled(found) == set()
    assert field in found.refused
    assert value[:10] not in str(found.refused) + str(found.warnings)


def test_page_addresses_that_cannot_be_sent_are_refused() -> None:
    found = EVERYTHING.identify(User(), Page(url="https://a/\ud800", referrer="h" * 40_000))
    assert filled(found) == set()
    assert set(found.refused) == {"page.url", "page.referrer"}


def test_a_plan_names_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="e_mail, fone"):
        Plan(["email", "fone", "e_mail"])
    with pytest.raises(ConfigError, match="phone_region"):
        Plan([], phone_region="Atlantis")


def test_the_repr_holds_no_personal_data() -> None:
    shown = repr(EVERYTHING.identify(User(email="jane.doe@example.com", ip="8.8.8.8")))
    assert "jane" not in shown
    assert "8.8.8.8" not in shown
    assert "email=…" in shown


PLACES = (
    "email", "phone", "external_id", "first_name", "middle_name", "last_name", "city", "state", "zip", "mobile_ad_id",
    "idfv", "user_agent", "ip",
)  # fmt: skip


@pytest.mark.parametrize("field", PLACES)
@pytest.mark.parametrize(
    "text",
    ["null", "undefined", "nan", "NaN", "None", "(not set)", "[object Object]", " NULL ", "N/A", '"null"', "<NA>",
     "{{customer.name}}", "{name}", "${name}", "<%= name %>", "[FIRST_NAME]", "__NAME__", "%NAME%", "#REF!", "#VALUE!",
     "[object HTMLElement]", "(not provided)"],
)  # fmt: skip
def test_what_stands_for_nothing_is_nobodys(field: str, text: str) -> None:
    """It is left out and said, alone and among many: everybody without a value would be one person."""
    plan = Plan(IDENTIFIER_SOURCES)
    user = User(**{field: text})
    alone = plan.identify(user)
    assert field in alone.refused
    assert not [name for name in filled(alone) if IDENTIFIER_SOURCES[name] == field]
    names = Plan(["last_name_joined", "first_name_joined", "external_id", "ip", "user_agent", "email", "zip_us5"])
    together = names.identify_all([User(last_name="Doe", email="a@b.co"), user] * 4, [Page()] * 8)
    for found in together[1::2]:
        assert filled(found) == filled(names.identify(user))


@pytest.mark.parametrize("text", ["null", "NULL", '"null"', "'undefined'", 'null"', "'nan", " None ", "(not set)"])
def test_a_word_for_nothing_is_no_external_id_however_it_is_quoted(text: str) -> None:
    """Everybody without an id would be the same person."""
    ids = Plan(["external_id", "external_id_lower", "external_id_plain"]).identify(User(external_id=text))
    assert (ids.external_id, ids.external_id_lower, ids.external_id_plain) == (None, None, None)
    assert "external_id" in ids.refused


@pytest.mark.parametrize("text", ["null-1", "'n1'x", "undefinedly", "none of yours"])
def test_an_external_id_that_only_begins_like_a_word_for_nothing_is_taken(text: str) -> None:
    """Only the whole text stands for nothing."""
    assert Plan(["external_id_plain"]).identify(User(external_id=text)).external_id_plain is not None


@pytest.mark.parametrize("field", ["external_id", "mobile_ad_id", "idfv"])
@pytest.mark.parametrize("text", ["0", "-1", "guest", "Anonymous", "unknown", "-", "false", "nil"])
def test_the_id_of_everybody_is_nobodys(field: str, text: str) -> None:
    """Guests of a shop have one id; a customer whose name is Nil has a name."""
    found = Plan(IDENTIFIER_SOURCES).identify(User(**{field: text}, first_name="Nil"))
    assert field in found.refused
    assert not [name for name in filled(found) if IDENTIFIER_SOURCES[name] == field]
    assert found.first_name_plain is not None


@pytest.mark.parametrize(
    "text", ["{3F2504E0-4F89-11D3-9A0C-0305E82C3301}", "00", "10", "_x", "$5", "guest-7", "%7", "<3"]
)
def test_an_id_that_begins_like_a_variable_is_taken(text: str) -> None:
    """Windows writes ids in braces."""
    found = Plan(["external_id", "external_id_lower", "external_id_plain"]).identify(User(external_id=text))
    assert None not in (found.external_id, found.external_id_lower, found.external_id_plain)


def test_addresses_of_many_are_held_to_the_bound_one_by_one() -> None:
    """Long ones are taken however many come together; one that is too long is refused, and no other."""
    plan = Plan(["page_url"])
    long = f"https://shop.example/thanks?order=1&gclid={'x' * 300}"
    pages = [Page(url=long)] * 128
    assert [found.page_url for found in plan.identify_all([User()] * 128, pages)] == [long] * 128
    pages[7] = Page(url="https://shop.example/?" + "x" * 32_768)
    found = plan.identify_all([User()] * 128, pages)
    assert [index for index, one in enumerate(found) if one.page_url != long] == [7]
    assert found[7].refused == {"page.url": "longer than 32768 characters"}


@pytest.mark.parametrize(
    "sign", ["@", "%40", "%2540", "&#64;", "&commat;", "&ComMat;", "\\u0040", "%EF%BC%A0", "%5Cx40"]
)
def test_an_address_is_removed_from_the_page_of_many_as_from_one(sign: str) -> None:
    """However it is written, and whatever the other pages are."""
    plan = Plan(["page_url"])
    page = Page(url=f"https://shop.example/thanks?mail=jane{sign}doe.example&gclid=1")
    pages = [Page(url="https://shop.example/?a=1&campaign=2"), page] * 4
    alone = plan.identify(User(), page)
    assert alone.page_url is not None
    assert "doe" not in alone.page_url
    assert plan.identify_all([User()] * 8, pages)[1::2] == [alone] * 4
