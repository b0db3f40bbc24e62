"""The real orders of ``examples/data`` as JSON Lines, for ``capi-async bench --events-file``.

``python benchmarks/real_events.py FILE``
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from retail import read_events  # the examples are no package


def main(path: Path) -> None:
    """Write all of them."""
    events = read_events()
    with path.open("wb") as lines:
        for event in events:
            lines.write(msgspec.json.encode(event) + b"\n")
    print(f"{path}: {len(events)} events")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
