"""Files as people have them: quotes out of place, other encodings, arrays, order lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.cli.mapping import Mapper
from capi_async.cli.quoting import rows
from capi_async.cli.readers import Good, Note, Problem, Read, open_source, read
from capi_async.errors import ConfigError
from tests.cli.conftest import Run, jsonl, purchase

MAP = """
[constants]
name = "purchase"
currency = "EUR"
"page.url" = "https://shop.example/thanks"
[columns]
order_id = "Order"
value = "Total"
"user.email" = "Email"
"""
LINES = MAP + '"items.id" = "Sku"\n"items.quantity" = "Count"\n"items.price" = "Price"\n'


def _read(tmp_path: Path, content: str | bytes, mapping: str = MAP, *, group_by: str = "") -> list[Read]:
    path = tmp_path / "orders.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    pieces = read(open_source(str(path), "auto"), Mapper.of(mapping, "map.toml"), group_by=group_by)
    return [one for piece in pieces for one in piece]


def _goods(found: list[Read]) -> list[Good]:
    return [one for one in found if isinstance(one, Good)]


def _problems(found: list[Read]) -> list[Problem]:
    return [one for one in found if isinstance(one, Problem)]


def _texts(found: list[Read]) -> list[str]:
    return [str(one).partition(": ")[2] for one in found if isinstance(one, Note)]


@pytest.mark.parametrize(
    ("bad", "more"),
    [
        ('1,1.00,a@x.example,"Monitor 27""', 3),  # a stray quote at the end swallows up to the next one
        ('1,1.00,a@x.example,"Monitor 27"" wide"x', 3),
        ('1,1.00,"a@x.example,Monitor', 3),  # opened, never closed
        ('1,1.00,a@x.example,"never closed', 300),
        ('1,1.00,a@x.example,"""', 3),
        ('1,1.00,a@x.example,"a"b', 3),
    ],
)
def test_a_stray_quote_costs_its_own_row_only(tmp_path: Path, bad: str, more: int) -> None:
    """Said with file and line; the rows after it are read, each with its own values."""
    good = "".join(f'{n},{n}.00,u{n}@x.example,"Lamp {n}"\n' for n in range(2, more + 2))
    found = _read(tmp_path, f"Order,Total,Email,Product\n{bad}\n{good}")
    assert [(one.line, "is not CSV" in one.reason) for one in _problems(found)] == [(2, True)]
    assert [(one.line, one.event.order_id, one.event.user.email) for one in _goods(found)] == [
        (n + 1, str(n), f"u{n}@x.example") for n in range(2, more + 2)
    ]


def test_two_stray_quotes_do_not_make_one_row_of_two(tmp_path: Path) -> None:
    """The cell between them is well-formed, and holds the end of one row and the beginning of the next."""
    found = _read(tmp_path, 'Order,Product,Total,Email\n1,"27"",1.00,a@x.example\n2,9",2.00,b@x.example\n')
    assert [one.line for one in _problems(found)] == [2]
    assert [(one.event.order_id, one.event.user.email) for one in _goods(found)] == [("2", "b@x.example")]


def test_a_cell_over_several_lines_is_read(tmp_path: Path) -> None:
    """With commas in it, too."""
    found = _read(tmp_path, 'Order,Total,Email,Note\n1,1.00,a@x.example,"Hello, please,\nthanks, and, bye"\n')
    assert [one.line for one in _goods(found)] == [2]


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8), min_size=3, max_size=3
        ),
        min_size=1,
        max_size=8,
    )
)
def test_what_a_csv_writer_writes_is_read_back(table: list[list[str]]) -> None:
    """Any text, unless it looks like whole rows inside a cell."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *table])
    text.seek(0)
    found = list(rows(text.readline, ","))
    if not any(cell.count(",") >= 2 for row in table for cell in row if "\n" in cell):
        assert [list(row.cells) for row in found[1:]] == table
    assert all(row.fault or len(row.cells) == 3 for row in found)


@given(st.text(st.sampled_from('ab",;\n '), max_size=60))
def test_any_text_is_rows_or_faults_with_rising_lines(content: str) -> None:
    """It always ends, and no line is read twice."""
    found = list(rows(io.StringIO(content, newline="").readline, ","))
    lines = [row.line for row in found]
    assert lines == sorted(set(lines))


def test_what_a_header_or_a_row_lacks_is_said(tmp_path: Path) -> None:
    """Two columns of one name, a repeated header, rows without a value, too many cells."""
    with pytest.raises(ConfigError, match=r"user\.email: .* has 2 columns that are called 'Email'"):
        _read(tmp_path, "Order,Total,Email,Email\n1,1.00,a@x.example,\n")
    with pytest.raises(ConfigError, match=r"no column 'Email'; .*is E-Mail meant\?"):
        _read(tmp_path, "Order,Total,E-Mail\n")
    found = _read(
        tmp_path, "Order,Total,Email\n1,1.00,a@x.example\nOrder,Total,Email\n,,\n  , ,\n2,2.00,b@x.example,x\n"
    )
    assert len(_goods(found)) == 1
    assert [(one.line, one.reason) for one in _problems(found)] == [(6, "has 4 cells instead of 3")]
    assert _texts(found) == [
        "note: the header stands here once more; the row is left out",
        "note: 2 rows without a value are left out, this being the first",
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found_out_and_said(tmp_path: Path, delimiter: str) -> None:
    """By the columns that the mapping names; stated, it is taken as it is."""
    content = "Order,Total,Email\n1,72.39,a@x.example\n".replace(",", delimiter)
    found = _read(tmp_path, content)
    assert _goods(found)[0].event.value == Decimal("72.39")
    assert "separated by" in _texts(found)[0]
    assert not _texts(_read(tmp_path, content, f"delimiter = {json.dumps(delimiter)}\n{MAP}"))


def test_numbers_are_read_by_the_mapping_or_refused(tmp_path: Path) -> None:
    """What was taken without being stated is said once."""
    content = 'Order,Total,Email\n1,"72,39",a@x.example\n2,1.234,b@x.example\n'
    found = _read(tmp_path, content)
    assert [one.event.value for one in _goods(found)] == [Decimal("72.39")]
    assert [(one.line, one.field) for one in _problems(found)] == [(3, "value")]
    assert ["amounts with separators are read by their form" in text for text in _texts(found)] == [True]
    assert [one.event.value for one in _goods(_read(tmp_path, content, 'decimal = ","\n' + MAP))] == [
        Decimal("72.39"),
        Decimal(1234),
    ]


def test_defaults_and_blanks(tmp_path: Path) -> None:
    """A default stands for an empty cell; blanks are kept if asked."""
    mapping = MAP.replace("[columns]", '[columns]\ncontent_name = "Product"') + '[defaults]\ncontent_name = "unknown"\n'
    content = "Order,Total,Email,Product\n1,1.00,a@x.example,\n2,2.00,b@x.example, Lamp \n"
    assert [one.event.content_name for one in _goods(_read(tmp_path, content, mapping))] == ["unknown", "Lamp"]
    kept = _goods(_read(tmp_path, content, "trim = false\n" + mapping))
    assert [(one.event.content_name, one.event.value) for one in kept] == [("unknown", 1), (" Lamp ", 2)]


def test_other_encodings_are_named_or_read(run: Run, tmp_path: Path) -> None:
    """UTF-16 in CSV, JSON and TOML; with ``encoding`` a CSV is read."""
    content = "Order,Total,Email,City\n1,1.00,a@x.example,Zürich\n"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(ConfigError, match=r"is UTF-(16|32) text"):
            _read(tmp_path, content.encode(encoding))
    for encoding in ("utf-16", "cp1252"):
        mapping = f'encoding = "{encoding}"\n{MAP}"user.city" = "City"\n'
        assert _goods(_read(tmp_path, content.encode(encoding), mapping))[0].event.user.city == "Zürich"
    bad = _read(tmp_path, content.encode("cp1252"), MAP + '"user.city" = "City"\n')
    assert "say another encoding" in _problems(bad)[0].reason
    assert _goods(_read(tmp_path, b"\xef\xbb\xbf" * 2 + content.encode()))
    for name, data in {"map.toml": MAP, "e.jsonl": jsonl(purchase(1)).decode()}.items():
        (tmp_path / name).write_bytes(data.encode("utf-16"))
    ran = run("send", tmp_path / "orders.csv", "--mapping", tmp_path / "map.toml", "--sandbox")
    assert (ran.code, "map.toml: is UTF-16 text" in ran.err) == (2, True)
    ran = run("send", tmp_path / "e.jsonl", "--sandbox")
    assert (ran.code, "e.jsonl: is UTF-16 text; save it as UTF-8" in ran.err) == (2, True)


BOM = b"\xef\xbb\xbf"
ONE, TWO = purchase(1), purchase(2)


@pytest.mark.parametrize(
    "content",
    [
        jsonl(ONE, TWO),
        BOM + jsonl(ONE, TWO),
        json.dumps([ONE, TWO]).encode(),
        BOM + json.dumps([ONE, TWO], indent=1).encode(),
        b"[\n" + json.dumps(ONE).encode() + b",\n" + json.dumps(TWO).encode() + b"\n]\n",
        json.dumps(ONE).encode() + b",\n" + json.dumps(TWO).encode() + b"\n",
        json.dumps(ONE, indent=2).encode() + b"\n" + json.dumps(TWO, indent=2).encode(),
        json.dumps(ONE, indent=2).encode() + b",\r\n\r\n" + json.dumps(TWO, indent=2).encode(),
    ],
    # by name: the events hold the time, and the processes of a parallel run must find the same tests
    ids=[
        "lines",
        "lines-bom",
        "array",
        "array-bom-indented",
        "array-by-lines",
        "commas",
        "indented",
        "indented-commas",
    ],
)
def test_events_are_read_however_the_json_is_laid_out(tmp_path: Path, content: bytes) -> None:
    """One a line, an array, with commas, over several lines, with a byte order mark."""
    path = tmp_path / "events.json"
    path.write_bytes(content)
    found = [one for piece in read(open_source(str(path), "auto"), None) for one in piece]
    assert [one.event.order_id for one in found if isinstance(one, Good)] == ["order-1", "order-2"]
    assert len(found) == 2
    assert found[0].line <= 2


@pytest.mark.parametrize("cut", [b"[", b'{"name": "lead",\n "user": '])
def test_a_document_that_is_cut_off_is_refused_whole(run: Run, cut: bytes) -> None:
    """Nothing of it is sent, so that nothing is sent twice once it is mended; exit code 2."""
    whole = json.dumps([ONE, TWO], indent=1).encode()
    content = whole[:-3] if cut == b"[" else json.dumps(ONE, indent=1).encode() + b"\n" + cut
    ran = run("send", "-", "--sandbox", "--to", "snap", stdin=content)
    assert ran.code == 2
    assert "is not JSON" in ran.err
    assert "nothing of it was read" in ran.err
    assert "secret.person" not in ran.err


def test_a_bad_element_of_an_array_is_named_by_its_line(run: Run) -> None:
    """The others are sent."""
    bad: dict[str, Any] = {**purchase(3), "currency": 7}
    ran = run("send", "-", "--sandbox", "--to", "snap", "--json", stdin=json.dumps([ONE, bad, TWO], indent=0).encode())
    assert ran.json["destinations"]["snap"]["delivered"] == 2
    (problem,) = ran.json["problems"]
    assert problem["field"] == "currency"
    assert problem["line"] > 10


def test_a_first_line_that_is_cut_off_costs_itself(run: Run) -> None:
    """It is not taken for the beginning of a document."""
    content = json.dumps(ONE).encode()[:40] + b"\n" + jsonl(TWO)
    ran = run("send", "-", "--sandbox", "--to", "snap", "--json", stdin=content)
    assert ran.json["destinations"]["snap"]["delivered"] == 1
    assert [one["line"] for one in ran.json["problems"]] == [1]


def test_rows_that_share_an_id_are_warned_of(run: Run, tmp_path: Path) -> None:
    """With a count and the first two lines; true repeats are not."""
    (tmp_path / "map.toml").write_text(MAP)
    file = tmp_path / "orders.csv"
    file.write_text("Order,Total,Email\n" + "".join(f"1001,{n}.00,a@x.example\n" for n in (30, 40, 20)))
    ran = run("send", file, "--mapping", tmp_path / "map.toml", "--sandbox", "--to", "snap")
    assert "2 rows repeat the event id of an earlier one with other content (first: lines 2 and 3)" in ran.err
    assert "--group-lines order_id" in ran.err
    file.write_text("Order,Total,Email\n" + "".join(f"2.00012E+11,30.00,u{n}@x.example\n" for n in range(3)))
    assert (
        "rounded by a spreadsheet"
        in run("send", file, "--mapping", tmp_path / "map.toml", "--dry-run", "--sandbox").err
    )
    file.write_text("Order,Total,Email\n" + "1001,30.00,a@x.example\n" * 2)
    assert "repeat" not in run("send", file, "--mapping", tmp_path / "map.toml", "--sandbox", "--to", "snap").err


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (["1,90.00,a@x.example,A,2,30.00", "1,,,B,1,30.00"], "90.00"),  # only the first row has the total
        (["1,60.00,a@x.example,A,2,30.00", "1,30.00,,B,1,30.00"], "90.00"),  # each row has its own
        (["1,90.00,a@x.example,A,2,30.00", "1,90.00,,B,1,30.00"], "90.00"),  # every row has the total
        (["1,30.00,a@x.example,A,1,30.00", "1,30.00,,B,1,30.00"], "60.00"),  # equal rows
    ],
)
def test_order_lines_become_one_purchase(tmp_path: Path, lines: list[str], value: str) -> None:
    """With all items, and the value of the order."""
    rows_ = [*lines, "2,5.00,b@x.example,C,1,5.00"]
    found = _read(tmp_path, "Order,Total,Email,Sku,Count,Price\n" + "\n".join(rows_), LINES, group_by="order_id")
    first, second = _goods(found)
    assert (first.event.value, first.event.user.email, first.line) == (Decimal(value), "a@x.example", 2)
    assert [(item.id, item.quantity) for item in first.event.items][1] == ("B", 1)
    assert (second.event.order_id, len(second.event.items)) == ("2", 1)


def test_an_order_that_is_not_whole_is_not_sent(tmp_path: Path) -> None:
    """A bad row spoils its order; one whose value is open to doubt is refused."""
    header = "Order,Total,Email,Sku,Count,Price\n"
    found = _read(
        tmp_path,
        header + "1,3.00,a@x.example,A,1,1.00\n1,,,B,none,2.00\n2,5.00,b@x.example,C,1,5.00\n",
        LINES,
        group_by="order_id",
    )
    assert [one.event.order_id for one in _goods(found)] == ["2"]
    assert [one.line for one in _problems(found)] == [3, 2]
    doubt = _read(
        tmp_path, header + "1,3.00,a@x.example,A,1,\n1,3.00,,B,1,\n,1.00,a@x.example,A,1,\n", LINES, group_by="order_id"
    )
    assert sorted((one.line, one.field) for one in _problems(doubt)) == [(2, ""), (4, "order_id")]
    with pytest.raises(ConfigError, match=r"--group-lines: user\.zip is not in the mapping's columns"):
        _read(tmp_path, header, LINES, group_by="user.zip")


def test_a_file_of_which_nothing_is_sent_says_why_and_ends_with_1(run: Run, tmp_path: Path) -> None:
    """What explain knows of the identifiers stands below the table."""
    (tmp_path / "map.toml").write_text(MAP)
    file = tmp_path / "orders.csv"
    file.write_text("Order,Total,Email\n" + "".join(f"{n},10.00,{n} at mail\n" for n in range(4)))
    for options in ((), ("--dry-run",)):
        ran = run("send", file, "--mapping", tmp_path / "map.toml", "--sandbox", "--to", "meta", *options)
        assert ran.code == 1
        assert "meta: skipped: user: " in ran.out
        assert "not read: email: not an e-mail address" in ran.out
        assert "(4 events)" in ran.out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.csv", b"", "there is nothing in it"),
        ("e.csv", b"\xef\xbb\xbf", "there is nothing in it"),
        ("e.csv", b"\n \n\t\r\n", "there is nothing but blanks in it"),
        ("e.csv", b"Order,Total,Email\n", "there is no row below the header"),
        ("e.csv", b"\n\nOrder,Total,Email\n\n", "there is no row below the header"),
        ("e.csv", b"Order,Total,Email\n,,\n", "a row without a value is left out"),
        ("e.jsonl", b"", "there is nothing in it"),
        ("e.jsonl", b"\xef\xbb\xbf", "there is nothing in it"),
        ("e.jsonl", b"\n \n\t\n", "there is nothing but blanks in it"),
        ("e.jsonl.gz", gzip.compress(b"", mtime=0), "there is nothing in it"),
        ("e.json", b" [\n]\n", "its array is empty"),
    ],
)
def test_a_file_without_an_event_says_so_and_ends_with_1(
    run: Run, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    """Whoever writes the file may have failed; nobody should have to guess that from a table of zeros."""
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / name).write_bytes(content)
    options = ("--mapping", tmp_path / "map.toml", "--sandbox", "--to", "meta")
    for more, ended in (((), "no event was delivered"), (("--dry-run",), "0 events read")):
        ran = run("send", tmp_path / name, *options, *more)
        assert ran.code == 1
        assert f"note: {said}" in ran.err
        assert ended in ran.out
    ran = run("explain", tmp_path / name, *options)
    assert (ran.code, "there is no event in it" in ran.err) == (2, True)


def test_an_empty_file_beside_another_is_only_said(run: Run, tmp_path: Path) -> None:
    """What was to be sent has been."""
    (tmp_path / "none.jsonl").write_bytes(b"")
    (tmp_path / "one.jsonl").write_bytes(jsonl(ONE))
    ran = run("send", tmp_path / "none.jsonl", tmp_path / "one.jsonl", "--sandbox", "--to", "snap")
    assert (ran.code, "none.jsonl:1: note: there is nothing in it" in ran.err) == (0, True)


def test_a_header_may_stand_below_blank_lines(tmp_path: Path) -> None:
    """And lines are counted from the first one."""
    found = _read(tmp_path, "\n  \n\ufeffOrder,Total,Email\n1,1.00,a@x.example\n2,1.00\n")
    assert [one.line for one in _goods(found)] == [4]
    assert [one.line for one in _problems(found)] == [5]


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(
    ("size", "said"), [(10_000_000, "has a cell of more than 131,072 characters"), (17_000_000, "16 MB")]
)
def test_a_huge_cell_costs_its_row_and_is_called_so(tmp_path: Path, size: int, said: str, quote: str) -> None:
    """Not a quote that is out of place; and the rows after it keep their numbers."""
    found = _read(tmp_path, f"Order,Total,Email\n1,1.00,{quote}{'x' * size}{quote}\n2,2.00,b@x.example\n")
    [problem] = _problems(found)
    assert (problem.line, said in problem.reason) == (2, True)
    assert [one.line for one in _goods(found)] == [3]


def test_a_huge_header_is_refused_in_a_line(tmp_path: Path) -> None:
    """A file without line ends is no reason to repeat it."""
    with pytest.raises(ConfigError, match=r"its header is longer than 16 MB; are the line ends missing\?"):
        _read(tmp_path, "x," * 9_000_000)


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [("cp1252", b"\x81"), ("utf-16-le", b"\x00\xd8x\x00"), ("ascii", b"\xff"), ("", b"\xed\xa0\x80")],
)
def test_bytes_that_are_no_text_cost_their_row(tmp_path: Path, encoding: str, bad: bytes) -> None:
    """In every encoding, instead of another character in somebody's name."""
    head, tail = (
        text.encode(encoding or "utf-8")
        for text in ("Order,Total,Email\n1,1.00,a@x.example\n2,2.00,", "\n3,3.00,b@x.example\n")
    )
    found = _read(tmp_path, head + bad + tail, (f'encoding = "{encoding}"\n' if encoding else "") + MAP)
    assert [(one.line, one.reason) for one in _problems(found)] == [
        (3, f"column 'Email' is not {encoding or 'UTF-8'} text; say another encoding in the mapping, or save as UTF-8")
    ]
    assert [one.line for one in _goods(found)] == [2, 4]


@pytest.mark.parametrize(
    "bad",
    [
        '{"name": "lead", "user": {"first_name": "\\ud83d"}}',
        '{"name": "lead\\udc00"}',
        '{"name": "lead", "properties": {"\\ud83d": 1}}',
        '{"name": "lead", "properties": {"a": ["\\ud83dx"]}}',
    ],
)
def test_half_of_a_character_is_called_so(run: Run, bad: str) -> None:
    """The line is named, and the others are sent."""
    ran = run("send", "-", "--sandbox", "--to", "snap", "--json", stdin=jsonl(purchase(1), bad, purchase(2)))
    assert "-:2: holds half of a character" in ran.err
    assert (ran.json["events"], ran.json["bad_lines"]) == (2, 1)


def test_a_dry_run_sends_nothing_and_says_what_would_become_of_each(run: Run, tmp_path: Path) -> None:
    """Counts per destination, as JSON too."""
    nobody = {key: value for key, value in purchase(2).items() if key != "user"}
    (tmp_path / "e.jsonl").write_bytes(jsonl(ONE, nobody, "oops", purchase(3, to=["elsewhere"])))
    ran = run("send", tmp_path / "e.jsonl", "--sandbox", "--to", "snap", "--dry-run", "--json")
    assert ran.code == 1
    snap = ran.json["destinations"]["snap"]
    assert (snap["would_be_sent"], snap["skipped"], ran.json["bad_lines"]) == (1, 1, 2)
    shown = run("send", tmp_path / "e.jsonl", "--sandbox", "--to", "snap", "--dry-run").out
    assert "nothing was sent" in shown
    assert max(map(len, shown.splitlines()[:2])) <= 80


def test_explain_takes_a_mapping(run: Run, tmp_path: Path) -> None:
    """A row of a CSV is told by its line."""
    (tmp_path / "map.toml").write_bytes(BOM + MAP.encode())
    (tmp_path / "orders.csv").write_text("Order,Total,Email\n1,1.00,a@x.example\n2,2.00,b@x.example\n")
    ran = run("explain", tmp_path / "orders.csv", "--mapping", tmp_path / "map.toml", "--line", 3, "--sandbox")
    assert ran.out.startswith("purchase, event id purchase:2,")
    ran = run("explain", tmp_path / "orders.csv", "--mapping", tmp_path / "map.toml", "--sandbox")
    assert (ran.code, "choose one by --line" in ran.err) == (2, True)


def test_a_first_mapping_is_written_from_the_header(run: Run, tmp_path: Path) -> None:
    """It reads the file, shows rows without personal values, and overwrites nothing."""
    file, made = tmp_path / "orders.csv", tmp_path / "made.toml"
    time = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%d %H:%M}"
    file.write_text(
        'Order ID;Created at;Total;Currency;Email;First Name;Lineitem sku;Lineitem quantity;"odd ""one"""\n'
        f"77;{time};19,90;EUR;anna@mail.example;Anna;SKU-1;2;x\n"
    )
    ran = run("mapping", file, "--output", made)
    assert ran.code == 0, ran.err
    assert f"line 2: purchase, time {time.replace(' ', 'T')}:00+00:00, value 19.90, currency EUR" in ran.err
    assert "item SKU-1 x 2" in ran.err
    assert "identifiers: email, first_name" in ran.err
    assert "anna" not in (ran.err + ran.out).lower()
    text = made.read_text()
    assert '"user.email" = "Email"' in text
    assert '# not used: "odd \\"one\\""' in text
    assert run("mapping", file, "--output", made).code == 2
    assert run("mapping", file).out == text
    made.write_text(text.replace('# "page.url"', '"page.url"'))
    ran = run("send", file, "--mapping", made, "--dry-run", "--sandbox", "--to", "snap", "--json")
    assert ran.json["destinations"]["snap"]["would_be_sent"] == 1


def test_explain_in_a_terminal_that_is_not_utf_8(tmp_path: Path) -> None:
    """Letters that it lacks are escaped; ``python -m capi_async`` is the command."""
    (tmp_path / "e.json").write_text(json.dumps(purchase(1, content_name="Größe"), ensure_ascii=False), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "capi_async", "explain", tmp_path / "e.json", "--sandbox", "--to", "meta"],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        timeout=60,
        check=True,
    )
    assert b"Gr\\xf6\\xdfe" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n', "\ufeffsep=;\n", "\nsep=;\n\n"])
def test_the_line_that_tells_excel_the_separator_is_no_header(tmp_path: Path, first: str) -> None:
    """It is obeyed; lines are counted as they stand in the file."""
    found = _read(tmp_path, f"{first}Order;Total;Email\n1;72.39;a@x.example\n2;odd;b@x.example\n")
    assert [one.event.order_id for one in _goods(found)] == ["1"]
    assert [(one.line, one.field) for one in _problems(found)] == [(first.count("\n") + 3, "value")]
    assert not _texts(found)


def test_a_cell_that_is_a_formula_of_a_text_is_that_text(tmp_path: Path) -> None:
    """So exports keep leading zeros in Excel."""
    found = _read(tmp_path, 'Order,Total,Email\n"=""007""",12,"= ""a@x.example"""\n=1,12,b@x.example\n')
    assert [(one.event.order_id, one.event.user.email) for one in _goods(found)] == [
        ("007", "a@x.example"),
        ("=1", "b@x.example"),
    ]


@pytest.mark.parametrize("content", ["sep=;\n{}\n", "\n\n{}\n", "{}\r", "\ufeff{}\r\n"])
def test_a_first_mapping_is_written_of_any_dialect(run: Run, tmp_path: Path, content: str) -> None:
    """A line for Excel, blank lines, line ends of old programs, a byte order mark; a column names the events."""
    rows = "Event;Order;Total;ScCid\npurchase;1;72,39;x-1".replace("\n", "\r\n" if "\r" in content else "\n")
    (tmp_path / "old.csv").write_bytes(content.replace("{}", rows).encode())
    ran = run("mapping", tmp_path / "old.csv")
    assert ran.code == 0, ran.err
    for line in ('name = "Event"', 'order_id = "Order"', '"click.sc_click_id" = "ScCid"', 'delimiter = ";"'):
        assert line in ran.out
    assert 'name = "purchase"' not in ran.out
