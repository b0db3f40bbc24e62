"""Ask for known holes of every release in ``.ci/constraints.txt``; fails when there are any.

Where the service that knows them is out of reach it says so and goes on: then nothing is known, good or bad.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT_S = 90.0


def unknown(why: str) -> int:
    print(f"AUDIT NOT MADE: {why}. Whether the dependencies have known holes is not known from this run.")
    return 0


def main() -> int:
    # without markers: what only some Pythons need is asked about as well
    lines = Path(".ci/constraints.txt").read_text("utf-8").splitlines()
    releases = sorted({found[0] for line in lines if (found := re.match(r"[A-Za-z0-9._-]+==[^\s;]+", line))})
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "releases.txt"
        listed.write_text("\n".join(releases), "utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        command += ["--format", "json", "--requirement", str(listed)]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return unknown(f"no answer within {LIMIT_S:.0f} s")
    try:
        asked = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):
        return unknown((ran.stderr.strip().splitlines() or ["no answer"])[-1][:200])
    left_out = [one["name"] for one in asked if "skip_reason" in one]
    if len(left_out) == len(asked):
        return unknown("the service knows none of the packages, so this is not the service")
    holes = [(one, hole) for one in asked for hole in one.get("vulns", ())]
    for one, hole in holes:
        repaired = ", ".join(hole["fix_versions"]) or "no release yet"
        print(f"{one['name']} {one['version']}: {hole['id']}, repaired in {repaired}")
    print(f"audit: {len(asked) - len(left_out)} releases, {len(holes)} known holes")
    if left_out:
        print(f"audit: nothing is known of {', '.join(left_out)}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
