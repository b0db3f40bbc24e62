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

README = Path(__file__).parents[1] / "README.md"

#: What stands for the values that a platform gives.
FILLED = {"pixel_id": "1000000000000001", "access_token": "token", "ad_account_id": "549755885175", "bearer_token": "t"}


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.parent.name)
def test_generated_tables_are_up_to_date(page: Path) -> None:
    """Run ``python -m tests.readme_tables`` after changing what they are made of."""
    assert filled(page) == page.read_text("utf-8")


def test_events_of_the_snippets_are_accepted_by_every_platform_they_name() -> None:
    """Whoever copies a snippet gets its event delivered, not refused."""
    looked_at = 0
    for block in re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL):
        events = [_made(node) for node in ast.walk(ast.parse(block)) if _is_event(node)]
        for platform in _named(block):
            for event in events:
                explained = Client([platform]).explain(event)[platform.name]
                assert explained.verdict == "pending", (platform.name, event.name, explained.field, explained.reason)
                looked_at += 1
    assert looked_at >= 3


def _is_event(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event"


def _made(node: ast.AST) -> Event:
    code = compile(ast.Expression(node), "README.md", "eval")  # type: ignore[arg-type]
    made = eval(code, {name: getattr(capi_async, name) for name in capi_async.__all__})  # noqa: S307  # our own README
    assert isinstance(made, Event)
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
