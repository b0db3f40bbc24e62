"""Print pip constraints that hold every direct dependency, extras included, at its lower bound."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in [*project["dependencies"], *(one for extra in extras.values() for one in extra)]:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    bound = re.search(r">=\s*([0-9][^,;\s]*)", requirement)
    if name is None or (bound is None and name[0] != project["name"]):
        sys.exit(f"pyproject.toml: {requirement} has no lower bound")
    if bound is not None:
        print(f"{name[0]}=={bound[1]}")
