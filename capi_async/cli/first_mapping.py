"""``capi-async mapping``: a first mapping file out of a CSV's header, to be looked over by a person."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from capi_async.cli.csv_input import declared_delimiter
from capi_async.cli.encodings import require_utf8, text_of
from capi_async.cli.lines import Good, Read
from capi_async.cli.mapping import Mapper
from capi_async.cli.quoting import DELIMITERS
from capi_async.cli.readers import open_source, read
from capi_async.cli.running import plainly, say
from capi_async.cli.terminal import write
from capi_async.errors import ConfigError
from capi_async.event import Event

_ROWS_SHOWN: Final = 3
_MAX_HEADER_BYTES: Final = 1024 * 1024

#: Names of columns as shops and spreadsheets write them, in small letters and digits only, the likelier ones first.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("eventname", "event", "eventtype"),
    "order_id": ("orderid", "ordernumber", "orderno", "order", "invoiceno", "invoiceid", "transactionid",
                 "bestellnummer"),
    "value": ("total", "ordertotal", "grandtotal", "amount", "revenue", "value", "totalprice", "betrag", "summe"),
    "currency": ("currency", "currencycode", "waehrung", "währung"),
    "user.email": ("email", "emailaddress", "mail", "customeremail", "billingemail", "contactemail"),
    "user.phone": ("phone", "phonenumber", "telephone", "mobile", "billingphone", "telefon", "handy"),
    "user.external_id": ("customerid", "userid", "externalid", "clientid", "kundennummer"),
    "user.first_name": ("firstname", "givenname", "billingfirstname", "vorname"),
    "user.last_name": ("lastname", "surname", "familyname", "billinglastname", "nachname"),
    "user.city": ("city", "town", "billingcity", "stadt", "ort"),
    "user.state": ("state", "province", "region", "billingstate", "bundesland"),
    "user.zip": ("zip", "zipcode", "postcode", "postalcode", "billingzip", "plz"),
    "user.country": ("country", "countrycode", "billingcountry", "land"),
    "user.ip": ("ip", "ipaddress", "clientip", "browserip"),
    "user.user_agent": ("useragent",),
    "items.id": ("sku", "stockcode", "productid", "itemid", "lineitemsku", "articlenumber", "artikelnummer"),
    "items.name": ("productname", "itemname", "lineitemname", "product", "description", "artikel"),
    "items.quantity": ("quantity", "qty", "lineitemquantity", "menge", "anzahl"),
    "items.price": ("unitprice", "price", "lineitemprice", "itemprice", "einzelpreis", "preis"),
    "page.url": ("url", "pageurl", "landingpage"),
    "click.fbclid": ("fbclid",),
    "click.fbc": ("fbc",),
    "click.fbp": ("fbp",),
    "click.ttclid": ("ttclid",),
    "click.epik": ("epik",),
    "click.sc_click_id": ("scclickid", "sccid"),
    "click.gclid": ("gclid",),
    "click.rdt_cid": ("rdtcid",),
    "click.li_fat_id": ("lifatid",),
    "event_id": ("eventid",),
}  # fmt: skip
_TIMES: Final = (
    "time", "timestamp", "date", "orderdate", "createdat", "created", "paidat", "invoicedate", "datetime", "datum",
)  # fmt: skip


@plainly
def mapping(
    file: Annotated[str, typer.Argument(help="A CSV file, gzipped or not.", metavar="FILE")],
    output: Annotated[
        Path | None, typer.Option(help="Write the mapping here instead of to the terminal.", metavar="FILE")
    ] = None,
    name: Annotated[str, typer.Option(help="The events' name.", metavar="NAME")] = "purchase",
) -> None:
    """Write a first mapping for a CSV file, from the names of its columns.

    Look it over: columns are told by their names only. Then three rows are shown as events, with personal values left
    out; try the whole file with 'capi-async send FILE --mapping MAPPING --dry-run'.
    """
    header, delimiter = _header(file)
    text = _written(header, delimiter, name)
    if output is None:
        for line in text.removesuffix("\n").split("\n"):
            write(line)
    else:
        try:
            with output.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except FileExistsError:
            raise ConfigError(f"{output}: is there already; give another name") from None
        except OSError as error:
            raise ConfigError(f"{output}: cannot be written ({error.strerror or type(error).__name__})") from None
        say(f"capi-async: {output} is written; look it over")
    with closing(read(open_source(file, "csv"), Mapper.of(text, str(output or "the mapping")))) as pieces:
        for shown in _shown(one for piece in pieces for one in piece):
            say(shown)


def _header(file: str) -> tuple[list[str], str]:
    source = open_source(file, "csv")
    try:
        # old programs end lines with a carriage return alone: one long line is then the whole file
        start = source.stream.read(_MAX_HEADER_BYTES)
    except (OSError, EOFError) as error:
        raise ConfigError(f"{file}: cannot be read ({type(error).__name__})") from None
    finally:
        source.close()
    require_utf8(start[:8], file)
    lines = filter(bytes.strip, start.splitlines())
    line = text_of(next(lines, b""), file)
    declared = declared_delimiter(line)
    if declared:
        line = text_of(next(lines, b""), file)
    if not line.strip():
        raise ConfigError(f"{file}: has no header")
    delimiter = declared or max(DELIMITERS, key=line.count)
    try:
        header = next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        raise ConfigError(f"{file}: the header is not CSV: a quote is out of place") from None
    return [name.strip() for name in header], delimiter


def _written(header: Sequence[str], delimiter: str, name: str) -> str:
    """The text of the mapping; columns that fit nothing are named in a comment."""
    plain = [re.sub(r"[^a-z0-9äöü]", "", column.lower()) for column in header]
    taken: dict[str, str] = {}
    for field, names in _NAMES.items():
        at = next((plain.index(known) for known in names if plain.count(known) == 1), None)
        if at is not None and header[at] not in taken.values():
            taken[field] = header[at]
    time = next((header[plain.index(known)] for known in _TIMES if plain.count(known) == 1), None)
    left = [column for column in header if column and column not in taken.values() and column != time]
    lines = [
        "# A first mapping, made from the header. Look over every line.",
        *([f"delimiter = {_quoted(delimiter)}"] if delimiter != "," else []),
        '# decimal = ","                      # if amounts are written like 1.234,56',
        "",
        "[constants]",
        *([] if "name" in taken else [f"name = {_quoted(name)}"]),
        *([] if "currency" in taken else ['# currency = "EUR"']),
        *([] if "page.url" in taken else ['# "page.url" = "https://shop.example/thanks"  # web events need one']),
        "",
        "[columns]",
        *(f"{_key(field)} = {_quoted(column)}" for field, column in taken.items()),
        *(f"# not used: {_quoted(column)}" for column in left),
        "",
    ]
    if time is not None:
        lines += [
            "[time]",
            f"column = {_quoted(time)}",
            '# format = "%d.%m.%Y %H:%M"          # or iso, epoch_seconds, epoch_millis',
            'zone = "UTC"                          # of times that state no offset: is it right?',
            "",
        ]
    return "\n".join(lines)


def _key(field: str) -> str:
    return _quoted(field) if "." in field else field


def _quoted(text: str) -> str:
    """A basic string of TOML. What a terminal would obey is written as an escape, which means the same."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _shown(found: Iterator[Read]) -> Iterator[str]:
    events = 0
    for one in found:
        if not isinstance(one, Good):
            yield str(one)
            continue
        yield f"line {one.line}: {_described(one.event)}"
        events += 1
        if events == _ROWS_SHOWN:
            return


def _described(event: Event) -> str:
    """An event in a line: what is of a person is only named."""
    facts = [f"time {event.time.isoformat()}"]
    facts += [f"{name} {value}" for name in ("value", "currency", "order_id") if (value := getattr(event, name))]
    facts += [f"item {item.id} x {item.quantity}" for item in event.items]
    given = [name for name in event.user.__struct_fields__ if getattr(event.user, name)]
    facts.append(f"identifiers: {', '.join(given) or 'none, so that no platform can match it'}")
    return f"{event.name}, {', '.join(facts)}"
