"""The import arrows of the package, as a table. A wrong one fails here in seconds."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "capi_async"

#: Part to the parts it may import; a part may always import itself, unless said below.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "answer": set(),
    "backoff": set(),
    "bounded": set(),
    "cipher": {"errors"},
    "database_files": set(),
    "early": set(),
    "followup": {"errors"},
    "files": {"errors"},
    "frames": set(),
    "limiter": set(),
    "traces": set(),
    "clock": set(),
    "deadlines": set(),
    "log": set(),
    "thread": {"log"},
    "nearest": set(),
    "plain": {"errors"},
    "amounts": {"errors", "plain"},
    "event_checks": {"errors", "plain"},
    "event_names": set(),
    "json_keys": {"plain"},
    "event_json": {"amounts", "errors", "event_checks", "json_keys", "nearest", "plain"},
    "platform_fields": {"amounts", "errors", "event_checks", "plain"},
    "event": {"amounts", "errors", "event_checks", "event_json", "event_names", "plain", "platform_fields"},
    "redaction": set(),
    "outcome": {"redaction"},
    "pii": {"errors", "event"},
    "rows": {"event", "pii"},
    "slices": set(),
    "spec": {"errors", "event", "followup", "outcome", "pii", "platform_fields", "rows", "slices", "thread"},
    "destinations": {
        "early", "errors", "event", "event_names", "followup", "log", "spec", "outcome", "nearest", "pii", "plain",
        "frames", "platform_fields", "rows", "traces",
    },
    "transport": {"deadlines", "errors", "outcome", "spec"},
    "spool": {
        "backoff", "outcome", "errors", "cipher", "clock", "database_files", "files", "followup", "thread",
    },
    "telemetry": {"errors", "event", "outcome", "spool.base"},
    "engine": {
        "amounts", "answer", "backoff", "clock", "deadlines", "errors", "event", "event_names", "followup", "limiter",
        "log", "outcome", "pii", "plain", "profiles", "redaction", "rows", "slices", "spec", "spool.base",
        "telemetry.base", "telemetry.metrics", "telemetry.reasons", "telemetry.snapshot", "thread", "traces",
    },
    "profiles": set(),
    "pages": set(),
    "watch": {
        "clock", "errors", "log", "outcome", "redaction", "spool.base", "telemetry.base",
        "telemetry.metrics", "telemetry.snapshot",
    },
    "modes": {"errors", "plain", "profiles"},
    "doctor": {
        "clock", "engine.receipt", "errors", "event", "outcome", "plain", "redaction", "spec", "spool",
        "telemetry.snapshot",
    },
    "config": {"destinations", "engine", "errors", "frames", "modes", "nearest", "plain", "profiles", "spec"},
    "switch": {"clock", "destinations", "errors", "modes", "outcome", "sandbox", "spec"},
    "untracked": {"errors"},
    "closing": {"log", "outcome", "spool.base"},
    "stored": {"clock", "engine", "errors", "event", "outcome", "spec", "spool.base", "spool.letters"},
    "arguments": {"engine", "errors", "modes", "spec"},
    "client": {
        "answer", "arguments", "clock", "closing", "config", "doctor", "engine", "errors", "event", "log",
        "modes", "outcome", "profiles", "sandbox", "spec", "spool", "stored", "switch", "telemetry.base",
        "telemetry.metrics", "telemetry.snapshot", "transport", "untracked", "watch",
    },
    "dashboard": {
        "client", "clock", "errors", "log", "outcome", "pages", "spool.base", "spool.letters", "sync",
        "telemetry.snapshot", "watch",
    },
    "credentials": {"errors", "files", "outcome", "spec"},
    "ending": {"log"},
    "loop_thread": {"answer", "errors"},
    "sync": {
        "answer", "client", "closing", "doctor", "ending", "engine", "errors", "event", "log", "loop_thread", "outcome",
        "profiles", "sandbox", "spec", "spool.base", "telemetry.metrics", "telemetry.snapshot", "watch",
    },
    "sources": {
        "backoff", "bounded", "cipher", "client", "clock", "database_files", "early", "errors", "event", "files",
        "frames", "limiter", "outcome", "spec", "thread", "transport",
    },
    "browser": {"amounts", "destinations", "errors", "event", "plain", "spec"},
    "consent": {"errors", "event", "log", "pii"},
    "context": {"browser", "cipher", "errors", "event", "files", "log", "pii", "thread"},
    "testing": {
        "client", "config", "destinations", "engine.prepare", "errors", "event", "outcome", "pii", "platform_fields",
        "sandbox", "spec", "spool.base", "sync", "transport",
    },
    "integrations": {"client", "clock", "context", "dashboard", "engine", "errors", "event", "log", "sync", "watch"},
    "sandbox": {"bounded", "clock", "nearest", "pages", "traces"},
    "bench": {"client", "destinations", "event", "outcome", "spec"},
    "cli": {"*"},
    "__main__": {"cli"},
    "": {"client", "closing", "engine", "errors", "event", "outcome", "platform_fields", "sync", "telemetry.base",
        "telemetry.outcome_hook"},
}  # fmt: skip

#: Parts that a framework or a test tool loads, which is there then.
INSIDE_A_HOST = (
    "context.django", "integrations.aiohttp", "integrations.celery", "integrations.django", "integrations.flask",
    "testing.any_event", "testing.conformance", "testing.pytest_plugin",
)  # fmt: skip

#: Parts of a folder that must not know one another.
STRANGERS = {"destinations", "sources", "spool"}
#: What all of them may know: of spools also the form of stored records, its encryption, and what waits in memory.
SHARED = {"__init__", "address", "base", "chunks", "sealing", "waiting"}
#: Of destinations: the way that all platforms go, and what they say alike.
SHARED |= {
    "cart", "declared", "extinfo", "forms", "many", "platform", "quota", "raw", "refusals", "registry", "tables",
    "texts",
}  # fmt: skip


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _part(dotted: str) -> str:
    return dotted.split(".")[0]


def _dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def _imports(path: Path) -> set[str]:
    """Dotted names below the package that a module imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module == "capi_async":
                found |= {f"capi_async.{alias.name}" for alias in node.names}
    return {name.removeprefix("capi_async.") for name in found if name.startswith("capi_async.")}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: _dotted(path) or "capi_async")
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    """The table above is the law."""
    dotted = _dotted(path)
    part = _part(dotted)
    allowed = MAY_IMPORT[part]
    for name in _imports(path):
        if _part(name) == part or "*" in allowed:
            continue
        assert any(name == layer or name.startswith(f"{layer}.") for layer in allowed), f"{dotted} imports {name}"


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_every_permission_is_used(part: str) -> None:
    """An arrow that nobody draws would let somebody draw it later without being asked."""
    used = set().union(*(_imports(path) for path in _modules() if _part(_dotted(path)) == part))
    for layer in MAY_IMPORT[part] - {"*"}:
        assert any(name == layer or name.startswith(f"{layer}.") for name in used), f"{part or 'capi_async'}: {layer}"


@pytest.mark.parametrize("folder", sorted(STRANGERS))
def test_platforms_and_backends_never_import_one_another(folder: str) -> None:
    """A destination or a spool can be removed without touching its neighbours."""
    neighbours = {entry.stem for entry in (PACKAGE / folder).iterdir() if entry.stem not in SHARED}
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        own = path.relative_to(PACKAGE / folder).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == folder and len(parts) > 1 and parts[1] in neighbours:
                assert parts[1] == own, f"{_dotted(path)} imports {name}"


def test_nothing_imports_the_command_line() -> None:
    """The CLI is a user of the package, not a part of it."""
    for path in _modules():
        if _part(_dotted(path)) not in ("cli", "__main__"):
            assert not any(_part(name) == "cli" for name in _imports(path)), path


def test_hard_dependencies_are_the_four() -> None:
    """Only these may be imported at the top of a module that everybody imports."""
    import sys

    allowed = {"aiohttp", "msgspec", "anyio", "backoff", "capi_async"} | set(sys.stdlib_module_names)
    for path in _modules():
        if _part(_dotted(path)) == "cli" or _dotted(path).startswith(INSIDE_A_HOST):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body:
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                assert name.split(".")[0] in allowed, f"{path}: {name}"


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Of two such modules neither can be read, tested or moved without the other; imports for types count."""
    paths = {f"capi_async.{_dotted(path)}".rstrip("."): path for path in _modules()}
    graph = {name: _modules_named(path, set(paths)) - {name} for name, path in paths.items()}
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    while outside := graph.keys() - set().union(*graph.values()):
        graph = {name: needs for name, needs in graph.items() if name not in outside}
    assert not graph, {name: sorted(needs & graph.keys()) for name, needs in graph.items()}


def _modules_named(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that one imports: ``from a.b import c`` means ``a.b.c`` if that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= parts or {node.module} & known
    return found
