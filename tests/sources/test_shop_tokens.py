"""An authorization stays alive: early, once, across processes, and through every failure."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from capi_async.cipher import Cipher
from capi_async.errors import ConfigError
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sources.tiktok_shop import (
    EncryptedFileTokens,
    MemoryTokens,
    TikTokShopAuthError,
    TikTokShopNetworkError,
    TikTokShopServerError,
    TokenSet,
    TokenStoreError,
)
from capi_async.sources.tiktok_shop.oauth import TokenHost
from capi_async.sources.tiktok_shop.tokens import TokenKeeper
from capi_async.spec import Secret
from capi_async.testing import ManualClock
from capi_async.transport import HttpTransport
from tests.sources.connected import connected, token_set

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.urlsafe_b64encode(bytes(32)).decode()
NOW = 1_660_556_483
REFRESH = "GET /api/v2/token/refresh"


def pair(number: int, *, expires_at: int = NOW + 10_000) -> TokenSet:
    return TokenSet(
        access_token=f"TTP_access_{number}",
        refresh_token=f"TTR_refresh_{number}",
        access_expires_at=expires_at,
        open_id="7010",
        granted_scopes=("seller.order.info",),
    )


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(one.name for one in folder.iterdir())


def new_clock(now: float = NOW) -> ManualClock:
    """A clock whose two readings are the same."""
    return ManualClock(now, wall=now)


class Host:
    """A token host by script: each refresh kills the pair that it used."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.alive = "TTR_refresh_0"
        self.refreshed: list[str] = []
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        self.refreshed.append(tokens.refresh_token)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        if tokens.refresh_token != self.alive:
            error = TikTokShopAuthError("cannot find the authorization record", code=36004005)
            error.final = True
            raise error
        new = pair(len(self.refreshed), expires_at=int(self.clock.now) + 10_000)
        self.alive = new.refresh_token
        return new


class FailingStore(MemoryTokens):
    """Somebody's own store, which fails with words that quote what it was given."""

    def __init__(self, tokens: TokenSet | None = None) -> None:
        super().__init__(tokens)
        self.broken = False
        self.saved: list[TokenSet] = []

    async def load(self) -> TokenSet | None:
        return await super().load()

    async def save(self, tokens: TokenSet) -> None:
        if self.broken:
            raise OSError(f"cannot write {tokens.access_token}")
        self.saved.append(tokens)
        await super().save(tokens)


def keeper(store: Any, host: Host, **more: Any) -> TokenKeeper:
    host_like: Any = host
    return TokenKeeper(store, host_like, clock=host.clock, **more)


# When.


async def test_a_refresh_is_due_five_minutes_early_and_not_before() -> None:
    """At the very second."""
    clock = new_clock(1_660_556_482)
    host = Host(clock)
    tokens = keeper(MemoryTokens(pair(0, expires_at=1_660_556_783)), host)
    assert (await tokens.tokens()).access_token == "TTP_access_0"
    assert host.refreshed == []
    clock.now = 1_660_556_483
    assert (await tokens.tokens()).access_token == "TTP_access_1"
    assert host.refreshed == ["TTR_refresh_0"]


async def test_ten_calls_on_an_expired_token_refresh_once() -> None:
    """And all of them get the new one."""
    host = Host(new_clock())
    host.hold = asyncio.Event()
    tokens = keeper(MemoryTokens(pair(0, expires_at=1)), host)
    calls = [asyncio.create_task(tokens.tokens()) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    host.hold.set()
    assert {one.access_token for one in await asyncio.gather(*calls)} == {"TTP_access_1"}
    assert host.refreshed == ["TTR_refresh_0"]


async def test_a_caller_that_is_cancelled_does_not_cut_the_refresh_short() -> None:
    """The new pair would be lost, and with it the authorization; closing waits for it, too."""
    host = Host(new_clock())
    host.hold = asyncio.Event()
    store = FailingStore(pair(0, expires_at=1))
    tokens = keeper(store, host)
    call = asyncio.create_task(tokens.tokens())
    for _ in range(5):
        await asyncio.sleep(0)
    assert host.refreshed
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    closing = asyncio.create_task(tokens.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    host.hold.set()
    await closing
    assert [one.access_token for one in store.saved] == ["TTP_access_1"]


# What can go wrong.


async def test_a_refresh_that_fails_keeps_the_old_tokens_and_reports(caplog: pytest.LogCaptureFixture) -> None:
    """While the old token is good it is used, and the host is left alone for a while."""
    clock = new_clock()
    host, told = Host(clock), []
    store = FailingStore(pair(0, expires_at=NOW + 200))
    tokens = keeper(store, host, on_problem=told.append)
    host.error = TikTokShopServerError("trouble", code=36009003)
    for _ in range(5):
        assert (await tokens.tokens()).access_token == "TTP_access_0"
    assert len(host.refreshed) == len(told) == 1
    assert store.saved == []
    assert "could not be renewed" in caplog.text
    clock.now += 31
    assert (await tokens.tokens()).access_token == "TTP_access_0"
    assert len(host.refreshed) == 2
    clock.now += 200
    with pytest.raises(TikTokShopServerError):
        await tokens.tokens()
    host.error = None
    assert (await tokens.tokens()).access_token == f"TTP_access_{len(host.refreshed)}"
    assert all("TTP" not in repr(one) for one in (*told, tokens, store))


async def test_an_authorization_that_has_ended_says_so_and_needs_no_request() -> None:
    """The seller must act."""
    clock = new_clock()
    host = Host(clock)
    ended = msgspec.structs.replace(pair(0, expires_at=NOW - 1), refresh_expires_at=NOW)
    with pytest.raises(TikTokShopAuthError, match="authorize the app again") as raised:
        await keeper(MemoryTokens(ended), host).tokens()
    assert raised.value.final
    none = msgspec.structs.replace(pair(0, expires_at=NOW - 1), refresh_token="")
    with pytest.raises(TikTokShopAuthError):
        await keeper(MemoryTokens(none), host).tokens()
    with pytest.raises(TikTokShopAuthError, match="no shop is connected"):
        await keeper(MemoryTokens(), host).tokens()
    assert host.refreshed == []


async def test_a_new_pair_that_cannot_be_saved_is_not_lost_and_not_silent() -> None:
    """The call fails, the pair stays in memory, and the next call saves it before using it."""
    host, told = Host(new_clock()), []
    store = FailingStore(pair(0, expires_at=1))
    store.broken = True
    tokens = keeper(store, host, on_problem=told.append)
    for _ in range(3):
        with pytest.raises(TokenStoreError) as raised:
            await tokens.tokens()
        assert "TTP" not in f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"
    assert len(told) == 3
    assert host.refreshed == ["TTR_refresh_0"]
    store.broken = False
    assert (await tokens.tokens()).access_token == "TTP_access_1"
    assert [one.access_token for one in store.saved] == ["TTP_access_1"]
    assert host.refreshed == ["TTR_refresh_0"]


async def test_a_listener_that_stumbles_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The refresh's own error is what the caller gets."""
    host = Host(new_clock())
    host.error = TikTokShopServerError("trouble", code=36009003)

    def clumsy(_error: object) -> None:
        raise RuntimeError("TTP_quoted")

    with pytest.raises(TikTokShopServerError):
        await keeper(MemoryTokens(pair(0, expires_at=1)), host, on_problem=clumsy).tokens()
    assert "RuntimeError" in "".join(str(vars(record)) for record in caplog.records)
    assert "TTP_quoted" not in caplog.text


async def test_a_stores_own_lock_is_held_around_a_refresh() -> None:
    """The store is read again inside it, and what is new is saved inside it."""

    class Locking(FailingStore):
        def __init__(self) -> None:
            super().__init__(pair(0, expires_at=1))
            self.told: list[str] = []

        async def load(self) -> TokenSet | None:
            self.told.append("load")
            return await super().load()

        async def save(self, tokens: TokenSet) -> None:
            self.told.append("save")
            await super().save(tokens)

        @asynccontextmanager
        async def lock(self) -> AsyncIterator[None]:
            self.told.append("lock")
            yield
            self.told.append("unlock")

    store = Locking()
    tokens = keeper(store, Host(new_clock()))
    await tokens.tokens()
    assert store.told == ["load", "lock", "load", "save", "unlock"]
    await tokens.adopt(pair(9))
    assert store.told[5:] == ["lock", "save", "unlock"]
    assert (await tokens.tokens()).access_token == "TTP_access_9"


async def test_a_store_that_cannot_be_read_costs_nothing_while_the_token_is_good() -> None:
    """The failure is told, and the old token used until it ends."""

    class Unreadable(FailingStore):
        async def load(self) -> TokenSet | None:
            if self.broken:
                raise OSError("disk")
            return await super().load()

    clock, told = new_clock(), []
    store = Unreadable(pair(0, expires_at=NOW + 10_000))
    tokens = keeper(store, Host(clock), on_problem=told.append)
    await tokens.tokens()
    store.broken = True
    clock.now += 9_800
    assert (await tokens.tokens()).access_token == "TTP_access_0"
    assert [type(one) for one in told] == [TokenStoreError]
    clock.now += 200
    with pytest.raises(TokenStoreError):
        await tokens.tokens()


async def test_another_process_was_faster() -> None:
    """What it stored is used; its refresh token is not used up by a second refresh."""
    clock = new_clock()
    host = Host(clock)
    store = MemoryTokens(pair(0, expires_at=NOW + 300))
    tokens = keeper(store, host)
    await store.save(pair(7, expires_at=NOW + 9_000))
    tokens._tokens = pair(0, expires_at=NOW + 300)
    assert (await tokens.tokens()).access_token == "TTP_access_7"
    assert host.refreshed == []


# The file.


async def test_an_encrypted_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    """Nobody but its owner may read it, and nobody without the key can."""
    path = tmp_path / "tokens.bin"
    store = EncryptedFileTokens(path, KEY)
    assert await store.load() is None
    for number in (1, 2):
        await store.save(pair(number))
        assert await store.load() == pair(number)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["tokens.bin"]
    raw = path.read_bytes()
    for text in (b"TTP_", b"TTR_", b"7010", b"seller", KEY.encode()):
        assert text not in raw
    assert KEY not in repr(store)


async def test_keys_are_rotated_by_listing_the_new_one_first(tmp_path: Path) -> None:
    """The old key opens until the next save, then it is not needed any more."""
    path = tmp_path / "tokens.bin"
    await EncryptedFileTokens(path, KEY).save(pair(1))
    both = EncryptedFileTokens(path, [OTHER_KEY, KEY])
    assert await both.load() == pair(1)
    await both.save(pair(2))
    assert await EncryptedFileTokens(path, [OTHER_KEY]).load() == pair(2)
    with pytest.raises(TokenStoreError, match="key that is not among"):
        await EncryptedFileTokens(path, KEY).load()


async def test_a_file_that_is_damaged_or_not_ours_is_refused(tmp_path: Path) -> None:
    """Rather than taken for no authorization, which would send the seller back to the start."""
    path = tmp_path / "tokens.bin"
    store = EncryptedFileTokens(path, KEY)
    await store.save(pair(1))
    whole = path.read_bytes()
    for content in (b"", whole[:20], whole[:60], whole[:-1], whole[:-1] + b"\x00", b"{}", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(TokenStoreError):
            await store.load()
    path.unlink()
    path.mkdir()
    with pytest.raises(TokenStoreError):
        await store.load()
    with pytest.raises(TokenStoreError):
        await EncryptedFileTokens(tmp_path / "missing" / "tokens.bin", KEY).save(pair(1))
    for keys in ("short", [], [KEY, "x"]):
        with pytest.raises(ConfigError, match="tokens"):
            EncryptedFileTokens(path, keys)


async def test_a_file_does_not_open_in_the_place_of_another(tmp_path: Path) -> None:
    """Whoever may write the directory cannot make one shop's forwarder act for another."""
    ours, theirs = tmp_path / "a" / "tokens.bin", tmp_path / "b" / "tokens.bin"
    for number, path in enumerate((ours, theirs)):
        path.parent.mkdir()
        await EncryptedFileTokens(path, KEY).save(pair(number))
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(TokenStoreError, match="another place"):
        await EncryptedFileTokens(ours, KEY).load()
    # one and the same file that has different paths on a host and in its container
    await EncryptedFileTokens(ours, KEY, place="shop 1").save(pair(1))
    ours.rename(tmp_path / "moved.bin")
    assert await EncryptedFileTokens(tmp_path / "moved.bin", KEY, place="shop 1").load() == pair(1)


async def test_a_file_of_an_earlier_release_is_sealed_anew_when_it_is_read(tmp_path: Path) -> None:
    """From then on it belongs to its place; also if it could not be written at first."""
    path = tmp_path / "tokens.bin"
    cipher = Cipher([KEY])
    sealed = cipher.seal(msgspec.json.encode(pair(1)), "tiktok_shop tokens")
    path.write_bytes(b"capi_async tiktok_shop tokens 1\n%b\n%b" % (cipher.name.encode(), sealed))
    store = EncryptedFileTokens(path, KEY)
    async with store.lock():
        assert await store.load() == pair(1)
    assert await store.load() == pair(1)
    assert path.read_bytes().startswith(b"capi_async tiktok_shop tokens 2\n")
    path.rename(tmp_path / "other.bin")
    with pytest.raises(TokenStoreError, match="another place"):
        await EncryptedFileTokens(tmp_path / "other.bin", KEY).load()


async def test_a_save_that_fails_leaves_the_old_pair_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is replaced as a whole or not at all."""
    path = tmp_path / "tokens.bin"
    store = EncryptedFileTokens(path, KEY)
    await store.save(pair(1))

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TokenStoreError):
            await store.save(pair(2))
    assert await store.load() == pair(1)
    assert names(tmp_path) == ["tokens.bin"]


async def test_the_files_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """Whoever waits too long is told so; whoever gives up waiting holds nothing."""
    path = tmp_path / "tokens.bin"
    one, other = EncryptedFileTokens(path, KEY), EncryptedFileTokens(path, KEY, lock_timeout_s=0.05)
    async with one.lock():
        with pytest.raises(TokenStoreError, match="another process"):
            async with other.lock():
                raise AssertionError
    async with other.lock():
        assert stat.S_IMODE((tmp_path / "tokens.bin.lock").stat().st_mode) == 0o600


# Against the sandbox, which keeps its own account of who is authorized.


async def test_an_expired_access_token_is_renewed_once_and_the_call_goes_on() -> None:
    """The platform refuses a token before its time: one refresh, one repeat."""
    async with connected() as ends:
        await ends.shop.get_orders()
        assert ends.platform.expire_access() == 1
        before = len(ends.paths)
        results = await asyncio.gather(*(ends.shop.get_orders() for _ in range(10)))
        assert all(page.items for page in results)
        assert ends.paths[before:].count(REFRESH) == 1


async def test_a_token_that_is_refused_again_after_a_refresh_is_an_error() -> None:
    """No endless dance."""
    async with connected() as ends:
        ends.platform.fail(105002, count=None, path="/order")
        with pytest.raises(TikTokShopAuthError) as raised:
            await ends.shop.get_orders()
        assert raised.value.code == 105002
        assert ends.paths.count(REFRESH) == 1


async def test_a_withdrawn_authorization_is_final() -> None:
    """No refresh is tried, and the error says who must act."""
    async with connected() as ends:
        ends.platform.revoke()
        with pytest.raises(TikTokShopAuthError) as raised:
            await ends.shop.get_orders()
        assert (raised.value.code, raised.value.final) == (105001, True)
        assert REFRESH not in ends.paths


async def test_a_dead_refresh_token_is_final() -> None:
    """Access lapsed, refresh lapsed: authorize again."""
    async with connected() as ends:
        ends.platform.expire_access()
        ends.platform.expire_refresh()
        with pytest.raises(TikTokShopAuthError) as raised:
            await ends.shop.get_orders()
        assert (raised.value.code, raised.value.final) == (36004001, True)


@asynccontextmanager
async def process(settings: dict[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A refresher that has read its tokens and waits for the word."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sources.refresher",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(settings).encode() + b"\n")
        assert await child.stdout.readline() == b"ready\n"
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_two_processes_that_refresh_at_once_keep_the_authorization_alive(tmp_path: Path) -> None:
    """Real processes, one file: one refresh for both, every call succeeds, and the file holds the pair that lives."""
    path = tmp_path / "tokens.bin"
    # a refresh token that is used twice ends the authorization: the sandbox's strictest reading
    async with connected(readings=("reuse_revokes",)) as ends:
        store = EncryptedFileTokens(path, KEY)
        await store.save(token_set(ends.platform.grants()[-1]))
        us = ends.platform.shop("US")
        settings = {
            "path": str(path), "key": KEY, "url": ends.sandbox.url("tiktok_shop"), "shop_id": us.id,
            "cipher": us.cipher,
        }  # fmt: skip
        async with process(settings) as one, process(settings) as other:
            # slow answers, so that both surely find the token expired before either has a new one
            ends.sandbox.fault("tiktok_shop", "latency", latency_s=0.2)
            ends.platform.expire_access()
            results = await asyncio.gather(one.communicate(b"go\n"), other.communicate(b"go\n"))
        ends.sandbox.clear_faults()
        assert [json.loads(out) for out, _ in results] == [["ok"] * 3] * 2
        assert ends.paths.count(REFRESH) == 1
        assert ends.codes.count(105002) >= 2
        tokens = await store.load()
        assert tokens is not None
        assert tokens.access_token == ends.platform.grants()[-1].access_token
        assert tokens.refresh_token == ends.platform.grants()[-1].refresh_token


async def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """Even if it died in the middle of a refresh."""
    path = tmp_path / "tokens.bin"
    code = (
        "import asyncio, sys\n"
        "from capi_async.sources.tiktok_shop import EncryptedFileTokens\n"
        "async def main():\n"
        "    async with EncryptedFileTokens(sys.argv[1], sys.argv[2]).lock():\n"
        "        print('held', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), KEY, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert child.stdout is not None
    assert await child.stdout.readline() == b"held\n"
    store = EncryptedFileTokens(path, KEY, lock_timeout_s=30)
    waiting = asyncio.create_task(_take(store))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    child.kill()
    await child.wait()
    await waiting


async def _take(store: EncryptedFileTokens) -> None:
    async with store.lock():
        pass


async def test_a_process_that_was_not_the_one_to_refresh_finds_the_new_pair() -> None:
    """Its cached access token is dead before its time; the store has the other's."""
    store = MemoryTokens()
    async with connected(tokens=store) as ends:
        first = ends.platform.grant()
        await store.save(token_set(first))
        await ends.shop.get_orders()
        # somebody else refreshes: the sandbox kills the old access token with the old refresh token
        transport = HttpTransport()
        other = TokenHost(
            app_key=APP_KEY,
            app_secret=Secret(APP_SECRET),
            transport=transport,
            base_url=ends.sandbox.url("tiktok_shop"),
        )
        await store.save(await other.refresh(token_set(first)))
        await transport.aclose()
        assert (await ends.shop.get_orders()).items
        assert ends.paths.count(REFRESH) == 1
        assert 36009004 in ends.codes


async def test_tokens_of_a_lost_refresh_are_reported_as_what_they_are() -> None:
    """The answer that rotated the pair never came, twice: a network error now, and the truth at the next call."""
    async with connected() as ends:
        ends.platform.expire_access()
        ends.sandbox.fault("tiktok_shop", "reset_after", path="/api/v2/token")
        with pytest.raises((TikTokShopNetworkError, TikTokShopAuthError)):
            await ends.shop.get_orders()
        ends.sandbox.clear_faults()
        with pytest.raises(TikTokShopAuthError) as raised:
            await ends.shop.get_orders()
        assert raised.value.final
        # and the seller's next visit mends it
        await ends.shop.connect(ends.platform.authorize())
        assert (await ends.shop.get_orders()).items
