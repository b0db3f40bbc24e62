"""Python and the installed packages: versions, extras, and those below the lowest release without a known hole."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Final

from capi_async.doctor.findings import Finding

_REQUIREMENT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?[^;>]*>=(?P<least>[0-9.]+)")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")
#: Extras for whoever develops this package.
_NOT_FOR_USERS: Final = frozenset({"dev", "test"})
_NUMBER: Final = re.compile(r"\d+")
_PYTHON: Final = (3, 11)


def environment(
    version_of: Callable[[str], str] = metadata.version, requirements: Sequence[str] | None = None
) -> Iterator[Finding]:
    """Look at Python and at what is installed.

    Args:
        version_of: A package's version; raises :class:`~importlib.metadata.PackageNotFoundError`.
        requirements: Those of this package, as its metadata states them. Each lower bound is the lowest release
            without a known hole.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON:
        yield Finding("python", "version", "failure", f"Python {version}", "install Python 3.11 or newer")
    else:
        yield Finding("python", "version", "ok", f"Python {version}")
    missing: dict[str, list[str]] = {}
    fine = 0
    for text in _requirements() if requirements is None else requirements:
        match, extra = _REQUIREMENT.match(text), _EXTRA.search(text)
        if match is None or (extra is not None and extra["extra"] in _NOT_FOR_USERS):
            continue
        name, least = match["name"], match["least"]
        try:
            found = version_of(name)
        except metadata.PackageNotFoundError:
            if extra is not None:
                missing.setdefault(extra["extra"], []).append(name)
            else:
                yield Finding("packages", name, "failure", "is not installed", f"pip install '{name}>={least}'")
            continue
        if _numbers(found) < _numbers(least):
            yield Finding(
                "packages", name, "warning", f"{found} has known holes or is too old", f"pip install '{name}>={least}'"
            )
        else:
            fine += 1
    yield Finding("packages", "versions", "ok", f"{fine} packages at releases without a known hole")
    for extra_name, names in missing.items():
        yield Finding(
            "packages", f"extra {extra_name}", "note", f"{', '.join(names)} not installed",
            f"if you need it: pip install 'capi_async[{extra_name}]'",
        )  # fmt: skip


def _requirements() -> Sequence[str]:
    try:
        return metadata.requires("capi_async") or ()
    except metadata.PackageNotFoundError:  # run from a checkout that was not installed
        return ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _NUMBER.findall(version)[:3])
