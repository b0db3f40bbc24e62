"""Consent of a request, by what consent tools leave there."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import ConfigError, Consent
from capi_async.consent import ConsentReader, strictest
from capi_async.context import ContextSettings, RequestContext
from capi_async.context.request import from_parts

TCF = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA"
DENIED = Consent(ad_storage=False, ad_user_data=False, ad_personalization=False, analytics_storage=False)


def consent(reader: ConsentReader, cookies: dict[str, str] | None = None, **headers: str) -> Consent | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return reader(from_parts("https://shop.example/", cookies=cookies, headers=named))


def test_a_visitors_strings_become_choices_and_are_kept() -> None:
    """For platforms that take them."""
    found = consent(ConsentReader(gpp_cookie="gpp"), {"euconsent-v2": TCF, "gpp": "DBABBg~BVVVVVVY"})
    assert found == Consent(
        ad_storage=True, ad_user_data=False, ad_personalization=False, sale_opt_out=True, region="US-CA",
        tcf=TCF, gpp="DBABBg~BVVVVVVY",
    )  # fmt: skip


def test_the_strictest_answer_counts() -> None:
    """Denied before granted before silence."""
    state = quote(json.dumps({"ad_storage": "denied", "analytics_storage": "granted"}))
    found = consent(
        ConsentReader(google_cookie="consent"), {"euconsent-v2": TCF, "consent": state, "usprivacy": "1YNN"}
    )
    assert found is not None
    assert (found.ad_storage, found.analytics_storage, found.ad_user_data) == (False, True, False)
    assert found.sale_opt_out is False
    assert strictest([Consent(sale_opt_out=False), Consent(sale_opt_out=True)]).sale_opt_out is True
    assert strictest([]) == Consent()


def test_global_privacy_control_opts_out_of_sale() -> None:
    """Whatever a cookie says; unless it is switched off."""
    assert consent(ConsentReader(), {"usprivacy": "1YNN"}, Sec_GPC="1") == Consent(sale_opt_out=True)
    assert consent(ConsentReader(gpc=False), Sec_GPC="1") is None
    assert consent(ConsentReader(), Sec_GPC="0") is None


@pytest.mark.parametrize(
    ("reader", "cookies"),
    [({}, {"usprivacy": "1YNN"}), ({"gpp_cookie": "gpp"}, {"gpp": "DBABLA~BVQqAAAAAgA"})],
)
def test_a_string_that_speaks_of_sale_alone_leaves_the_rest_to_the_settings(
    reader: dict[str, Any], cookies: dict[str, str]
) -> None:
    """In whichever of the two forms of the United States it is written, and with the region that it names."""
    absent: Any = {"US": "granted", "*": "denied"}
    found = consent(ConsentReader(**reader, region="cf-ipcountry", absent=absent), cookies, CF_IPCountry="US")
    assert found is not None
    assert (found.ad_storage, found.ad_user_data, found.sale_opt_out) == (True, True, False)
    unplaced = consent(ConsentReader(**reader, region="cf-ipcountry", absent=absent), cookies)
    assert unplaced is not None
    assert unplaced.ad_storage is ("gpp" in cookies)


@pytest.mark.parametrize(
    ("country", "expected"),
    [
        ("de", DENIED),
        ("GB", DENIED), ("CH", DENIED), ("US", None), ("XX", None), ("T1", None), (None, None), ("", None),
        ("CA", "granted"),
    ],
)  # fmt: skip
def test_silence_means_what_the_settings_say_for_the_region(country: str | None, expected: Any) -> None:
    """Denied in Europe, unknown elsewhere, here."""
    reader = ConsentReader(region="cf-ipcountry", absent={"EEA": "denied", "CA": "granted", "*": "unknown"})
    found = consent(reader, **({} if country is None else {"CF_IPCountry": country}))
    if expected == "granted":
        assert found == Consent(
            ad_storage=True, ad_user_data=True, ad_personalization=True, analytics_storage=True, region="CA"
        )
    elif expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.ad_storage, found.region) == (False, str(country).upper())


def test_a_state_goes_before_its_country() -> None:
    """And a function may say where the visitor is."""
    absent: Any = {"US-CA": "denied", "US": "granted", "*": "unknown"}
    for region, ad_storage in (("US-CA", False), ("us-tx", True)):
        reader = ConsentReader(region=lambda request, region=region: region, absent=absent)  # type: ignore[misc]
        found = consent(reader)
        assert found is not None
        assert (found.ad_storage, found.region) == (ad_storage, region.upper())
    assert consent(ConsentReader(absent="denied")) == DENIED


@pytest.mark.parametrize(
    "text", ["hello", "CPX", "%00", "\xff\xfe", "_" * 9_000, '{"ad_storage": "perhaps"}', "[" * 5_000]
)
@pytest.mark.parametrize("cookie", ["euconsent-v2", "gpp", "usprivacy", "state"])
def test_what_cannot_be_read_counts_as_denied(cookie: str, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The visitor chose something, and nobody knows what."""
    caplog.set_level(logging.INFO)
    reader = ConsentReader(gpp_cookie="gpp", google_cookie="state", absent="granted")
    found = consent(reader, {cookie: text})
    assert found == DENIED
    assert text not in caplog.text


def test_a_context_has_the_consent_that_was_read() -> None:
    """And sets no cookie without it."""
    settings = ContextSettings(consent=ConsentReader(absent="denied"), require_consent=True)
    silent = RequestContext.from_parts("https://shop.example/?gclid=Cj0K", settings=settings)
    assert (silent.cookies(), silent.event("lead").consent) == ((), DENIED)
    told = RequestContext.from_parts("https://shop.example/", cookies={"euconsent-v2": TCF}, settings=settings)
    assert len(told.cookies()) == 1
    assert str(told.event("lead").consent).count(TCF) == 0


@pytest.mark.parametrize(
    "given_",
    [{"absent": "no"}, {"absent": {"EEA": "no"}}, {"absent": {"EEA": "denied"}}, {"purposes": {"ad_strage": (1,)}}],
)
def test_settings_that_mean_nothing_are_refused(given_: dict[str, Any]) -> None:
    """Before the first request."""
    with pytest.raises(ConfigError):
        ConsentReader(**given_)


@given(
    st.dictionaries(st.sampled_from(["euconsent-v2", "gpp", "usprivacy", "state"]), st.text(max_size=60)),
    st.text(max_size=8),
)
def test_no_request_raises(cookies: dict[str, str], country: str) -> None:
    """Nor whatever stands in the header of a region."""
    reader = ConsentReader(gpp_cookie="gpp", google_cookie="state", region="x-country", absent={"EEA": "denied"})
    consent(reader, cookies, x_country=country)
