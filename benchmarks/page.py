"""Writes the figures of ``results/`` into README.md, between its marks, so that nobody copies them by hand.

``python benchmarks/page.py``; what has no result file is left as it is.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from capi_async.bench import report as reporting
from capi_async.bench import scaling, web

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import budget  # noqa: E402  # the folder is no package: scripts run from anywhere

PAGE = HERE / "README.md"


def _facts(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


def bench(text: bytes) -> str:
    """The comparison."""
    found = msgspec.json.decode(text, type=reporting.Report)
    notes = "\n".join(f"- {line}" for line in reporting.notes(found)[1:])
    return (
        f"![CPU time per event of each contender](results/bench.svg)\n\n{found.date}, `{found.command}`, "
        f"{found.repeats} repeats; {_facts(found.facts)}.\n\n{reporting.markdown(found)}\n\n{notes}"
    )


def against_budget(text: bytes) -> str:
    """The comparison beside the project's targets."""
    return budget.table(msgspec.json.decode(text, type=reporting.Report), budget.web_report(HERE / "results"))


def web_applications(text: bytes) -> str:
    """Single events in web applications."""
    found = msgspec.json.decode(text, type=web.WebReport)
    notes = "\n".join(f"- {line}" for line in web.notes(found)[1:])
    return (
        f"![CPU time per event of each contender, one at a time](results/web.svg)\n\n{found.date}, `{found.command}`; "
        f"{_facts(found.facts)}.\n\n{web.markdown(found)}\n\n{notes}"
    )


def stages(text: bytes) -> str:
    """The page of stages."""
    found: dict[str, Any] = json.loads(text)
    lines = [
        f"{found['date']}, `make bench-stages`, {found['events']:,} events; {_facts(found['facts'])}.",
        "",
        "| stage | CPU us/event | range |\n|---|---|---|",
    ]
    for name, values in found["us"].items():
        lines.append(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f}-{max(values):.2f} |")
    return "\n".join(lines)


def curves(text: bytes) -> str:
    """The scaling curves."""
    found: dict[str, Any] = json.loads(text)
    points = msgspec.convert(found["points"], list[scaling.Point])
    body = "\n".join(scaling.lines(points)).rstrip()
    return f"{found['date']}, `make bench-scaling`; {_facts(found['facts'])}.\n\n```\n{body}\n```"


#: Mark in the page to the result it is made of, and how.
PARTS: dict[str, tuple[str, Callable[[bytes], str]]] = {
    "web": ("web", web_applications),
    "bench": ("bench", bench),
    "budget": ("bench", against_budget),
    "stages": ("stages", stages),
    "scaling": ("scaling", curves),
}


def main() -> None:
    """Every part whose result is there."""
    page = PAGE.read_text("utf-8")
    for name, (source, write) in PARTS.items():
        result = HERE / "results" / f"{source}.json"
        if result.exists():
            begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
            before, _, rest = page.partition(begin)
            _, _, after = rest.partition(end)
            page = f"{before}{begin}\n{write(result.read_bytes())}\n{end}{after}"
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
