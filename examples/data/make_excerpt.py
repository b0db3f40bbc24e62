"""Cuts the excerpt in this folder out of the "Online Retail" data as CSV, see README.md.

    python make_excerpt.py online-retail.csv[.gz]

The file needs the columns of the public copy named in README.md, its rows in date order. Rows are copied as they are.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from pathlib import Path

FIRST_DAY = "2011-10-20"
EVENTS = 20_500
TARGET = Path(__file__).with_name("online-retail-2011-10.csv.gz")


def is_sale(row: dict[str, str]) -> bool:
    """Whether a row sold something: no cancellation, no bookkeeping, no stock correction."""
    return row["InvoiceNo"].isdigit() and int(row["Quantity"]) > 0 and float(row["UnitPrice"]) > 0


def excerpt(lines: list[str]) -> list[str]:
    """The header and whole invoices from ``FIRST_DAY`` on, until they make ``EVENTS`` events."""
    rows = list(csv.DictReader(lines))
    if len(rows) != len(lines) - 1:
        raise SystemExit("a quoted line break: this script needs one line per row")
    last = {row["InvoiceNo"]: index for index, row in enumerate(rows)}
    start = next(index for index, row in enumerate(rows) if row["InvoiceDate"] >= FIRST_DAY)
    orders: set[str] = set()
    sales = 0
    complete_at = start
    for index in range(start, len(rows)):
        row = rows[index]
        complete_at = max(complete_at, last[row["InvoiceNo"]])
        if is_sale(row):
            orders.add(row["InvoiceNo"])
            sales += 1
        if sales + len(orders) >= EVENTS and index == complete_at:
            return [lines[0], *lines[start + 1 : index + 2]]
    raise SystemExit("the file ends too early")


def main() -> None:
    """Read the published file, write the excerpt."""
    parser = argparse.ArgumentParser(description="Cut the excerpt out of the published CSV file.")
    parser.add_argument("source", type=Path)
    source: Path = parser.parse_args().source
    raw = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    text = "".join(excerpt(raw.decode("utf-8").splitlines(keepends=True)))
    # no time stamp and no name inside: the same rows give the same bytes
    TARGET.write_bytes(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0))
    print(f"{text.count(chr(10)) - 1:,} rows, {TARGET.stat().st_size:,} bytes in {TARGET.name}")


if __name__ == "__main__":
    main()
