"""Redis servers of every kind: addresses, users, TLS, replicas, Sentinel, Cluster."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as driver
import trustme

from capi_async import ConfigError
from capi_async.errors import SpoolError
from capi_async.spool.redis import parse
from tests.redis.conftest import Open, get
from tests.spool.harness import DELIVERED, eventually, ids, record
from tests.spool.redis_server import RedisServer, free_port, program


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://", "needs a host"),
        ("redis://host:port/0", "needs a host"),
        ("redis://host/zero", "number of a database"),
        ("redis+sentinel://host", "NAME-OF-THE-MASTER"),
        ("redis+cluster://host/1", "no numbered databases"),
        ("redis://host/0?sync=1", "there is no sync="),
        ("redis://host/0?lease_s=soon", "lease_s must be a number"),
        ("redis://host/0?lease_s=0", "lease_s must be at least"),
        ("redis://host/0?prefix={a}", "prefix is"),
        ("redis://host/0?password=hunter2", "password=env:NAME"),
        ("redis://host/0?keys=env:NOT_SET_ANYWHERE", "is empty"),
        ("redis+unix://host", "redis://"),
        ("redis+cluster://host?replicas=1", "not offered on a Cluster"),
    ],
)
def test_a_wrong_address_is_explained_and_never_repeated(url: str, message: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError) as raised:
        parse(url)
    assert message in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_an_address_holds_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from the environment, and is not printed."""
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    options = parse("rediss+sentinel://ada:x@one:1,[::1]/main/3?password=env:REDIS_PASSWORD&lease_s=5&prefix=shop")
    assert (options.kind, options.secure, options.service, options.db) == ("sentinel", True, "main", 3)
    assert options.hosts == (("one", 1), ("::1", 26379))
    assert (options.username, options.password, options.lease_s, options.prefix) == ("ada", "hunter2", 5.0, "shop")
    assert "hunter2" not in repr(options)


async def test_a_user_needs_only_the_keys_of_its_prefix(server: RedisServer, open_spool: Open) -> None:
    """And the error of a wrong password does not repeat it."""
    spool = await open_spool(server.url())
    rules = ["~{shop}*", "&*", "+@all", "-@dangerous", "-@admin", "+info"]
    await spool.session.command("ACL", "SETUSER", "shop", "on", ">hunter2", *rules)
    ours = server.url("?prefix=shop").replace("//", "//shop:hunter2@")
    shop = await open_spool(ours)
    await shop.append([record("1")], [])
    await shop.settle(await get(shop, 1), [DELIVERED])
    assert await shop.draw_tokens("x", rate=1.0, burst=1.0, wanted=1.0) == 1.0
    with pytest.raises(SpoolError) as raised:
        await open_spool(server.url("?prefix=shop").replace("//", "//shop:hunter3@"))
    assert "refuses the user or the password" in str(raised.value)
    assert "hunter" not in str(raised.value)
    with pytest.raises(SpoolError):
        await open_spool(server.url("?prefix=other").replace("//", "//shop:hunter2@"))


async def test_tls_checks_the_server(tmp_path: Path, open_spool: Open) -> None:
    """A certificate of an unknown authority is refused."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(tmp_path / "server.pem")]
    tls += ["--tls-key-file", str(tmp_path / "server.pem"), "--tls-ca-cert-file", str(tmp_path / "ca.pem")]
    server = RedisServer(tmp_path, *tls, "--tls-auth-clients", "no")
    server.start()
    try:
        spool = await open_spool(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}")
        await spool.append([record("1")], [])
        assert ids(await get(spool, 1)) == ["1"]
        with pytest.raises(SpoolError, match="out of reach"):
            await open_spool(f"rediss://127.0.0.1:{port}/0")
    finally:
        server.kill()


def text_of(answer: object) -> str:
    """An answer in one form, whether the driver parsed it or not."""
    return str(answer).replace("'", "").replace(": ", ":")


async def test_all_keys_of_a_spool_are_in_one_slot_of_a_cluster(tmp_path: Path, open_spool: Open) -> None:
    """Every script and every command works there."""
    server = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
    server.start()
    try:
        client = driver.Redis(port=server.port)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually(lambda: "cluster_state:ok" in text_of(client.execute_command("CLUSTER INFO")), 20)
        client.close()
        spool = await open_spool(f"redis+cluster://127.0.0.1:{server.port}?lease_s=1")
        await spool.append([record("1"), record("2", order_key="k"), record("3", order_key="k"), record("4", "b")], [])
        held = await get(spool, 2)
        await spool.mark_attempted(held)
        await spool.settle(held, [DELIVERED] * 2)
        assert ids(await get(spool, 1)) == ["3"]
        assert await spool.draw_tokens("x", rate=1.0, burst=1.0, wanted=1.0) == 1.0
        await spool.withhold_tokens("x", rate=1.0, burst=1.0, seconds=1.0)
        assert spool.ledger()["a"].delivered == 2
    finally:
        server.kill()


async def test_an_event_is_accepted_when_a_replica_has_it(
    server: RedisServer, tmp_path: Path, open_spool: Open
) -> None:
    """Also by a script that Redis does not know yet."""
    (tmp_path / "replica").mkdir()
    replica = RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(server.port))
    replica.start()
    try:
        client = driver.Redis(port=server.port)
        await eventually(lambda: "state=online" in str(client.execute_command("INFO", "replication")).replace("'", "")
                         .replace("state: online", "state=online"), 20)  # fmt: skip
        client.close()
        spool = await open_spool(server.url("?replicas=1"), "a")
        for number in range(3):
            await spool.append([record(str(number))], [])
        copy = driver.Redis(port=replica.port)
        assert copy.xlen(spool.session.keys.of("a").stream) == 3
        copy.close()
    finally:
        replica.kill()


@pytest.fixture
def sentinel(server: RedisServer, tmp_path: Path) -> Iterator[int]:
    """A Sentinel that watches the server; its port."""
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {server.port} 1\n"
        "sentinel down-after-milliseconds main 1000\n"
    )
    process = subprocess.Popen([program(), str(config), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        client = driver.Redis(port=port)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"):
                    break
            except driver.ConnectionError:
                time.sleep(0.05)
        client.close()
        yield port
    finally:
        process.kill()
        process.wait(20)


async def test_sentinels_are_asked_for_the_master(sentinel: int, open_spool: Open) -> None:
    """By its name."""
    spool = await open_spool(f"redis+sentinel://127.0.0.1:{sentinel}/main/0")
    await spool.append([record("1")], [])
    assert ids(await get(spool, 1)) == ["1"]
