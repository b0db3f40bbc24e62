"""CSV files and their mapping."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from capi_async.cli.mapping import EXAMPLE, Mapper
from capi_async.cli.readers import Good, Problem, open_source, read
from capi_async.errors import ConfigError
from tests.cli.conftest import EXAMPLES, Run

FULL = """
delimiter = ";"
[constants]
name = "purchase"
currency = "GBP"
[columns]
order_id = "Order"
value = "Total"
"user.email" = "Mail"
"user.country" = "Land"
"user.first_name" = "Name"
"items.id" = "SKU"
"items.quantity" = "Count"
"consent.ad_storage" = "Consent"
"properties.channel" = "Channel"
event_id = "{Order}/{line}"
[time]
column = "When"
format = "%d.%m.%Y %H:%M"
timezone = "Europe/London"
[values.user.country]
EIRE = "IE"
"""
FULL = FULL.replace("[values.user.country]", '[values."user.country"]')
HEADER = "Order;Total;Mail;Land;Name;SKU;Count;Consent;Channel;When\n"


def _mapper(tmp_path: Path, text: str) -> Mapper:
    path = tmp_path / "map.toml"
    path.write_text(text, "utf-8")
    return Mapper.load(path)


def _read(tmp_path: Path, content: bytes, mapping: str = FULL) -> list[Good | Problem]:
    path = tmp_path / "orders.csv"
    path.write_bytes(content)
    return [one for piece in read(open_source(str(path), "auto"), _mapper(tmp_path, mapping)) for one in piece]


def test_columns_constants_values_and_times_make_an_event(tmp_path: Path) -> None:
    """Every kind of entry at once, with a byte order mark and CRLF line ends."""
    row = '77;19.90;a@mail.example;EIRE;"Zoë; the ""Great""";9;3;yes;shop;01.07.2026 12:30\r\n'
    (good,) = _read(tmp_path, b"\xef\xbb\xbf" + (HEADER.replace("\n", "\r\n") + row).encode())
    assert isinstance(good, Good)
    event = good.event
    assert (event.name, event.order_id, event.event_id, event.value, event.currency) == (
        "purchase", "77", "77/2", Decimal("19.90"), "GBP",
    )  # fmt: skip
    assert (event.user.email, event.user.country, event.user.first_name) == ("a@mail.example", "IE", 'Zoë; the "Great"')
    assert (event.items[0].id, event.items[0].quantity) == ("9", 3)
    assert event.consent is not None
    assert event.consent.ad_storage is True
    assert event.properties == {"channel": "shop"}
    assert event.time == datetime(2026, 7, 1, 11, 30, tzinfo=UTC)  # British Summer Time


def test_bad_rows_name_line_and_field_and_the_others_are_read(tmp_path: Path) -> None:
    """Never the value. A quoted line end does not shift the numbers."""
    good = '1;2;;;"two\nlines";9;1;;;01.07.2026 12:30\n'
    rows = [
        good,
        "2;cheap;;;;9;1;;;01.07.2026 12:30\n",
        "3;2;;;;9;1.5;;;01.07.2026 12:30\n",
        "4;2;;;;9;1;perhaps;;01.07.2026 12:30\n",
        "5;2;;;;9;1;;;July\n",
        "6;2;;;;9\n",
        "\n",
        "7;2;;;\xff;9;1;;;01.07.2026 12:30\n",
        "8;2;;;;9;1;;;01.07.2026 12:30\n",
    ]
    found = _read(tmp_path, (HEADER + "".join(rows)).encode("latin-1"))
    assert [type(one) for one in found] == [Good, *[Problem] * 6, Good]
    problems = [one for one in found if isinstance(one, Problem)]
    assert (problems[0].line, problems[0].field) == (4, "value")
    assert not [one for one in problems if "cheap" in one.reason]
    assert [(one.line, one.field, one.reason) for one in problems[1:]] == [
        (5, "items.quantity", "needs a whole number"),
        (6, "consent.ad_storage", "needs true or false"),
        (7, "time", "does not have the form %d.%m.%Y %H:%M"),
        (8, "", "has 6 cells instead of 10"),
        (10, "", "column 'Name' is not UTF-8 text; say another encoding in the mapping, or save as UTF-8"),
    ]
    assert found[-1].line == 11


def test_a_template_with_an_empty_cell_gives_nothing(tmp_path: Path) -> None:
    """Half of an id would be the same on many rows."""
    (good,) = _read(tmp_path, (HEADER + ";2;;;;9;1;;;01.07.2026 12:30\n").encode())
    assert isinstance(good, Good)
    assert good.event.event_id != "/2"


@pytest.mark.parametrize(
    ("cells", "emails", "states", "countries"),
    [
        ("a@b.example;c@d.example;NY;ON;US;CA", ["a@b.example", "c@d.example"], ("NY", "ON"), ("US", "CA")),
        ("a@b.example;;;ON;US;CA", "a@b.example", ("", "ON"), ("US", "CA")),
        (";c@d.example;NY; ;US;", ["", "c@d.example"], "NY", ("US", "DE")),
        (";;;Bayern;;", None, ("", "Bayern"), ("DE", "DE")),
        ("a@b.example;;Bayern;;Allemagne;", "a@b.example", "Bayern", ("DE", "DE")),
    ],
)
def test_what_a_person_has_several_of_is_read_from_several_columns(
    tmp_path: Path, cells: str, emails: object, states: object, countries: object
) -> None:
    """An empty cell holds its place before a filled one; meanings and defaults go for each cell."""
    mapping = """
    delimiter = ";"
    [constants]
    name = "lead"
    "user.last_name" = ["Doe", "Roe"]
    [columns]
    "user.email" = ["Mail", "Mail 2"]
    "user.state" = ["State", "State 2"]
    "user.country" = ["Land", "Land 2"]
    [defaults]
    "user.country" = "DE"
    [values."user.country"]
    Allemagne = "DE"
    """
    (good,) = _read(tmp_path, f"Mail;Mail 2;State;State 2;Land;Land 2\n{cells}\n".encode(), mapping)
    assert isinstance(good, Good)
    user = good.event.user
    assert (user.email, user.state, user.country) == (emails, states, countries)
    assert user.last_name == ("Doe", "Roe")


def test_each_of_several_columns_must_be_in_the_file(tmp_path: Path) -> None:
    """Once."""
    mapping = '[constants]\nname = "lead"\n[columns]\n"user.city" = ["City", "City 2"]\n'
    with pytest.raises(ConfigError, match="no column 'City 2'"):
        _read(tmp_path, b"City,City2\nRome,Oslo\n", mapping)
    with pytest.raises(ConfigError, match="2 columns that are called 'City'"):
        _read(tmp_path, b"City,City 2,City\nRome,Oslo,Bern\n", mapping)


def test_an_empty_time_is_a_bad_row_unless_the_mapping_says_now(tmp_path: Path) -> None:
    """An old sale must not be counted as one of today."""
    row = (HEADER + "1;2;;;;9;1;;;\n").encode()
    (problem,) = _read(tmp_path, row)
    assert isinstance(problem, Problem)
    assert (problem.line, problem.field) == (2, "time")
    (good,) = _read(tmp_path, row, FULL.replace("[time]", '[time]\nempty = "now"'))
    assert isinstance(good, Good)
    assert datetime.now(UTC) - good.event.time < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[constants", "not TOML"),
        ('[constants]\nname = "x"\n[colums]\n', "colums: there is no such key"),
        ('[columns]\norder_id = "A"\n', "constants.name: is missing"),
        ('[constants]\nname = "x"\n"user.mail" = "y"\n', "constants.user.mail: is no field of an event"),
        ('[constants]\nname = "x"\ncurrency = "POUNDS"\n', "constants.currency: needs a three-letter"),
        ('[constants]\nname = "x"\n[columns]\nname = "A"\n', "constants.name: stands in columns too"),
        ('[constants]\nname = "x"\n[columns]\nvalue = 3\n', "columns.value: needs text"),
        ('[constants]\nname = "x"\n[columns]\nvalue = ["A", "B"]\n', "columns.value: takes one column; a template"),
        ('[constants]\nname = "x"\n[columns]\n"user.city" = []\n', "columns.user.city: needs text"),
        ('[constants]\nname = "x"\n[columns]\n"user.city" = ["A", 3]\n', "columns.user.city: needs text"),
        ('[constants]\nname = "x"\n[columns]\n"user.ip" = ["A", "B"]\n', "columns.user.ip: takes one column"),
        (
            '[constants]\nname = "x"\n"user.zip" = ["1", 2]\n',
            "constants.user.zip[1]: needs text or a digest, got int; write it in quotes",
        ),
        ('[constants]\nname = "x"\n[columns]\ntime = "A"\n', "columns.time: write a [time] table"),
        ('[constants]\nname = "x"\n[time]\nformat = "iso"\n', "time.column: is missing"),
        ('[constants]\nname = "x"\n[time]\ncolumn = "A"\ntimezone = "Mars/Base"\n', "time.timezone: is not known here"),
        (
            '[constants]\nname = "x"\n[time]\ncolumn = "A"\nzoen = "UTC"\n',
            "time.zoen: there is no such key; there are column, format, zone, timezone, empty; is zone meant?",
        ),
        (
            '[constants]\nname = "x"\n[columns]\n"user.emial" = "A"\n',
            "columns.user.emial: is no field of an event that a cell can fill; is user.email meant?",
        ),
        ('[constants]\nname = "x"\n[defaults]\nvalue = "1"\n', "defaults.value: is not in columns"),
        ('decimal = ";"\n[constants]\nname = "x"\n', "decimal: needs a single character, one of '.,'"),
        ('decimal = ","\nthousands = ","\n[constants]\nname = "x"\n', "thousands: is the same as decimal"),
        ('encoding = "klingon"\n[constants]\nname = "x"\n', "encoding: is not known"),
        ('[constants]\nname = "x"\n[time]\ncolumn = "A"\nformat = "epoch"\n', "time.format: needs one of iso"),
        ('delimiter = "tab"\n[constants]\nname = "x"\n', "delimiter: needs a single character"),
    ],
)
def test_mistakes_in_a_mapping_name_the_key(tmp_path: Path, text: str, said: str) -> None:
    """Before anything is read or sent."""
    with pytest.raises(ConfigError) as raised:
        _mapper(tmp_path, text)
    assert said in str(raised.value)


@pytest.mark.parametrize(("source", "said"), [("Ordre", "no column 'Ordre'"), ("{Order", "a brace is missing")])
def test_a_column_that_the_file_lacks_is_a_mistake(run: Run, tmp_path: Path, source: str, said: str) -> None:
    """Told with the columns that there are; exit code 2."""
    (tmp_path / "orders.csv").write_text("Order\n1\n")
    (tmp_path / "map.toml").write_text(f'[constants]\nname = "purchase"\n[columns]\norder_id = "{source}"\n')
    ran = run("send", tmp_path / "orders.csv", "--mapping", tmp_path / "map.toml", "--sandbox")
    assert ran.code == 2
    assert f"columns.order_id: {said}" in ran.err.replace(f"{tmp_path / 'orders.csv'} has ", "")


def test_csv_is_delivered_from_a_file_and_from_stdin(run: Run, tmp_path: Path) -> None:
    """The form is told by the file's name, or by --format."""
    (tmp_path / "map.toml").write_text(
        '[constants]\nname = "purchase"\ncurrency = "GBP"\n"page.url" = "https://shop.example/"\n'
        '[columns]\norder_id = "Order"\nvalue = "Total"\n"user.email" = "Mail"\n'
    )
    content = b"Order,Total,Mail\n" + b"".join(b"%d,2.50,a%d@mail.example\n" % (n, n) for n in range(1_200))
    (tmp_path / "orders.csv.gz").write_bytes(gzip.compress(content))
    options = ("--mapping", tmp_path / "map.toml", "--sandbox", "--to", "snap", "--json")
    for ran in (
        run("send", tmp_path / "orders.csv.gz", *options),
        run("send", "-", "--format", "csv", *options, stdin=content),
    ):
        assert ran.code == 0, ran.err
        assert ran.json["destinations"]["snap"]["delivered"] == 1_200


def test_the_examples_of_mapping_files_are_right(tmp_path: Path) -> None:
    """The one in the help, and the one beside the data."""
    assert _mapper(tmp_path, EXAMPLE).columns["order_id"] == ["InvoiceNo"]
    mapper = Mapper.load(EXAMPLES / "data" / "retail-lines.toml")
    source = open_source(str(EXAMPLES / "data" / "online-retail-2011-10.csv.gz"), "auto")
    first = next(pieces := read(source, mapper))[0]
    pieces.close()
    assert isinstance(first, Good)
    assert (first.event.event_id, first.event.user.country) == ("571933-2", "United Kingdom")
