"""Reads what Prometheus reads, strictly: a line that the format does not know is an error.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]

_SAMPLE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)')
_ESCAPED: Final = re.compile(r"\\(.)")
_SUFFIXES: Final = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def read(text: str) -> tuple[Samples, Mapping[str, str]]:
    """Samples by name and labels, and metric to type.

    Raises:
        AssertionError: The text breaks a rule of the format.
    """
    assert text.endswith("\n")
    samples: Samples = {}
    types: dict[str, str] = {}
    of = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4, line
        elif line.startswith("# TYPE "):
            _, _, of, kind = line.split(" ")
            assert of not in types, f"{of}: its samples do not stand together"
            assert kind in _SUFFIXES, line
            types[of] = kind
        else:
            found = _SAMPLE.match(line)
            assert found, line
            name, inner, value = found.groups()
            assert name in {of + suffix for suffix in _SUFFIXES[types[of]]}, line
            key = name, _labels(inner or "")
            assert key not in samples, f"twice: {line}"
            samples[key] = float(value)
    return samples, types


def _labels(inner: str) -> Labels:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(inner):
        found = _LABEL.match(inner, at)
        assert found, inner
        pairs.append((found[1], _ESCAPED.sub(lambda one: "\n" if one[1] == "n" else one[1], found[2])))
        at = found.end()
    assert len({name for name, _ in pairs}) == len(pairs), inner
    return frozenset(pairs)


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample."""
    return samples[name, frozenset(labels.items())]
