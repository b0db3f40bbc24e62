"""``capi-async new-destination``: the files of a package that adds a platform."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from capi_async.cli.running import plainly
from capi_async.cli.terminal import write
from capi_async.destinations.registry import BUILT_IN
from capi_async.errors import ConfigError

#: Template to the path of the file that is made of it.
_FILES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "destination.py.txt": "capi_${type}.py",
    "sandbox.py.txt": "capi_${type}_sandbox.py",
    "test.py.txt": "tests/test_${type}.py",
}
_TYPE: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@plainly
def new_destination(
    type_: Annotated[str, typer.Argument(help="Its name in configurations, such as acme.", metavar="TYPE")],
    into: Annotated[
        Path | None, typer.Option(help="Directory to make; default: capi_TYPE here.", metavar="DIRECTORY")
    ] = None,
) -> None:
    """Write the files of a package that adds a platform.

    A destination, its part of the sandbox, its tests and a pyproject.toml, which work as they are; what is marked with
    CHANGE is to be made the platform's own. Nothing that exists is overwritten.
    """
    if not _TYPE.fullmatch(type_):
        raise ConfigError("TYPE: needs small letters, digits and single underscores, a letter first, such as acme_ads")
    if type_ in BUILT_IN:
        raise ConfigError(f"TYPE: {type_} is built in")
    place = into or Path(f"capi_{type_}")
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"{place}: exists already, and is not empty; give another place with --into")
    words = {
        "type": type_,
        "TYPE": type_.upper(),
        "Name": "".join(part.capitalize() for part in type_.split("_")),
        "host": type_.replace("_", "-"),
    }
    templates = files("capi_async.cli") / "templates"
    for template, path in _FILES.items():
        file = place / Template(path).substitute(words)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template((templates / template).read_text("utf-8")).substitute(words), "utf-8")
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written ({type(error).__name__})") from None
        write(str(file))
    write(f"Next: pip install -e '{place}[test]', then pytest {place}; then change what is marked with CHANGE.")
