"""The package of examples/plugin, built, installed and used as its author and its users would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capi_async.cli.app import app

PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"


def install(package: Path, place: Path) -> dict[str, str]:
    """The environment of a process that finds the package installed."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(place), str(package)], check=True, timeout=100)
    return os.environ | {"PYTHONPATH": str(place), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """With the variables of an account."""
    place = tmp_path_factory.mktemp("site")
    return install(PLUGIN, place) | {"ACME_WORKSPACE": "shop", "ACME_TOKEN": "a-token"}


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
    # few inputs here: the suite itself is exercised by the built-in destinations
    few = "from hypothesis import settings\n"
    few += 'settings.register_profile("few", max_examples=3)\nsettings.load_profile("few")\n'
    (tmp_path / "conftest.py").write_text(few, "utf-8")
    said = run(installed, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py")
    assert _passed(said) > 80


def test_its_type_works_like_one_that_is_built_in(installed: dict[str, str], tmp_path: Path) -> None:
    """From the environment, from a file, and on the command line."""
    (tmp_path / "capi.toml").write_text(
        '[destinations.ours]\ntype = "acme"\nworkspace = "shop"\ntoken = "env:ACME_TOKEN"\n', "utf-8"
    )
    event = {"name": "lead", "user": {"email": "a@b.example"}, "page": {"url": "https://shop.example/"}}
    (tmp_path / "event.json").write_text(json.dumps(event), "utf-8")
    code = """
from typer.testing import CliRunner
from capi_async import Client
from capi_async.cli.app import app

print(Client.from_env().destinations, Client.from_config("capi.toml").destinations)
for source in (["--sandbox"], ["--config", "capi.toml"], []):
    said = CliRunner().invoke(app, ["explain", "event.json", *source]).stdout
    print('"kind": "inquiry"' in said, "a@b.example" in said)
"""
    expected = "(Acme(name='acme'),) (Acme(name='ours'),)\n" + 3 * "True False\n"
    assert run(installed, tmp_path, "-c", code) == expected


def _passed(said: str) -> int:
    return int(said.rpartition(" passed")[0].split()[-1])


def test_a_new_package_works_as_it_is_written(tmp_path: Path) -> None:
    """Its destination, its part of the sandbox and its tests, before anything was changed."""
    environment = dict(os.environ)
    said = run(environment, tmp_path, "-m", "capi_async", "new-destination", "big_ads")
    made = tmp_path / "capi_big_ads"
    assert "CHANGE" in (made / "capi_big_ads.py").read_text("utf-8")
    assert "pip install" in said
    environment = install(made, tmp_path / "site")
    # the suite itself runs above; here it is that the package finds it, and that the sandbox plays the platform
    some = "sandbox_takes or declarations or limits_are or slices"
    said = run(environment, made, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", some, "tests")
    assert _passed(said) >= 5


@pytest.mark.parametrize("name", ["Big", "big-ads", "9ads", "", "meta", "../x"])
def test_a_name_that_cannot_be_a_type_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In words, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["new-destination", name])
    assert done.exit_code == 2
    assert "TYPE" in done.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_that_exists_is_overwritten(tmp_path: Path) -> None:
    """Not even by a second call."""
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    done = CliRunner().invoke(app, ["new-destination", "big_ads", "--into", str(tmp_path)])
    assert done.exit_code == 2
    assert "exists already" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]
