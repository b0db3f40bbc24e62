"""The examples of deployment agree with the program that they start."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from capi_async import Client
from capi_async.cli.app import app
from capi_async.clock import SYSTEM_CLOCK
from capi_async.config import load
from capi_async.errors import CapiError
from capi_async.spool.redis import RedisSpool, parse
from capi_async.telemetry.prometheus import exposition
from tests.engine.acme import Acme
from tests.spool.redis_server import serve

DEPLOY = Path(__file__).parent.parent.parent / "examples" / "deploy"
ENVIRONMENT = {
    "CAPI_SPOOL": "redis://redis:6379/0",
    "SNAP_PIXEL_ID": "00000000-0000-4000-8000-000000000001",
    "SNAP_ACCESS_TOKEN": "x",
    "PINTEREST_AD_ACCOUNT_ID": "549755885175",
    "PINTEREST_ACCESS_TOKEN": "x",
}


def options() -> set[str]:
    """Options that ``capi-async worker`` has."""
    command = typer.main.get_command(app).commands["worker"]  # type: ignore[attr-defined]
    return {name for parameter in command.params for name in parameter.opts}


def test_the_configuration_can_be_read() -> None:
    """With the environment that the other files give it."""
    destinations, settings = load(DEPLOY / "capi.toml", ENVIRONMENT)
    assert [one.name for one in destinations] == ["snap", "pinterest"]
    assert settings.spool == ENVIRONMENT["CAPI_SPOOL"]


@pytest.mark.parametrize("name", ["Dockerfile", "capi-worker@.service", "kubernetes/worker.yaml"])
def test_every_option_exists(name: str) -> None:
    """Of those that a file gives to the worker."""
    text = "\n".join(line for line in (DEPLOY / name).read_text().splitlines() if not line.lstrip().startswith("#"))
    used = {one for line in text.splitlines() if "config" in line or "worker" in line for one in shlex_options(line)}
    assert "--config" in used
    assert used <= options()


def shlex_options(line: str) -> list[str]:
    """Words of a line that look like options."""
    return re.findall(r"--[a-z-]+", " ".join(shlex.split(line.replace("[", " ").replace("]", " ").replace(",", " "))))


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes/worker.yaml"])
def test_every_address_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the password comes from included."""
    monkeypatch.setenv("REDIS_PASSWORD", "x")
    secret = tmp_path / "password"
    secret.write_text("x\n")
    found = re.findall(r"redis://\S+", (DEPLOY / name).read_text())
    assert found
    for url in found:
        assert parse(url.replace("file:/run/secrets/capi/redis-password", f"file:{secret}")).password == "x"


async def test_redis_of_compose_takes_its_password_from_a_file(tmp_path: Path) -> None:
    """No argument of a process holds it, and the server asks for it all the same."""
    text = (DEPLOY / "compose.yaml").read_text()
    for line in re.findall(r"^ *(?:command|test): .*", text, re.MULTILINE):
        assert "PASSWORD" not in line
    [content] = re.findall(r"^ *(requirepass .*)", text, re.MULTILINE)
    secret = tmp_path / "redis-password.conf"
    secret.write_text(content.replace("${REDIS_PASSWORD:?set it}", 'a "b" \\c') + "\n")
    for server in serve(tmp_path, "--include", str(secret)):
        for given, answer in (("a%20%22b%22%20%5Cc", "opened"), ("other", "refused")):
            spool = RedisSpool(parse(server.url().replace("//", f"//:{given}@")), clock=SYSTEM_CLOCK)
            try:
                await spool.open(("a",), lambda _name: None, deliver=False)
                assert answer == "opened"
            except CapiError:
                assert answer == "refused"
            finally:
                await spool.close()


async def test_the_metric_for_autoscaling_is_one_that_workers_export() -> None:
    """Workers export what the client counts."""
    query = (DEPLOY / "kubernetes" / "autoscaling.yaml").read_text()
    names = set(re.findall(r"capi_[a-z_]+", query))
    assert names
    async with Client([Acme(base_url="http://127.0.0.1:9")]) as client:
        exported = exposition(client)
    assert [name for name in names if f"\n{name}{{destination=" not in exported] == []
