"""Where ``capi-async`` starts. Importable without the extra, so that its absence can be told."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec

#: What the extra ``cli`` installs.
_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line; a missing extra is one line on stderr and exit code 2."""
    if any(find_spec(name) is None for name in _NEEDED):
        print("capi-async: the command line needs its extra: install capi_async[cli]", file=sys.stderr)
        raise SystemExit(2)
    for stream in (sys.stdout, sys.stderr):
        # a terminal that is not UTF-8 gets escaped characters, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from capi_async.cli.app import app

        app(prog_name="capi-async")
    except KeyboardInterrupt:
        # while modules are still being loaded; afterwards the commands see to it
        raise SystemExit(130) from None
