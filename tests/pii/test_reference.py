"""Countries, states and currencies."""

from __future__ import annotations

import pytest

from capi_async.pii import reference


def test_the_tables_are_complete() -> None:
    assert len(reference.COUNTRIES) == 249
    assert len(reference.US_STATES) == 60  # 50 states, DC, 6 territories, 3 kinds of military post
    assert len(reference.CURRENCIES) == 165


@pytest.mark.parametrize(
    ("code", "decimals"),
    [("USD", 2), ("EUR", 2), ("GBP", 2), ("INR", 2), ("IDR", 2), ("HUF", 2), ("JPY", 0), ("KRW", 0), ("VND", 0),
     ("CLP", 0), ("ISK", 0), ("KWD", 3), ("BHD", 3), ("OMR", 3), ("JOD", 3), ("TND", 3), ("IQD", 3), ("LYD", 3),
     ("CLF", 4), ("XXX", None), ("XAU", None), ("HRK", None), ("usd", None), ("", None)],
)  # fmt: skip
def test_decimals_are_those_of_iso_4217(code: str, decimals: int | None) -> None:
    assert reference.minor_units(code) == decimals
    assert reference.is_currency(code) is (decimals is not None)


@pytest.mark.parametrize(
    ("text", "code"),
    [("us", "US"), ("USA", "US"), ("U.S.A.", "US"), ("United States of America", "US"), ("UK", "GB"), ("gbr", "GB"),
     ("England", "GB"), ("EIRE", "IE"), ("RSA", "ZA"), ("South Korea", "KR"), ("Korea, Republic of", "KR"),
     ("Czech Republic", "CZ"), ("Czechia", "CZ"), ("The Netherlands", "NL"), ("Holland", "NL"), ("Turkiye", "TR"),
     ("Türkiye", "TR"), ("Turkey", "TR"), ("Cote d'Ivoire", "CI"), ("St. Kitts & Nevis", "KN"), ("UAE", "AE"),
     ("VIET NAM", "VN"), ("vietnam", "VN"), ("Kosovo", "XK"), (" Germany ", "DE"), ("Guinea", "GN"), ("Niger", "NE"),
     ("Korea", None), ("Congo", None), ("Virgin Islands", None), ("zz", None), ("", None), ("the", None)],
)  # fmt: skip
def test_countries_by_code_and_name(text: str, code: str | None) -> None:
    assert reference.country_code(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [("ca", "CA"), ("California", "CA"), ("NEW YORK", "NY"), ("District of Columbia", "DC"), ("Washington, D.C.", "DC"),
     ("Washington", "WA"), ("Puerto Rico", "PR"), ("ap", "AP"), ("US-TX", "TX"), ("NSW", None), ("", None)],
)  # fmt: skip
def test_states_by_code_and_name(text: str, code: str | None) -> None:
    assert reference.us_state_code(text) == code


def test_no_name_belongs_to_two_countries() -> None:
    seen: dict[str, str] = {}
    for line in reference._COUNTRY_LINES.strip().splitlines():
        alpha2, alpha3, names = line.split(" ", 2)
        for spelling in (alpha2.lower(), alpha3.lower(), *map(reference._name_key, names.split("|"))):
            assert seen.setdefault(spelling, alpha2) == alpha2
