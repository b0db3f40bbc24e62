"""What is shown to newcomers runs: the numbered examples, and the code in the README."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.environment import clean_environment

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
#: Pages whose Python is compiled, and run where it is marked.
PAGES = ("README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "capi_async").rglob("README.md")))

#: Example to one line of its output that could not be there unless it had worked.
TELLING_LINES = {
    "01_quickstart.py": "meta       delivered",
    "02_script.py": "purchase:A-2 {'tiktok': 'delivered', 'cutmeshort': 'delivered'}",
    "04_many_accounts.py": "snap_de    delivered 1, skipped 3, of 4",
    "05_custom_destination.py": "purchase:2 rejected for nothing",
    "06_explain.py": '    "client_ip_address": "<ip>",',
    "07_batch_file.py": "meta  accepted 5,000, delivered 5,000, rejected 0, pending 0",
    "08_config.py": "snap_de    delivered",
    "09_hooks.py": "outcome: delivered after 2 attempts",
    "10_consent.py": "  pinterest  forgotten erased on request",
    "18_serverless.py": "nothing is under way: the process may be frozen, or ended",
    "12_order_and_webhook.py": "browser tags: meta, tiktok with the id purchase:1001",
}

#: Served, not run: each has a test of its own.
SERVED = "03_fastapi.py"
SHOP = "11_tiktok_shop.py"
#: Started for real, each under its own server, in ``tests/integrations``.
HOSTS = ("13_flask.py", "14_django.py", "15_aiohttp.py", "16_litestar.py", "17_quart.py", "19_celery.py")


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python on ``arguments``, with warnings as errors, away from the repository's root."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_every_numbered_example_is_tested() -> None:
    """An example that is added here and not above would rot."""
    numbered = {path.name for path in EXAMPLES.glob("[0-9][0-9]_*.py")}
    assert numbered == {*TELLING_LINES, SERVED, SHOP, *HOSTS}


def test_the_readme_of_the_examples_names_each_of_them() -> None:
    """The list is complete and names nothing that is gone."""
    named = set(re.findall(r"\d\d_\w+\.py", (EXAMPLES / "README.md").read_text("utf-8")))
    assert named == {*TELLING_LINES, SERVED, SHOP, *HOSTS}


@pytest.mark.parametrize("name", TELLING_LINES)
def test_example_runs_without_an_account(name: str, tmp_path: Path) -> None:
    """It ends by itself, successfully, says what it promises to say, and leaves nothing behind."""
    done = run(str(EXAMPLES / name), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert TELLING_LINES[name] in done.stdout.splitlines()
    for trouble in ("Traceback", "Warning", "never awaited", "never retrieved"):
        assert trouble not in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_custom_destination_gets_its_events_in_one_request(tmp_path: Path) -> None:
    """The engine batches for a destination that it has never heard of."""
    done = run(str(EXAMPLES / "05_custom_destination.py"), cwd=tmp_path)
    assert "Acme received 2 events in one request" in done.stdout.splitlines()


def test_explain_shows_nobodys_data(tmp_path: Path) -> None:
    """Its docstring says that the output may go into a ticket."""
    done = run(str(EXAMPLES / "06_explain.py"), cwd=tmp_path)
    for secret in ("ada.lovelace", "ada@", "900123", "203.0.113.7", "X11", "click-1", "London", "not-used-here"):
        assert secret.lower() not in done.stdout.lower()


def test_batch_file_reads_the_file_that_it_is_given(tmp_path: Path) -> None:
    """A bad line is named with its number and field, without its value, and stops nobody."""
    file = tmp_path / "events.jsonl"
    file.write_text(
        '{"name": "lead", "value": "a secret"}\n{"name": "lead", "user": {"email": "a@b.example"}}\n', "utf-8"
    )
    done = run(str(EXAMPLES / "07_batch_file.py"), str(file), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "line 1: value" in done.stdout
    assert "secret" not in done.stdout
    assert "snap  accepted 1" in done.stdout


def load(path: Path) -> ModuleType:
    """Import a file whose name is no identifier."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # FastAPI looks the annotations of its routes up by the module's name
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


async def test_fastapi_example_sends_what_the_request_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, browser, page and click ids of the visitor arrive, and a reload is one event."""
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("fastapi")
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("CAPI_ASYNC_MODE", "sandbox")
    app = load(EXAMPLES / SERVED).app
    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 50_000))
    headers = {"User-Agent": "Mozilla/5.0 (test)", "Cookie": "_scid=cookie-1"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://shop.example", headers=headers) as browser,
    ):
        for _ in range(2):
            assert (await browser.get("/thanks/1001?ScCid=click-1")).status_code == 200
        assert (await browser.get("/thanks/none")).status_code == 404
        assert await app.state.capi.flush(timeout_s=20)
        assert (await browser.get("/conversions")).json()["snap"] == {"accepted": 2, "delivered": 2, "pending": 0}

        first, second = app.state.capi.sandbox.arrivals("snap")
        assert first.event["event_id"] == second.event["event_id"] == "purchase:1001"
        assert first.event["event_source_url"] == "https://shop.example/thanks/1001?ScCid=click-1"
        sent = first.event["user_data"]
        assert sent["client_ip_address"] == "203.0.113.7"
        assert sent["client_user_agent"] == "Mozilla/5.0 (test)"
        assert sent["sc_click_id"] == "click-1"
        assert sent["sc_cookie1"] == "cookie-1"


def test_fastapi_example_says_what_it_lacks(tmp_path: Path) -> None:
    """Without FastAPI there is one clear line, and no traceback."""
    (tmp_path / "fastapi.py").write_text("raise ImportError\n")
    code = f"import runpy, sys; sys.path.insert(0, '.'); runpy.run_path({str(EXAMPLES / SERVED)!r})"
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "this example needs FastAPI: pip install fastapi uvicorn\n"


class Block(NamedTuple):
    """A fenced piece of Python in a page."""

    line: int
    code: str
    marked: bool


#: A fence may be indented (in a list); the mark stands on the line before it, or with an empty line between.
_BLOCK = re.compile(
    r"^(?P<mark>[ ]*<!--\s*run\s*-->[ ]*\n(?:[ ]*\n)?)?"
    r"(?P<indent>[ ]*)```python[^\n]*\n(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


def blocks(text: str) -> list[Block]:
    """Every block marked as Python, and whether it is to be executed."""
    found = []
    for match in _BLOCK.finditer(text):
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        found.append(Block(text.count("\n", 0, match.start("code")) + 1, code, match["mark"] is not None))
    return found


def test_blocks_are_found_with_their_lines_and_marks() -> None:
    """The tests below are only as good as what they look at."""
    text = "# a\n```python\nx = 1\n```\n<!-- run -->\n```python\ny = 2\n```\n- item\n\n  ```python\n  z = 3\n  ```\n"
    assert blocks(text) == [Block(3, "x = 1\n", False), Block(7, "y = 2\n", True), Block(12, "z = 3\n", False)]
    assert blocks("<!-- run -->\n\n```python\nx\n```\n")[0].marked
    assert not blocks("<!-- run -->\ntext\n```python\nx\n```\n")[0].marked
    assert blocks("```\nno python\n```\n```sh\nls\n```\n") == []


@pytest.mark.parametrize("page", PAGES)
def test_no_mark_in_a_readme_misses_its_block(page: str) -> None:
    """A mark that no block follows would silently run nothing."""
    text = (ROOT / page).read_text("utf-8")
    assert len(re.findall(r"^[ ]*<!--\s*run\s*-->", text, re.MULTILINE)) == sum(one.marked for one in blocks(text))


@pytest.mark.parametrize("page", PAGES)
def test_python_in_a_readme_compiles(page: str) -> None:
    """Every block is Python; ``await`` and ``async with`` may stand at its top level."""
    for block in blocks((ROOT / page).read_text("utf-8")):
        compile(block.code, f"{page}, block at line {block.line}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


#: Runs one block: platforms' addresses lead to a sandbox, their variables hold its credentials, and a ``capi.toml``
#: lies in the working directory. Reads the code from standard input, so that line numbers are the block's own.
_RUNNER = """
import ast, asyncio, inspect, os, sys
from anyio.from_thread import start_blocking_portal
from capi_async.destinations import destination_class, destination_types
from capi_async.sandbox import Sandbox

ACCOUNTS = {
    "SNAP_PIXEL_ID": "0f0e0d0c-0b0a-4908-8706-050403020100", "SNAP_ACCESS_TOKEN": "sandbox-token",
    "SNAP_DE_ACCESS_TOKEN": "sandbox-token",
    "PINTEREST_AD_ACCOUNT_ID": "549700000001", "PINTEREST_ACCESS_TOKEN": "sandbox-token",
    "TIKTOK_PIXEL_ID": "CEXAMPLE0000000000AB", "TIKTOK_ACCESS_TOKEN": "sandbox-token",
    "META_PIXEL_ID": "100000000000001", "META_ACCESS_TOKEN": "sandbox-token", "CMS_BEARER_TOKEN": "sandbox-token",
}
code = compile(sys.stdin.read(), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
with start_blocking_portal() as portal, portal.wrap_async_context_manager(Sandbox()) as sandbox:
    os.environ.update(ACCOUNTS)
    for name in destination_types():
        if name in sandbox.platforms:
            destination_class(name).default_base_url = sandbox.url(name)
            os.environ[f"{name.upper()}_BASE_URL"] = sandbox.url(name)
    result = eval(code, {"__name__": "__main__"})
    if inspect.iscoroutine(result):
        asyncio.run(result)
"""


def run_block(code: str, where: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Execute one block against a sandbox of its own."""
    shutil.copy(EXAMPLES / "capi.toml", cwd)
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", "-c", _RUNNER, where],
        input=code,
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES)
def test_marked_blocks_of_a_readme_run(page: str, tmp_path: Path) -> None:
    """Blocks after ``<!-- run -->`` end successfully."""
    for number, block in enumerate(blocks((ROOT / page).read_text("utf-8"))):
        if block.marked:
            folder = tmp_path / str(number)
            folder.mkdir()
            done = run_block(block.code, f"{page}, block at line {block.line}", folder)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\nfrom capi_async import Client\nasync def main():\n"
        "    async with Client.from_env() as client:\n        print(client)\nasyncio.run(main())\n",
        'from capi_async import Client\nasync with Client.from_config("capi.toml") as client:\n    print(client)\n',
        "from capi_async import Event, Page, SyncClient, User\n"
        "with SyncClient.from_env() as client:\n"
        '    receipt = client.send(Event("page_view", user=User(email="a@b.example"), page=Page(url="https://a.example")))\n'
        '    print("snap", receipt.outcomes(timeout_s=10)["snap"])\n'
        '    assert receipt.outcomes(timeout_s=10)["snap"].kind == "delivered"\n',
    ],
)
def test_blocks_run_against_the_sandbox(code: str, tmp_path: Path) -> None:
    """A block may run its own loop, await at its top level, or have no loop; it meets local platforms in any case."""
    done = run_block(code, "here", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "snap" in done.stdout.lower()


def test_a_failing_block_is_noticed(tmp_path: Path) -> None:
    """With the line in the block."""
    done = run_block("\nawait nobody\n", "README.md, block at line 7", tmp_path)
    assert done.returncode == 1
    assert 'File "README.md, block at line 7", line 2' in done.stderr
