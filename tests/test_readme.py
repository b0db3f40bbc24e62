"""What the READMEs say is what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import capi_async
from capi_async import Client, Event, destinations
from capi_async.spec import Destination

from .readme_tables import TABLES, filled

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
#: Pages that a user reads; their links and snippets are checked.
PAGES = [README, *sorted((ROOT / "capi_async").rglob("README.md")), *sorted((ROOT / "tests").rglob("README.md"))]

#: What stands for the values that a platform gives.
FILLED = {
    "customer_id": "1234567890",
    "conversions": {"purchase": "1"},
    "pixel_id": "1000000000000001",
    "access_token": "token",
    "ad_account_id": "549755885175",
    "bearer_token": "t",
}


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.parent.name)
def test_generated_tables_are_up_to_date(page: Path) -> None:
    """Run ``python -m tests.readme_tables`` after changing what they are made of."""
    assert filled(page) == page.read_text("utf-8")


def test_the_readme_fits_on_two_screens() -> None:
    """What is longer belongs into a guide beside the code."""
    assert len(README.read_bytes()) <= 9 * 1024


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file, and every anchor a heading of the page that it leads to."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), target


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_tests_named_as_proof_exist() -> None:
    """A promise whose proof is gone is no promise."""
    names = {path.name for path in (ROOT / "tests").rglob("*.py")}
    functions = set(re.findall(r"^ *(?:async )?def (test_\w+)", "\n".join(_sources()), re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        assert set(re.findall(r"\b(test_\w+\.py)", text)) <= names
        assert set(re.findall(r"::(test_\w+)`", text)) <= functions


def _sources() -> list[str]:
    return [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]


def test_events_of_the_snippets_are_accepted_by_every_platform_they_name() -> None:
    """Whoever copies a snippet gets its event delivered, not refused."""
    looked_at = 0
    pages = "\n".join(page.read_text("utf-8") for page in PAGES)
    for block in re.findall(r"```python\n(.*?)```", pages, re.DOTALL):
        tree = ast.parse(block)
        known = _people(tree)
        # what a route's argument names is the order's number
        known |= {name.arg: "1001" for node in ast.walk(tree) if isinstance(node, ast.arg) for name in (node,)}
        events = [_made(node, known) for node in ast.walk(tree) if _is_call(node, "Event")]
        for platform in _named(block):
            for event in events:
                explained = Client([platform]).explain(event)[platform.name]
                assert explained.verdict == "pending", (platform.name, event.name, explained.field, explained.reason)
                looked_at += 1
    assert looked_at >= 3


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _is_person(node: ast.AST) -> bool:
    return _is_call(node, "User") or _is_call(node, "Page")


def _people(tree: ast.AST) -> dict[str, object]:
    """What a snippet names before it makes its event of it."""
    found: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_person(node.value):
            found[node.targets[0].id] = _evaluated(node.value, {})
    return found


def _made(node: ast.AST, known: dict[str, object]) -> Event:
    made = _evaluated(node, known)
    assert isinstance(made, Event)
    return made


def _evaluated(node: ast.AST, known: dict[str, object]) -> object:
    code = compile(ast.Expression(node), "README.md", "eval")  # type: ignore[arg-type]
    public = {name: getattr(capi_async, name) for name in capi_async.__all__}
    made: object = eval(code, public | known)  # noqa: S307  # our own README
    return made


def _named(block: str) -> list[Destination]:
    """The platforms whose class or environment variables stand in a snippet."""
    found: list[Destination] = []
    for name in destinations.__all__:
        kind = getattr(destinations, name)
        if not (isinstance(kind, type) and issubclass(kind, Destination)):
            continue
        variables = [one for names in kind.env.values() for one in names]
        if re.search(rf"\b{name}\(", block) or any(one in block for one in variables):
            known = {field: value for field, value in FILLED.items() if field in kind.__struct_fields__}
            found.append(kind(**known))
    return found
