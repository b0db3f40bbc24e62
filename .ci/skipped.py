"""``skipped.py REPORT [REASON...]`` fails if pytest's JUnit report has a test skipped for a reason that is not given.

With ``--files`` it prints instead the files of the tests that were skipped for these reasons, one a line.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree.ElementTree import parse

arguments = [argument for argument in sys.argv[1:] if argument != "--files"]
report, *reasons = arguments
files: set[Path] = set()
others = 0
ran = 0
for case in parse(report).iter("testcase"):  # noqa: S314 (our own pytest wrote it)
    skipped = case.find("skipped")
    if skipped is None:
        ran += 1
    elif skipped.get("message") in reasons:
        path = Path(*case.get("classname", "").split("."))
        files |= {
            one.with_suffix(".py") for one in (path, *path.parents) if one.name and one.with_suffix(".py").is_file()
        }
    else:
        others += 1
        print(f"skipped: {case.get('classname')}::{case.get('name')}: {skipped.get('message')}", file=sys.stderr)
if "--files" in sys.argv:
    print("\n".join(sorted(map(str, files))))
elif not others:
    print(f"{ran} tests ran, and none was skipped" + (f", except: {'; '.join(reasons)}" if reasons else ""))
sys.exit(bool(others) or not ran)
