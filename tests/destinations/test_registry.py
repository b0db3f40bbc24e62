"""A platform of an installed package works like one that is built in: by an entry point that leads to its row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capi_async.cli.app import app
from capi_async.config import from_env, load
from capi_async.destinations import destination_class, destination_types, installed_types, registry, row_of
from capi_async.errors import ConfigError

CODE = '''
from collections.abc import Mapping
from typing import ClassVar
from msgspec import Struct
from capi_async.destinations import Row, refusals
from capi_async.destinations.platform import Platform
from capi_async.outcome import by_status
from capi_async.spec import Limits, Credential, Request, encode_head, json_slices

class Head(Struct, frozen=True):
    shop: str
    test: bool

class Body(Struct, omit_defaults=True):
    name: str
    event_id: str
    em: list[str] | None = None

class Zeta(Platform, frozen=True, kw_only=True):
    """An invented platform."""
    type: ClassVar[str] = "zeta"
    wire: ClassVar[str] = "zeta/1"
    default_base_url: ClassVar[str] = "https://zeta.example"
    limits: ClassVar[Limits] = Limits(max_batch_events=10, max_batch_bytes=100_000, requests_per_s=5.0)
    identifiers: ClassVar[tuple[str, ...]] = ("email",)
    standard_names: ClassVar[Mapping[str, str | None]] = {"purchase": "BUY", "refund": None}
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {"shop": ("ZETA_SHOP",), "access_token": ("ZETA_TOKEN",)}
    docs: ClassVar[str] = "invented, read 2026-11"
    account_setting: ClassVar[str] = "shop"
    shop: str
    access_token: Credential

    def head(self, event, test):
        return encode_head(Head(self.shop, test))

    def body(self, name, event, at, ids, warnings):
        return Body(name, event.event_id, ids.email)

    def lacks(self, body, event, warnings):
        return None if body.em else refusals.nobody("user.email")

    def request(self, head, bodies, token):
        return Request("POST", self.base_url, {"Authorization": token}, json_slices(b"[", bodies, b"]"))

    def classify(self, response, count):
        return by_status(response, count)

ROW = Row(type="zeta", module="capi_zeta", class_name="Zeta", account={"shop": "s-1"})
NO_DESTINATION = "no class"
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Puts a package that gives these entry points where Python finds it."""
    folder = tmp_path / "site"

    def put(*points: str, name: str = "capi_zeta") -> None:
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join([f"[{registry.GROUP}]", *points, ""]))
        (folder / "capi_zeta.py").write_text(CODE)
        monkeypatch.syspath_prepend(str(folder))
        registry.rows.cache_clear()

    yield put
    registry.rows.cache_clear()


def test_a_row_is_all_that_a_package_gives(install: object, tmp_path: Path) -> None:
    """The type can be configured by file and by environment, and tried out on the command line."""
    install("zeta = capi_zeta:ROW")  # type: ignore[operator]
    assert installed_types() == [*destination_types(), "zeta"]
    assert destination_class("zeta").__name__ == "Zeta"
    assert row_of("zeta").settings() == {"shop": "s-1", "access_token": registry.SANDBOX_TOKEN}
    config = tmp_path / "capi.toml"
    config.write_text('[destinations.mine]\ntype = "zeta"\nshop = "s-2"\naccess_token = "t"\n')
    config.chmod(0o600)
    assert load(config)[0][0].account() == "s-2"
    assert [one.name for one in from_env({"ZETA_SHOP": "s-3", "ZETA_TOKEN": "t"})] == ["zeta"]
    events = tmp_path / "events.jsonl"
    events.write_text('{"name": "purchase", "time": "2026-01-01T00:00:00Z", "user": {"email": "a@b.example"}}\n')
    ended = CliRunner().invoke(app, ["explain", "--sandbox", "--to", "zeta", str(events)])
    assert ended.exit_code == 0, ended.output
    assert "zeta" in ended.output


def test_a_class_alone_is_enough_without_a_sandbox(install: object) -> None:
    """Its package has no account to try things out with, and that is said."""
    install("zeta = capi_zeta:Zeta")  # type: ignore[operator]
    assert destination_class("zeta").__name__ == "Zeta"
    with pytest.raises(ConfigError, match="no account to try it out"):
        row_of("zeta").settings()


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("zeta = capi_zeta:NO_DESTINATION", "not a Destination"),
        ("zeta = capi_zeta:MISSING", "cannot be imported"),
        ("zeta = capi_nowhere:ROW", "cannot be imported"),
        ("eta = capi_zeta:ROW", "row of 'zeta'"),
    ],
)
def test_a_package_that_gives_no_destination_is_named(install: object, point: str, said: str) -> None:
    """With the type, so that one knows which package to mend or remove."""
    install(point)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=said):
        installed_types()
    assert destination_class("snap").__name__ == "Snap"


def test_what_is_built_in_stays(install: object) -> None:
    """No package takes a documented type's place, nor do two share one."""
    install("snap = capi_zeta:ROW")  # type: ignore[operator]
    assert destination_class("snap").__name__ == "Snap"
    install("zeta = capi_zeta:ROW", name="one")  # type: ignore[operator]
    install("zeta = capi_zeta:ROW", name="two")  # type: ignore[operator]
    with pytest.raises(ConfigError, match="two installed packages"):
        installed_types()
