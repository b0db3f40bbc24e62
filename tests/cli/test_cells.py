"""What the text of a cell means."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.cli.cells import Moments, Numbers, moment, number, whole_number
from capi_async.errors import EventError

FREE = Numbers()
POINT, COMMA = Numbers(decimal="."), Numbers(decimal=",")


@pytest.mark.parametrize(
    ("text", "how", "right"),
    [
        ("72.39", FREE, "72.39"), ("72,39", FREE, "72.39"), ("1234", FREE, "1234"), ("-5.00", FREE, "-5.00"),
        ("1.234,56", FREE, "1234.56"), ("1,234.56", FREE, "1234.56"), ("1'234.50", FREE, "1234.50"),
        ("1\u00a0234,5", FREE, "1234.5"), ("0.125", FREE, "0.125"), ("0,125", FREE, "0.125"), (".5", FREE, "0.5"),
        ("1234.567", FREE, "1234.567"), ("1.234.567", FREE, "1234567"), ("1.234", POINT, "1.234"),
        ("1.234", COMMA, "1234"), ("1,234", COMMA, "1.234"), ("1,234", POINT, "1234"),
        ("1 234", Numbers(thousands=" "), "1234"), ("72,390", COMMA, "72.390"),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_it_was_meant(text: str, how: Numbers, right: str) -> None:
    """With the separators that the mapping states, or those that leave no doubt."""
    assert number("value", text, how) == right


@pytest.mark.parametrize("text", ["1.234", "1,234", "-12.345", "999,000"])
def test_an_amount_that_could_be_two_is_refused_until_the_mapping_says(text: str) -> None:
    """A thousand in one country is one and a bit in another."""
    with pytest.raises(EventError) as raised:
        number("value", text, FREE)
    assert "decimal" in raised.value.reason
    assert text not in str(raised.value)
    assert number("value", text, POINT) != number("value", text, COMMA)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("1_000", FREE), ("€5", FREE), ("5 EUR", FREE), ("1E5", FREE), ("2.00012E+11", FREE), ("12.34.56", FREE),
        ("1,23,456", FREE), ("(12.50)", FREE), ("NaN", FREE), ("", FREE), ("٣", FREE), ("1.23", COMMA),
        ("72,39", POINT), ("1.234.56", POINT), ("1,234.5", Numbers(decimal=".", thousands=" ")), ("1 2", FREE),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_without_its_text(text: str, how: Numbers) -> None:
    """Also what Python would take."""
    with pytest.raises(EventError) as raised:
        number("value", text, how)
    assert raised.value.field == "value"
    assert not text or text not in str(raised.value)


@given(
    st.decimals(min_value=-(10**12), max_value=10**12, places=2), st.sampled_from([".,", ",.", ", ", ".'", ",\u202f"])
)
def test_a_number_written_with_any_separators_reads_back(value: Decimal, separators: str) -> None:
    """Two decimals leave no doubt which separator is which, so that the mapping need not say."""
    decimal, thousands = separators
    text = f"{value:,.2f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    assert Decimal(number("value", text, Numbers(decimal=decimal, thousands=thousands))) == value
    assert Decimal(number("value", text, FREE)) == value


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_an_event_error(text: str) -> None:
    """Never another exception, and what is taken is a number."""
    for how in (FREE, POINT, COMMA):
        try:
            found = number("value", text, how)
        except EventError:
            continue
        assert Decimal(found).is_finite()


@pytest.mark.parametrize(("text", "right"), [("3", 3), ("3.0", 3), ("3,00", 3), ("1.000.000", 1_000_000)])
def test_a_count_may_be_written_as_a_column_of_floats_does(text: str, right: int) -> None:
    """Nothing is rounded."""
    assert whole_number("num_items", text, FREE) == right


@pytest.mark.parametrize("text", ["1.5", "3,5", "three", "1E3", "9" * 30])
def test_a_count_that_is_not_whole_is_refused(text: str) -> None:
    """The field is named."""
    with pytest.raises(EventError, match="num_items: needs a whole number"):
        whole_number("num_items", text, FREE)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2026-07-01T12:30:00Z", datetime(2026, 7, 1, 12, 30, tzinfo=UTC)),
        ("2026-07-01 12:30", datetime(2026, 7, 1, 12, 30, tzinfo=UTC)),
        ("2026/7/1 9:05", datetime(2026, 7, 1, 9, 5, tzinfo=UTC)),
        ("3.4.2026 12:30", datetime(2026, 4, 3, 12, 30, tzinfo=UTC)),
        ("25/04/2026", datetime(2026, 4, 25, tzinfo=UTC)),
        ("04/25/2026 1:02:03", datetime(2026, 4, 25, 1, 2, 3, tzinfo=UTC)),
        ("05-05-2026", datetime(2026, 5, 5, tzinfo=UTC)),
        ("20260701", datetime(2026, 7, 1, tzinfo=UTC)),
    ],
)
def test_a_date_is_read_where_its_form_leaves_no_doubt(text: str, right: datetime) -> None:
    """Without a format in the mapping."""
    assert moment("time", text, Moments("", UTC)) == right


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("03/04/2026", "can be read as two days"), ("3-4-2026 10:00", "can be read as two days"),
        ("1764200000", "epoch_seconds"), ("1764200000000", "epoch_millis"), ("45992.5", "bare number"),
        ("31/31/2026", "does not have the form"), ("July", "does not have the form"),
        ("2026-13-01", "does not have the form"),
    ],
)  # fmt: skip
def test_a_date_that_could_be_two_is_refused_with_the_key_to_set(text: str, said: str) -> None:
    """Never guessed."""
    with pytest.raises(EventError) as raised:
        moment("time", text, Moments("", UTC))
    assert said in raised.value.reason


def test_a_time_without_an_offset_needs_a_zone() -> None:
    """The mapping's, else it is refused."""
    with pytest.raises(EventError, match=r"time\.zone"):
        moment("time", "2026-07-01 12:30", Moments())
    assert moment("time", "1764200000", Moments("epoch_seconds")) == datetime.fromtimestamp(1764200000, UTC)
    assert moment("time", "1764200000000", Moments("epoch_millis")) == datetime.fromtimestamp(1764200000, UTC)


@given(st.text(max_size=30), st.sampled_from(["", "iso", "epoch_seconds", "epoch_millis", "%d.%m.%Y"]))
def test_any_text_is_a_time_or_an_event_error(text: str, form: str) -> None:
    """Never another exception."""
    try:
        found = moment("time", text, Moments(form, UTC))
    except EventError:
        return
    assert found.tzinfo is UTC
