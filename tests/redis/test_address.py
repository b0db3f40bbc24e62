"""Every address of a Redis spool is read alike on every Python; no server is needed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capi_async import ConfigError
from capi_async.spool.redis import parse

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,8})?", fullmatch=True)
hosts = st.one_of(names, st.ip_addresses(v=4), st.ip_addresses(v=6))
places = st.lists(st.tuples(hosts, st.none() | st.integers(1, 65_535)), min_size=1, max_size=5)
secrets = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


def written(host: str | IPv4Address | IPv6Address, port: int | None) -> str:
    """A host as it stands in an address."""
    text = f"[{host}]" if isinstance(host, IPv6Address) else str(host)
    return text if port is None else f"{text}:{port}"


@given(places=places, user=secrets, password=secrets, service=names, db=st.integers(0, 99))
@example(places=[("one", 1), (IPv6Address("::1"), None)], user="ada", password="x", service="main", db=3)
@example(places=[(IPv6Address("::1"), 1), (IPv6Address("::2"), 2)], user="", password="@:/?#[]", service="main", db=0)
def test_what_is_written_is_read(
    places: list[tuple[str | IPv4Address | IPv6Address, int | None]], user: str, password: str, service: str, db: int
) -> None:
    """Of any number of hosts, in brackets or not, in any order, with any credentials."""
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    hosts = ",".join(written(*place) for place in places)
    options = parse(f"rediss+sentinel://{credentials}{hosts}/{service}/{db}?prefix=shop")
    assert options.hosts == tuple((str(host), port or 26_379) for host, port in places)
    assert (options.username, options.password) == (user or None, password or None)
    assert (options.service, options.db, options.prefix) == (service, db, "shop")
    # what is shown to people can be copied into an address
    assert parse(f"redis+cluster://{options.place}").hosts == options.hosts


@given(text=st.text(st.sampled_from("redis://[]:,@/?#%&=.-+ 019afx\\\n\t")) | st.text())
def test_nothing_else_is_raised_than_a_configuration_error(text: str) -> None:
    """For any text; each host that is read has a name and a possible port."""
    for address in (text, f"redis://{text}", f"redis+cluster://{text}", f"redis+sentinel://[::1],{text}"):
        try:
            options = parse(address)
        except ConfigError:
            continue
        assert all(host and 0 < port < 65_536 for host, port in options.hosts)


@pytest.mark.parametrize(
    "authority", ["[::1", "::1]", "[]", "[::g]", "[1.2.3.4]", "[[::1]]", "::1", "one,,two", "one,", "a[::1]", "o ne"]
)
def test_a_host_that_cannot_be_is_refused(authority: str) -> None:
    """With the form that it should have, also for IPv6."""
    with pytest.raises(ConfigError, match=r"needs a host.*\[::1\]:6379"):
        parse(f"redis+cluster://{authority}")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("redis://one:0", "a port is a number from 1 to 65535"),
        ("redis://one:65536", "a port is a number from 1 to 65535"),
        ("redis://one,two", "several hosts are Sentinels or a Cluster"),
        ("redis://:12#34@one", "write %23 for a #"),
        ("redis://one?keys=file:/tmp/\0", "cannot be read"),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(address: str, message: str) -> None:
    """Rather than half of it left out."""
    with pytest.raises(ConfigError, match=message):
        parse(address)


def test_a_zone_and_surrounding_space_are_understood() -> None:
    """A link-local address has a zone, and a secret out of a file often ends in a line break."""
    assert parse(" REDIS://[fe80::1%25eth0]:1/2\n").hosts == (("fe80::1%eth0", 1),)
    assert parse("redis://[fe80::1%eth0]").hosts == (("fe80::1%eth0", 6379),)
