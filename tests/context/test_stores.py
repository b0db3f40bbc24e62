"""Stores of contexts: one contract, three backends."""

from __future__ import annotations

import asyncio
import base64
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from capi_async import ConfigError
from capi_async.context import RequestContext
from capi_async.context.stores import ContextStore
from capi_async.context.stores.redis import RedisContextStore
from capi_async.context.stores.sqlite import SqliteContextStore
from capi_async.errors import ContextError
from tests.spool.redis_server import shared_url

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
CONTEXT = RequestContext.from_parts("https://shop.example/?gclid=Cj0K-example", peer="203.0.113.7").load(
    RequestContext.from_parts("https://shop.example/?gclid=Cj0K-example", peer="203.0.113.7").dump()
)
OTHER = RequestContext.load(RequestContext.from_parts("https://shop.example/other").dump())


def make(kind: str, folder: Path, *, keys: tuple[str, ...] = ()) -> Any:
    if kind == "sqlite":
        return SqliteContextStore(folder / "contexts.sqlite3", keys=keys)
    if kind == "redis":
        return RedisContextStore(shared_url().partition("?")[0], prefix=f"test:{folder.name}:{os.getpid()}:", keys=keys)
    from tests.context.django_project import close, configure

    configure()
    from capi_async.context.django.models import StoredContext
    from capi_async.context.django.store import DjangoContextStore

    if not keys:
        StoredContext.objects.all().delete()
        close()
    return DjangoContextStore(keys=keys)


async def leave(kind: str) -> None:
    """Close what Django's own thread for calls out of a loop has open."""
    if kind == "django":
        from asgiref.sync import sync_to_async

        from tests.context.django_project import close

        await sync_to_async(close)()


@pytest.fixture(params=["sqlite", "redis", "django"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[ContextStore]:
    made = await asyncio.to_thread(make, kind, tmp_path)
    yield made
    await made.aclose()
    await leave(kind)


async def test_what_was_put_is_taken_once(store: ContextStore) -> None:
    """And can be looked at before."""
    await store.put("1001", CONTEXT)
    assert await store.get("1001") == CONTEXT
    assert await store.get("1002") is None
    assert await store.take("1001") == CONTEXT
    assert await store.take("1001") is None


async def test_the_last_context_of_an_order_counts(store: ContextStore) -> None:
    """The visitor went back and ordered again."""
    await store.put("1001", CONTEXT)
    await store.put("1001", OTHER)
    assert await store.take("1001") == OTHER


async def test_of_many_that_take_one_gets_it(store: ContextStore) -> None:
    """A webhook that comes twice at once."""
    await store.put("1001", CONTEXT)
    found = await asyncio.gather(*(store.take("1001") for _ in range(5)))
    assert [one for one in found if one is not None] == [CONTEXT]


async def test_what_is_forgotten_is_gone(store: ContextStore) -> None:
    """And it is said whether there was anything."""
    await store.put("1001", CONTEXT)
    assert await store.forget("1001") is True
    assert await store.forget("1001") is False
    assert await store.take("1001") is None


async def test_keys_that_are_none_are_refused(store: ContextStore) -> None:
    """Before anything is stored."""
    for key in ("", "x" * 256, "a\x00b", 1001, None):
        for call in (store.get, store.take, store.forget):
            with pytest.raises(ContextError, match="order id"):
                await call(key)  # type: ignore[arg-type]
        with pytest.raises(ContextError, match="order id"):
            await store.put(key, CONTEXT)  # type: ignore[arg-type]
    for keep_s in (0, -1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(ContextError, match="keep_s"):
            await store.put("1001", CONTEXT, keep_s=keep_s)  # type: ignore[arg-type]


async def test_a_store_may_be_used_again_after_it_was_closed(store: ContextStore) -> None:
    """As tests and reloads do."""
    await store.put("1001", CONTEXT)
    await store.aclose()
    await store.aclose()
    assert await store.take("1001") == CONTEXT


async def test_with_keys_nothing_is_stored_in_clear(kind: str, tmp_path: Path) -> None:
    """And what somebody put there in clear is not believed."""
    plain = await asyncio.to_thread(make, kind, tmp_path)
    sealed = await asyncio.to_thread(lambda: make(kind, tmp_path, keys=(KEY,)))
    await sealed.put("1001", CONTEXT)
    with pytest.raises(ContextError, match="give the keys"):
        await plain.get("1001")
    assert await sealed.take("1001") == CONTEXT
    await plain.put("1002", CONTEXT)
    with pytest.raises(ContextError, match="not encrypted"):
        await sealed.get("1002")
    await plain.forget("1002")
    await plain.aclose()
    await sealed.aclose()
    await leave(kind)


@pytest.mark.parametrize("kind", ["sqlite", "redis", "django"])
@pytest.mark.parametrize("key", [None, "", "short"])
def test_a_wrong_key_is_told_when_the_store_is_made(kind: str, key: Any, tmp_path: Path) -> None:
    """Not with the first order."""
    with pytest.raises(ConfigError, match="context store: key 1 must be 32 random bytes"):
        make(kind, tmp_path, keys=(key,))


@pytest.mark.parametrize("path", [None, "", ".", "/", 5, b"x"])
def test_a_path_that_names_no_file_is_told_when_the_store_is_made(path: Any) -> None:
    """Such as that of a variable that is not set."""
    with pytest.raises(ConfigError, match="needs the path of a file"):
        SqliteContextStore(path)


async def test_sqlite_forgets_what_is_too_old(tmp_path: Path) -> None:
    """It is not given out, and erased with the next that is put."""
    clock = [1_000_000.0]
    store = SqliteContextStore(tmp_path / "contexts.sqlite3", now=lambda: clock[0])
    await store.put("1001", CONTEXT, keep_s=60)
    clock[0] += 59.9
    assert await store.get("1001") == CONTEXT
    clock[0] += 0.1
    assert await store.get("1001") is None
    await store.put("1002", OTHER)
    await store.aclose()
    with sqlite3.connect(tmp_path / "contexts.sqlite3") as reader:
        assert reader.execute("SELECT key FROM capi_contexts").fetchall() == [("1002",)]
    reader.close()


async def test_redis_forgets_what_is_too_old(tmp_path: Path) -> None:
    """By its own clock."""
    from redis.asyncio import Redis

    client = Redis.from_url(shared_url().partition("?")[0])
    store = RedisContextStore(client, prefix=f"{tmp_path.name}:")
    await store.put("1001", CONTEXT, keep_s=60)
    assert 59_000 < await client.pttl(f"{tmp_path.name}:1001") <= 60_000
    assert await store.take("1001") == CONTEXT
    await store.aclose()
    assert await client.ping()
    await client.aclose()


async def test_django_forgets_what_is_too_old(tmp_path: Path) -> None:
    """It is not given out, and purging erases it."""
    store = await asyncio.to_thread(make, "django", tmp_path)
    from datetime import timedelta

    from asgiref.sync import sync_to_async

    from capi_async.context.django.models import StoredContext

    await store.put("1001", CONTEXT, keep_s=60)
    row = await StoredContext.objects.aget(key="1001")
    assert await sync_to_async(store.purge_now)() == 0
    await StoredContext.objects.aupdate(expires=row.expires - timedelta(seconds=61))
    assert await store.get("1001") is None
    assert await store.take("1001") is None
    assert await sync_to_async(store.purge_now)() == 1
    assert str(row) == "context of 1001"
    await leave("django")


def test_the_migration_says_what_the_model_says(tmp_path: Path) -> None:
    """Else ``makemigrations`` would write one into this package."""
    make("django", tmp_path)
    from django.core.management import call_command

    from tests.context.django_project import close

    call_command("makemigrations", "capi_context", check=True, dry_run=True, verbosity=0)
    close()


async def test_a_locked_database_is_named(tmp_path: Path) -> None:
    """Who holds it, for how long it was waited, and nothing of the visitor."""
    path = tmp_path / "contexts.sqlite3"
    store = SqliteContextStore(path, lock_s=0.05)
    await store.put("1001", CONTEXT)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(ContextError, match=r"contexts\.sqlite3: another process held it locked for 0\.05 s") as raised:
        await store.put("1002", CONTEXT)
    assert isinstance(raised.value.__cause__, sqlite3.Error)
    assert await store.get("1001") == CONTEXT
    holder.execute("COMMIT")
    holder.close()
    await store.put("1002", CONTEXT)
    await store.aclose()


@pytest.mark.parametrize("backend", ["sqlite", "redis"])
def test_threads_with_loops_of_their_own_share_a_store(backend: str, tmp_path: Path) -> None:
    """Views that are not async run one each, and leave nothing open behind them."""
    store = make(backend, tmp_path)

    def view(number: int) -> RequestContext | None:
        async def both() -> RequestContext | None:
            await store.put(f"order-{number}", CONTEXT)
            found: RequestContext | None = await store.take(f"order-{number}")
            return found

        return asyncio.run(both())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(view, range(40))) == [CONTEXT] * 40
    asyncio.run(store.aclose())


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """And a missing folder is named."""
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes" * 100, "utf-8")
    store = SqliteContextStore(path)
    with pytest.raises(ContextError, match="notes"):
        await store.put("1001", CONTEXT)
    assert path.read_text("utf-8").startswith("these are my notes")
    with pytest.raises(ContextError, match="cannot be opened"):
        await SqliteContextStore(tmp_path / "missing" / "contexts.sqlite3").get("1001")
    await store.aclose()


async def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """It holds addresses of visitors."""
    store = SqliteContextStore(tmp_path / "contexts.sqlite3")
    await store.put("1001", CONTEXT)
    modes = await asyncio.to_thread(lambda: [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()])
    assert set(modes) == {0o600}
    await store.aclose()


async def test_a_text_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    """By the store as by ``load``."""
    store = SqliteContextStore(tmp_path / "contexts.sqlite3")
    await store.put("1001", CONTEXT)
    with sqlite3.connect(tmp_path / "contexts.sqlite3") as writer:
        writer.execute("UPDATE capi_contexts SET text = replace(text, '.', '.A')")
    writer.close()
    with pytest.raises(ContextError, match="changed or cut"):
        await store.take("1001")
    await store.aclose()


async def test_a_redis_that_is_away_is_named() -> None:
    """Without its password."""
    store = RedisContextStore("redis://:sesame@127.0.0.1:1/0", timeout_s=1)
    with pytest.raises(ContextError, match="Redis gave no answer") as raised:
        await store.put("1001", CONTEXT)
    assert "sesame" not in f"{raised.value} {store!r}"
    await store.aclose()
    with pytest.raises(ConfigError, match="redis://host"):
        RedisContextStore("http://:sesame@host/")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_opens_the_file_anew(tmp_path: Path) -> None:
    """Workers of a server are forked from a process that may have used the store."""
    store = SqliteContextStore(tmp_path / "contexts.sqlite3")
    asyncio.run(store.put("1001", CONTEXT))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if asyncio.run(store.take("1001")) == CONTEXT else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(store.get("1001")) is None
    asyncio.run(store.aclose())
