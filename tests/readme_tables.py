"""Writes the generated tables of the READMEs: ``python -m tests.readme_tables``. A test keeps them true."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from capi_async.destinations import destination_class, destination_types
from capi_async.pii.identifiers import IDENTIFIER_SOURCES
from capi_async.sources.tiktok_shop.endpoints import OPERATIONS
from capi_async.spec import Destination
from capi_async.telemetry.prometheus import METRICS
from capi_async.telemetry.reasons import HELD_REASONS, REASONS

TESTS = Path(__file__).parent
README = TESTS.parent / "README.md"
DESTINATIONS_README = TESTS.parent / "capi_async" / "destinations" / "README.md"
SHOP_README = TESTS.parent / "capi_async" / "sources" / "tiktok_shop" / "README.md"
TELEMETRY_README = TESTS.parent / "capi_async" / "telemetry" / "README.md"

#: Identifier attributes whose text travels as it is; all others are SHA-256 digests.
_CLEAR = re.compile(r".*_(clear|letters|soundex)$|^(idfv|ip|user_agent|zip_google|page_url|page_referrer)$")


#: Which of two destinations for one platform to take.
_WHICH = {
    "snap": "the current API; take this one",
    "snap_v2": "only for what still speaks v2 (test, logs, stats, Launchpad)",
    "tiktok": "Events API 2.0; take this one",
    "tiktok_pixel": "only for pixels that still use the older API",
}


def destinations() -> str:
    """One row per destination: settings, limits, and which of two to take."""
    rows = [
        "| type | class | environment | events / request | requests / s | oldest event | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in destination_types():
        kind = destination_class(name)
        limits = kind.limits
        required = [names[0] for field, names in kind.env.items() if field in _required(kind) and names]
        rate = f"{limits.requests_per_s:.1f}".removesuffix(".0")
        rows.append(
            f"| `{name}` | `{kind.__name__}` | {', '.join(f'`{one}`' for one in required)} | "
            f"{limits.max_batch_events:,} | {rate} | {limits.max_age_s / 86_400:.0f} d | {_WHICH.get(name, '')} |"
        )
    return "\n".join(rows)


def hashed() -> str:
    """What leaves as a SHA-256 digest."""
    rows = ["| type | hashed |", "|---|---|"]
    for name in destination_types():
        kind = destination_class(name)
        fields = sorted({IDENTIFIER_SOURCES[one] for one in kind.identifiers if not _CLEAR.match(one)})
        rows.append(f"| `{name}` | {', '.join(fields) or '–'} |")
    return "\n".join(rows)


def clear() -> str:
    """What travels, and may wait on disk, in clear, because the platform wants it so."""
    rows = ["| type | in clear |", "|---|---|"]
    for name in destination_types():
        kind = destination_class(name)
        fields = sorted({IDENTIFIER_SOURCES[one] for one in kind.identifiers if _CLEAR.match(one)})
        rows.append(f"| `{name}` | {', '.join(fields) or '–'} |")
    return "\n".join(rows)


def shop_operations() -> str:
    """One row per operation of a TikTok Shop: what is called, by whose contract, and the test that exercises it."""
    text = (TESTS / "sources" / "test_shop_operations.py").read_text("utf-8")
    tests = re.findall(r"^async def (test_\w+)", text, re.MULTILINE)
    rows = ["| operation | calls | contract | exercised by |", "|---|---|---|---|"]
    for operation in OPERATIONS:
        calls = "<br>".join(f"`{call.method} {call.path}`" for call in operation.calls)
        exact = [test for test in tests if test == f"test_{operation.name}"]
        test = (exact or [test for test in tests if re.search(rf"_{operation.name}(_|$)", test)])[0]
        rows.append(f"| `{operation.name}` | {calls} | {operation.state} | `{test}` |")
    return "\n".join(rows)


def _required(kind: type[Destination]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind) if field.required}


#: Page to its generated blocks.
def reasons() -> str:
    """Codes of outcomes."""
    rows = ["| outcome | reason | what it means |", "|---|---|---|"]
    rows += [f"| {kind} | `{code}` | {about} |" for kind, codes in REASONS.items() for code, about in codes.items()]
    return "\n".join(rows)


def held() -> str:
    """Codes of states."""
    rows = ["| reason | what it means |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{code}` | {about} |" for code, about in HELD_REASONS.items())])


def metrics() -> str:
    """What a scrape tells."""
    rows = ["| metric | type | what it is [labels] |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {kind} | {about} |" for name, (kind, about) in METRICS.items())])


TABLES = {
    README: {"destinations": destinations},
    DESTINATIONS_README: {"hashed": hashed, "clear": clear},
    SHOP_README: {"shop_operations": shop_operations},
    TELEMETRY_README: {"reasons": reasons, "held": held, "metrics": metrics},
}


def filled(page: Path) -> str:
    """A page with every generated block made anew."""
    text = page.read_text("utf-8")
    for name, make in TABLES[page].items():
        pattern = rf"(<!-- {name}: generated -->\n).*?(<!-- /{name} -->)"
        block = f"{make()}\n"
        text, count = re.subn(pattern, lambda match, block=block: match[1] + block + match[2], text, flags=re.DOTALL)
        assert count == 1, f"{page} has no block {name!r}"
    return text


if __name__ == "__main__":
    for page in TABLES:
        page.write_text(filled(page), "utf-8")
