"""The package of examples/plugin, built, installed and used as its author and its users would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds the package installed."""
    place = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(place), str(PLUGIN)], check=True, timeout=100)
    return os.environ | {"PYTHONPATH": str(place), "ACME_WORKSPACE": "shop", "ACME_TOKEN": "a-token"}


def run(environment: dict[str, str], cwd: Path, *arguments: str) -> str:
    """What a command says; it must succeed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_the_conformance_suite(installed: dict[str, str], tmp_path: Path) -> None:
    """Every promise that the built-in ones keep."""
    (tmp_path / "test_acme.py").write_text((PLUGIN / "tests" / "test_acme.py").read_text("utf-8"), "utf-8")
    said = run(installed, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py")
    assert " passed" in said
    assert int(said.rpartition(" passed")[0].split()[-1]) > 80


def test_its_type_works_like_one_that_is_built_in(installed: dict[str, str], tmp_path: Path) -> None:
    """From the environment, from a file, and on the command line."""
    (tmp_path / "capi.toml").write_text(
        '[destinations.ours]\ntype = "acme"\nworkspace = "shop"\ntoken = "env:ACME_TOKEN"\n', "utf-8"
    )
    event = {"name": "lead", "user": {"email": "a@b.example"}, "page": {"url": "https://shop.example/"}}
    (tmp_path / "event.json").write_text(json.dumps(event), "utf-8")
    code = (
        "from capi_async import Client\n"
        "print(Client.from_env().destinations, Client.from_config('capi.toml').destinations)\n"
    )
    assert run(installed, tmp_path, "-c", code) == "(Acme(name='acme'),) (Acme(name='ours'),)\n"
    for source in (("--sandbox",), ("--config", "capi.toml"), ()):
        said = run(installed, tmp_path, "-m", "capi_async", "explain", "event.json", *source)
        assert '"kind": "inquiry"' in said
        assert "a@b.example" not in said
