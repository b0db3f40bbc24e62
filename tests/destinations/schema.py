"""Checks a JSON value against the little of JSON Schema that Pinterest's API description uses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
_KNOWN = {
    "$ref", "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "enum",
    "minimum", "maximum", "maxLength", "pattern", "anyOf", "allOf", "x-documented-values",
}  # fmt: skip


class Schema:
    """One schema of a file with ``components``."""

    def __init__(self, path: Path, name: str) -> None:
        self._all = json.loads(path.read_text("utf-8"))["components"]["schemas"]
        self._root = self._all[name]

    def problems(self, value: Any) -> list[str]:
        """What is wrong with ``value``; empty if nothing is."""
        return self._of(value, self._root, "$")

    def _of(self, value: Any, schema: dict[str, Any], path: str) -> list[str]:
        assert schema.keys() <= _KNOWN, schema.keys() - _KNOWN
        if reference := schema.get("$ref"):
            return self._of(value, self._all[reference.rpartition("/")[2]], path)
        if not _is(value, schema.get("type")):
            return [f"{path}: not {schema['type']}"]
        found = [problem for part in schema.get("allOf", ()) for problem in self._of(value, part, path)]
        if (branches := schema.get("anyOf")) and all(self._of(value, branch, path) for branch in branches):
            found.append(f"{path}: fits none of its forms")
        if "enum" in schema and value not in schema["enum"]:
            found.append(f"{path}: not among its values")
        if isinstance(value, dict):
            found += self._of_object(value, schema, path)
        elif isinstance(value, list):
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                found.append(f"{path}: wrong length")
            for index, item in enumerate(value):
                found += self._of(item, schema.get("items", {}), f"{path}[{index}]")
        elif isinstance(value, str):
            if len(value) > schema.get("maxLength", len(value)) or not re.search(schema.get("pattern", ""), value):
                found.append(f"{path}: too long or of another form")
        elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            found.append(f"{path}: out of range")
        return found

    def _of_object(self, value: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
        known = schema.get("properties", {})
        found = [f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value]
        for name, below in value.items():
            if name in known:
                found += self._of(below, known[name], f"{path}.{name}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{path}.{name}: unknown")
        return found


def _is(value: Any, kind: str | None) -> bool:
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return kind is None or isinstance(value, _TYPES[kind])
