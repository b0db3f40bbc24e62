"""Rules beyond the printed vectors: what they refuse, and the forms that are sent in clear."""

from __future__ import annotations

import sys
from datetime import date, datetime

import phonenumbers
import pytest

from capi_async.pii import normalize
from capi_async.pii.normalize import Empty, Refused


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (date(1997, 2, 16), "19970216"),
        (datetime(1997, 2, 16, 23, 59), "19970216"),  # noqa: DTZ001 -- a birthday has no zone
        ("1997-2-6", "19970206"),
        ("1997/02/16", "19970216"),
        ("1997-02-16T00:00:00Z", "19970216"),
        ("16/2/1997", "19970216"),
        ("5/5/1997", "19970505"),
    ],
)
def test_dates_that_can_be_read_one_way_only(given: date | str, expected: str) -> None:
    assert normalize.date_of_birth(given) == expected


@pytest.mark.parametrize(
    "given",
    ["2/3/1997", "02.03.1997", "1997-13-01", "1997-02-30", "97-02-16", "16021997", "1997216", "1997-02-16T22:00:00Z",
     "0001-01-01", "1899-12-30", "9999-12-31", "yesterday", "1997-02/16", "１９９７-02-16"],
)  # fmt: skip
def test_dates_that_could_be_another_day_are_refused(given: str) -> None:
    with pytest.raises(Refused):
        normalize.date_of_birth(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("12.34.56.78", "12.34.56.78"),
        (" 8.8.8.8 ", "8.8.8.8"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("::FFFF:cb00:7105", "203.0.113.5"),
        ("1.2.3.4:80", "1.2.3.4"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("203.0.113.5, 10.0.0.1", "203.0.113.5"),
        ("10.0.0.1, unknown, 192.168.1.1:80, 8.8.8.8:443", "8.8.8.8"),
        ("172.32.0.1", "172.32.0.1"),
        ("100.128.0.1", "100.128.0.1"),
        ("192.167.0.1", "192.167.0.1"),
        ("169.253.1.1", "169.253.1.1"),
        ("198.17.255.255", "198.17.255.255"),
        ("192.0.1.1", "192.0.1.1"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::200e"),
        ("2001:200::1", "2001:200::1"),
        ("2002:808:808::1", "2002:808:808::1"),
        ("64:ff9b::8.8.8.8", "64:ff9b::8.8.8.8"),
    ],
)
def test_addresses_of_both_kinds_pass(given: str, expected: str) -> None:
    assert normalize.ip(given) == expected


@pytest.mark.parametrize(
    "given",
    ["0.0.0.0", "   0.0.0.0  ", "::", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4:x", "::1",  # noqa: S104
     "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255",
     "198.18.0.1", "198.19.255.255", "192.0.0.8", "192.88.99.1", "240.0.0.1", "::8.8.8.8", "64:ff9b::10.0.0.1",
     "64:ff9b:1::1", "2002:a00:1::1", "100::1", "2001::1", "2001:2::1", "5f00::1", "4000::1", "1::1",
     "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "10.0.0.1, 192.168.0.1", "null", ",",
     "1.2.3.*", "fe80::1%eth0", "localhost", "1.2.3.4\0", "\ud800", "１.2.3.4"],
)  # fmt: skip
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(Refused):
        normalize.ip(given)


@pytest.mark.parametrize(
    ("rule", "given", "expected"),
    [
        (normalize.joined, "O\u200bBrien\u00ad\x00", "obrien"),
        (normalize.joined, "San\u00a0José 2", "sanjosé2"),
        (normalize.joined, "नई दिल्ली", "नईदिल्ली"),
        (normalize.plain, "  H\u0331anna ", "\u1e96anna"),
        (normalize.letters, "São Paulo 2nd", "são paulo nd"),
        (normalize.letters, "St. Louis", "st louis"),
        (normalize.trimmed, " Jose\u0301 ", "José"),
        (normalize.zip_google, " 94.107~ ", "94107"),
        (normalize.zip_us5, "S \u0326", "\u0219"),  # what a removal brings together is composed
        (normalize.email_google, "e \u0301@example.com", "\u00e9@example.com"),
        (normalize.zip_google, "SW1A 1AA", "SW1A 1AA"),
        (normalize.idfv, " EA7583CD-A667-48BC ", "EA7583CD-A667-48BC"),
        (normalize.user_agent, " Mozilla/5.0 (*) ", "Mozilla/5.0 (*)"),
        (normalize.gender, "WOMAN", "f"),
        (normalize.gender, "Non binary", "n"),
        (normalize.country, "Côte d’Ivoire", "ci"),
        (normalize.state_code, "D.C.", "dc"),
        (normalize.state_code, "US-CA", "ca"),
        (normalize.email_google, "First.Last@gmail.com.example", "first.last@gmail.com.example"),
        (normalize.email_reddit, "josé.x@example.com", "josx@example.com"),
    ],
)
def test_normalised_text(rule, given: str, expected: str) -> None:
    assert rule(given) == expected


@pytest.mark.parametrize(
    ("given", "country", "expected"),
    [
        ("94107-1234", None, "94107"),
        ("94107 1234", None, "941071234"),  # not the form that only ZIP+4 has
        ("01234-567", "BR", "01234567"),
        ("100-0001", None, "1000001"),
        ("100–0001", "JP", "1000001"),
        ("94107-1234", "us", "94107"),
    ],
)
def test_only_us_codes_are_cut(given: str, country: str | None, expected: str) -> None:
    assert normalize.zip_us5(given, country) == expected


def test_a_state_is_only_us_where_the_country_is() -> None:
    assert normalize.state_code("Georgia") == "ga"
    assert normalize.state_code("Washington", "US") == "wa"
    assert normalize.state_code("Washington", "gb") == "washington"


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        (normalize.plain, "J***"),
        (normalize.joined, "J***"),
        (normalize.letters, "J***"),
        (normalize.external_id, "12*34"),
        (normalize.mobile_ad_id, "****"),
        (normalize.zip_google, "941**"),
        (normalize.phone, "(+1)213-***-1234"),
        (normalize.mobile_ad_id, "00000000-0000-0000-0000-000000000000"),
        (normalize.idfa_upper, "00000000-0000-0000-0000-000000000000"),
        (normalize.soundex, "田中"),
        (normalize.soundex, "_x"),
        (normalize.country, "Atlantis"),
        (normalize.country, "Congo"),
        (normalize.gender, "unknown"),
        (normalize.email_reddit, "+++@example.com"),
        (normalize.email_google, "...@gmail.com"),
        (normalize.plain, "x" * 5000),
        (normalize.external_id, "x" * 5000),
        (normalize.external_id, "\ud800"),
        (normalize.plain, "a\udfff"),
        (normalize.phone, "+1415555267\ud800"),
    ],
)
def test_what_a_rule_cannot_read_is_refused(rule, given: str) -> None:
    with pytest.raises(Refused) as caught:
        rule(given)
    assert not isinstance(caught.value, Empty)
    assert given not in caught.value.reason


def test_a_us_zip_code_without_its_five_digits_is_refused() -> None:
    """The zero that a spreadsheet has eaten is not put back."""
    with pytest.raises(Refused, match="ZIP"):
        normalize.zip_us5("2116", "us")


@pytest.mark.parametrize(
    ("rule", "given"),
    [(normalize.plain, "  "), (normalize.joined, "-.'"), (normalize.letters, "123"), (normalize.email, " "),
     (normalize.phone, " "), (normalize.phone, "ext 12"), (normalize.external_id, "\t"), (normalize.zip_us5, "- -"),
     (normalize.ip, " "), (normalize.country, " "), (normalize.gender, "?"), (normalize.date_of_birth, " ")],
)  # fmt: skip
def test_nothing_left_is_absent_rather_than_empty_text(rule, given: str) -> None:
    with pytest.raises(Empty):
        rule(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("+39 06 698 12345", "+390669812345"),  # the zero is part of Italian numbers
        ("+39 (0)6 698 12345", "+390669812345"),
        ("0044 (0) 20 7946 0958", "+442079460958"),
        ("00 1 650 555 1212", "+16505551212"),
        ("\u202a+1 415 555 2671\u202c", "+14155552671"),
        ("＋１ ４１５ ５５５ ２６７１", "+14155552671"),
        ("+٩٦٦ ٥٠ ١٢٣ ٤٥٦٧", "+966501234567"),
        ("+1 415 555 2671 x34", "+14155552671"),
        ("+1 415 555 2671 #34", "+14155552671"),
        ("+1-800-FLOWERS", "+18003569377"),
        ("+683 4000", "+6834000"),  # Niue: fewer than eight digits, so the parser decides
    ],
)
def test_international_numbers(given: str, expected: str) -> None:
    assert normalize.phone(given) == expected


@pytest.mark.parametrize(
    ("given", "region", "reason"),
    [
        ("000911", None, "not a number"),
        ("000911", "US", "not a number"),
        ("911", "US", "not a number"),
        ("call me", "US", "not a number"),
        ("+", None, "not a number"),
        ("+0123456789", None, "not a number"),
        ("+14155552671, +14155552672", None, "not a number"),
        ("+" + "1" * 16, None, "not a number"),
        ("07911 123456", None, "no country code"),
        ("14155552671", None, "no country code"),
    ],
)
def test_numbers_that_nobody_could_dial_are_refused(given: str, region: str | None, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        normalize.phone(given, region)


@pytest.mark.parametrize(
    ("given", "region"), [("07911 123456", "GB"), ("+44-0447-234-2344", None), ("+39 06 698 12345", None)]
)
def test_forms_that_need_the_parser_name_the_extra(
    given: str, region: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the optional package they are absent, with the command that mends it."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(Refused, match=r"capi_async\[phone\]"):
        normalize.phone(given, region)


@pytest.mark.parametrize("given", ["+14155552671", "+44 (0)20 7946 0958", "0016505551212", "+1.650.555.1212 ext. 34"])
def test_international_forms_need_no_parser(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    assert normalize.phone(given).startswith("+")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example/thanks?fbclid=IwAR1&ScCid=a%2Fb", "https://shop.example/thanks?fbclid=IwAR1&ScCid=a%2Fb"),
        ("https://a.example/?email=jane@example.com&fbclid=AbC", "https://a.example/?email=&fbclid=AbC"),
        ("https://a.example/?email=jane%40example.com&gclid=x%3D", "https://a.example/?email=&gclid=x%3D"),
        ("https://a.example/?e=jane%2540example.com&&ttclid=1#top", "https://a.example/?e=&&ttclid=1#top"),
        ("https://a.example/#/route?mail=jane@example.com&x=1", "https://a.example/#/route?mail=&x=1"),
        ("https://a.example/?jane@example.com", "https://a.example/?"),
        ("https://a.example/?jane%40example.com=1&b=2", "https://a.example/?&b=2"),
        ("https://a.example/?next=https%3A%2F%2Fb%2F%3Fe%3Djane%2540example.com&epik=1", "https://a.example/?next=&epik=1"),
        ("https://a.example/?map=@37.77,-122.41&q=%40shop", "https://a.example/?map=@37.77,-122.41&q=%40shop"),
        ("https://a.example/@jane?x=1", "https://a.example/@jane?x=1"),
        ("https://a.example/?price=40&x=%2540", "https://a.example/?price=40&x=%2540"),
        ("https://a.example/?a=1;mail=jane@example.com;b=2", "https://a.example/?a=1;mail=;b=2"),
        ("https://a.example/?e=jose%CC%81%40ex%C3%A4mple.de&b", "https://a.example/?e=&b"),
        ("", ""),
    ],
)  # fmt: skip
def test_urls_lose_addresses_and_keep_everything_else(url: str, expected: str) -> None:
    assert normalize.scrub_url(url) == expected


@pytest.mark.parametrize(
    "value",
    [
        "a%2525252525252540b.example", "jane@localhost", "jane@10.0.0.1", "jane@[2001:db8::1]", "jane@mail.123",
        "jane\uff20mail.example", "jane%EF%BC%A0mail.example", "jane%u0040mail.example", "jane&#64;mail.example",
        "jane&#x40;mail.example", "jane&commat;mail.example", "jane%26%2364%3Bmail.example", "jane\\u0040mail.example",
        "jane%5Cu0040mail.example", "jane%" + "25" * 40 + "40mail.example",
    ],
)  # fmt: skip
def test_an_address_in_a_query_goes_however_it_is_written(value: str) -> None:
    """Encoded deeply, as an entity, as an escape, with a wide at sign, of a host without a usual ending."""
    assert normalize.scrub_url(f"https://s.example/?a=1&mail={value}&b=2") == "https://s.example/?a=1&mail=&b=2"


@pytest.mark.parametrize(
    "url",
    [
        "https://s.example/?q=%C3%A9t%C3%A9&r=100%25", "https://s.example/?a=1&amp;b=2", "https://s.example/maps/@37.77,-122.41",
        "https://s.example/?ll=@37.77,-122.41", "https://s.example/?price=%E2%82%AC40", "https://s.example/?x=a%5Cb",
    ],
)  # fmt: skip
def test_what_is_no_address_stays_byte_for_byte(url: str) -> None:
    """Click ids are opaque, and so is everything beside them."""
    assert normalize.scrub_url(url) == url


@pytest.mark.parametrize(
    ("given", "region", "expected"),
    [
        ("+4407911123456", None, "+447911123456"), ("+4901711234567", None, "+491711234567"),
        ("+330612345678", None, "+33612345678"), ("+353 0871234567", None, "+353871234567"),
        ("+390612345678", None, "+390612345678"), ("+2250712345678", None, "+2250712345678"),
        ("+14155552671.0", None, "+14155552671"), ("'+14155552671", None, "+14155552671"),
        ("+491711234567.00", None, "+491711234567"), ("+49 171 / 1234567", None, "+491711234567"),
    ],
)  # fmt: skip
def test_phones_that_were_damaged_are_mended(given: str, region: str | None, expected: str) -> None:
    """A trunk zero behind the country code, what spreadsheets add; Italy and others keep their zero."""
    assert normalize.phone(given, region) == expected


@pytest.mark.parametrize("given", ["1.4155552671E10", "1,4155552671E+10", "+1.4155552671e10", "+1 415 555 2671 / 2672",
                                   "+1 415 555 2671/415 555 2672", "+141555526710"])  # fmt: skip
def test_phones_that_became_another_number_are_refused(given: str) -> None:
    """Never a stranger's number."""
    with pytest.raises(Refused):
        normalize.phone(given, "US")


@pytest.mark.parametrize(
    ("given", "country", "expected"),
    [("'94107", "us", "94107"), ("94107.0", "us", "94107"), ("94107.0", None, "94107"), ("’10115", "de", "10115")],
)
def test_zips_lose_what_a_spreadsheet_added(given: str, country: str | None, expected: str) -> None:
    """By every rule."""
    assert normalize.zip_us5(given, country) == expected
    assert normalize.zip_plain(given) == expected
    assert normalize.zip_google(given) == expected


@pytest.mark.parametrize("given", ["4107", "501", "4107.0", "'4107"])
def test_a_us_zip_without_its_leading_zero_is_refused(given: str) -> None:
    """It would be another place."""
    with pytest.raises(Refused, match="leading zero"):
        normalize.zip_us5(given, "us")


@pytest.mark.parametrize("given", ["Mary Ann", "mary\tann", "MARY\nAnn", "\tMary\u000bAnn\r\n"])
def test_a_name_in_two_parts_keeps_them_apart(given: str) -> None:
    """A tab or a line end between two names parts them as a space does."""
    assert normalize.spaced(given) == "mary ann"


@pytest.mark.parametrize("given", ["2116-1234", "21161234", "2116 1234", "0211", "2116.0", "2116-", '="2116"'])
def test_a_us_zip_with_four_digits_more_needs_five_before_them(given: str) -> None:
    """The zero that a spreadsheet took must not be made up of the next digit."""
    with pytest.raises(Refused):
        normalize.zip_us5(given, "us")


@pytest.mark.parametrize(
    "given", ['="02116"', '"02116"', "'02116", "02116", '= "02116-1234"', "021161234", "02116 1234"]
)
def test_a_zip_that_was_guarded_from_a_spreadsheet_is_read(given: str) -> None:
    assert normalize.zip_us5(given, "us") == "02116"


@pytest.mark.parametrize("given", ['="+14155552671"', '"+14155552671"', "'+14155552671", "tel:+1-415-555-2671"])
def test_a_number_that_was_guarded_from_a_spreadsheet_is_read(given: str) -> None:
    assert normalize.phone(given) == "+14155552671"


def test_a_column_that_was_too_narrow_is_no_number() -> None:
    """It is said: somebody exported what the screen showed."""
    with pytest.raises(Refused) as caught:
        normalize.phone("########")
    assert not isinstance(caught.value, Empty)


def test_every_country_with_a_trunk_zero_loses_it_and_no_other() -> None:
    """By the tables of the parser, which has an example of each country's numbers."""
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        table = phonenumbers.PhoneMetadata.metadata_for_region(region)
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            assert normalize.phone(number) == number
            code = f"+{example.country_code}"
            if table.national_prefix == "0" and number[len(code)] != "0":
                assert normalize.phone(f"{code}0{number[len(code) :]}") == number
                assert normalize.phone(f"{code} (0) {number[len(code) :]}") == number
                assert normalize.phone(f"{code} 0{number[len(code) :]}") == number
