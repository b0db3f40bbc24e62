"""The visitor's address behind proxies."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import ConfigError
from capi_async.context import ContextSettings, RequestContext
from capi_async.context.addresses import Proxies, _read_address, read_address

HEADERS = {"x-forwarded-for": "X-Forwarded-For", "forwarded": "Forwarded", "cf-connecting-ip": "CF-Connecting-IP",
           "x-real-ip": "X-Real-IP"}  # fmt: skip


def address(settings: dict[str, Any], peer: str | None, **headers: str | list[str]) -> str | None:
    return context(settings, peer, **headers).user.ip


def context(settings: dict[str, Any], peer: str | None, **headers: str | list[str]) -> RequestContext:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestContext.from_parts(
        "https://shop.example/", headers=named, peer=peer, settings=ContextSettings(**settings)
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7:51234 ", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:DB8::7]:443", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:cb00:7107]:80", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("_hidden", None),
        ("203.0.113.7:port", None),
        ("203.0.113", None),
        ("2001:db8::7]", None),
        ("[2001:db8::7", None),
        ("[2001:db8::7]x", None),
        ("203.0.113.7/24", None),
        ("", None),
        ("1" * 5_000, None),
        ("٢٠٣.0.113.7", None),
    ],
)
def test_an_address_is_read_without_port_brackets_and_zone(text: str, read: str | None) -> None:
    """IPv6 stays, and IPv4 inside it is taken out."""
    found = read_address(text)
    assert (str(found) if found else None) == read


def test_without_trusted_proxies_who_connects_is_the_visitor() -> None:
    """Anybody may send these headers."""
    spoofed = {"X_Forwarded_For": "198.51.100.1", "Forwarded": "for=198.51.100.1", "CF_Connecting_IP": "198.51.100.1",
               "X_Real_IP": "198.51.100.1"}  # fmt: skip
    assert address({}, "203.0.113.7", **spoofed) == "203.0.113.7"


def test_a_count_of_proxies_reads_from_the_right() -> None:
    """What stands further left, the visitor wrote."""
    for count, expected in ((1, "10.0.0.9"), (2, "203.0.113.7"), (3, "198.51.100.1")):
        found = address({"trusted_proxies": count}, "10.0.0.8", X_Forwarded_For="198.51.100.1, 203.0.113.7, 10.0.0.9")
        assert found == expected


def test_header_lines_are_one_list() -> None:
    """A proxy may add a line of its own instead of adding to the first."""
    lines = ["198.51.100.1", "203.0.113.7", ", 10.0.0.9 ,"]
    assert address({"trusted_proxies": 2}, "10.0.0.8", X_Forwarded_For=lines) == "203.0.113.7"


def test_networks_are_passed_from_the_right() -> None:
    """The first address that is no proxy of ours is the visitor's, whatever it claims before that."""
    settings = {"trusted_proxies": ["10.0.0.0/8", "2001:db8:aaaa::/48", "unix"]}
    for peer in ("10.0.0.1", "::ffff:10.0.0.1", "2001:db8:aaaa::1", None):
        found = address(settings, peer, X_Forwarded_For="198.51.100.1, 203.0.113.7, 10.2.2.2,2001:db8:aaaa::5")
        assert found == "203.0.113.7", peer
    assert address(settings, "10.0.0.1", X_Forwarded_For="10.9.9.9, 10.2.2.2") == "10.9.9.9"


def test_a_peer_that_is_no_proxy_of_ours_is_not_believed() -> None:
    """Spoofed headers of somebody who connects past the proxies; it is said that they were ignored."""
    settings = {"trusted_proxies": ["10.0.0.0/8"]}
    found = context(settings, "203.0.113.7", X_Forwarded_For="198.51.100.1", X_Forwarded_Host="evil.example")
    assert found.user.ip == "203.0.113.7"
    assert found.page.url == "https://shop.example/"
    assert any("none of trusted_proxies" in note for note in found.notes)
    assert address(settings, None, X_Forwarded_For="198.51.100.1") is None


def test_a_peer_without_an_address_is_a_socket_only_if_there_is_none() -> None:
    """What a test client calls itself is no socket of this machine."""
    settings = {"trusted_proxies": ["unix"]}
    assert address(settings, None, X_Forwarded_For="203.0.113.7") == "203.0.113.7"
    assert address(settings, "testclient", X_Forwarded_For="203.0.113.7") is None
    assert address({"trusted_proxies": 1}, None, X_Forwarded_For="203.0.113.7") == "203.0.113.7"


def test_fifty_proxies_of_ours_are_passed() -> None:
    """And fifty that a visitor invents change nothing."""
    chain = ", ".join(f"10.0.0.{number}" for number in range(50))
    settings = {"trusted_proxies": ["10.0.0.0/8"]}
    assert address(settings, "10.1.0.1", X_Forwarded_For=f"198.51.100.1, 203.0.113.7, {chain}") == "203.0.113.7"
    invented = ", ".join(f"198.51.100.{number}" for number in range(50))
    assert address({"trusted_proxies": 1}, "10.1.0.1", X_Forwarded_For=f"{invented}, 203.0.113.7") == "203.0.113.7"
    assert address({"trusted_proxies": 51}, "10.1.0.1", X_Forwarded_For=f"203.0.113.7, {chain}") == "203.0.113.7"
    assert address({"trusted_proxies": 52}, "10.1.0.1", X_Forwarded_For=f"203.0.113.7, {chain}") is None


@pytest.mark.parametrize("entry", ["unknown", "_secret", "not an address", "203.0.113.7:x", "\x00\xff"])
def test_what_stands_behind_an_unreadable_entry_is_not_believed(entry: str) -> None:
    """No address is better than one that a stranger may have written."""
    for trusted in (2, ["10.0.0.0/8"]):
        found = context({"trusted_proxies": trusted}, "10.0.0.1", X_Forwarded_For=f"198.51.100.1, {entry}, 10.0.0.2")
        assert found.user.ip is None
        assert any("wrote no address" in note for note in found.notes)


def test_fewer_proxies_than_promised_give_no_address() -> None:
    """The peer is then perhaps a proxy, and its address nobody's."""
    found = context({"trusted_proxies": 2}, "10.0.0.1", X_Forwarded_For="203.0.113.7")
    assert found.user.ip is None
    assert any("fewer proxies" in note for note in found.notes)
    silent = context({"trusted_proxies": ["10.0.0.0/8"]}, "10.0.0.1")
    assert silent.user.ip is None
    assert any("no forwarding header" in note for note in silent.notes)


@pytest.mark.parametrize(
    "header",
    [
        "for=198.51.100.1, for=203.0.113.7;proto=https;by=10.0.0.2, for=10.0.0.2",
        'For="198.51.100.1" , for="203.0.113.7:4711";Proto=https,for=10.0.0.2',
        "for=_x;host=evil.example , , proto=https;for=203.0.113.7 ; by=_secret, for=10.0.0.2,",
    ],
)
def test_forwarded_is_read_as_its_standard_has_it(header: str) -> None:
    """RFC 7239: quotes, ports, names in any case, elements in any spacing."""
    for trusted in (2, ["10.0.0.0/8"]):
        settings = {"trusted_proxies": trusted, "address_header": "forwarded"}
        assert address(settings, "10.0.0.1", Forwarded=header) == "203.0.113.7"


def test_forwarded_keeps_ipv6() -> None:
    """In brackets and quotes, with a port or without."""
    settings = {"trusted_proxies": 1, "address_header": "forwarded"}
    for text in ('for="[2001:db8:cafe::17]:4711"', 'for="[2001:db8:cafe::17]"', 'for="\\[2001:db8:cafe::17\\]"'):
        assert address(settings, "10.0.0.1", Forwarded=text) == "2001:db8:cafe::17"


@pytest.mark.parametrize(
    "header", ['for="203.0.113.7', "for 203.0.113.7", "=203.0.113.7", 'for=203.0.113.7"x"', "for=unknown"]
)
def test_forwarded_that_is_broken_gives_no_address(header: str) -> None:
    """Where an element ends cannot be known then."""
    settings = {"trusted_proxies": 1, "address_header": "forwarded"}
    assert address(settings, "10.0.0.1", Forwarded=["for=198.51.100.1", header]) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("between", [" ", "\t", "; ", ", ", ";", ",", "\\a", "=", '"', "for=", "a"])
def test_no_line_is_read_again_and_again(between: str) -> None:
    """As long as a server takes it, and made for that: were it read anew from every place, this would take a minute."""
    settings = {"trusted_proxies": 1, "address_header": "forwarded"}
    line = f"for=198.51.100.1,{between * (64_000 // len(between))},for=203.0.113.7"
    quoted = f'for="{between * (64_000 // len(between))}",for=203.0.113.7'
    for header in (line, quoted):
        assert address(settings, "10.0.0.1", Forwarded=header) in ("203.0.113.7", None)


def test_long_entries_are_not_kept() -> None:
    """What a stranger writes in front of the proxies' part does not stay in memory."""
    before = _read_address.cache_info().currsize
    for number in range(50):
        line = f"{number:0>8000}, 203.0.113.7"
        assert address({"trusted_proxies": 1}, "10.0.0.1", X_Forwarded_For=line) == "203.0.113.7"
    assert _read_address.cache_info().currsize <= before + 2


@pytest.mark.parametrize("name", ["cf-connecting-ip", "x-real-ip"])
def test_single_headers_count_only_when_configured(name: str) -> None:
    """And only from a trusted peer, and only once."""
    settings = {"trusted_proxies": ["10.0.0.0/8"], "address_header": name}
    key = name.replace("-", "_")
    assert address(settings, "10.0.0.1", **{key: "203.0.113.7"}, X_Forwarded_For="198.51.100.1") == "203.0.113.7"
    assert address(settings, "198.51.100.9", **{key: "203.0.113.7"}) == "198.51.100.9"
    assert address(settings, "10.0.0.1", **{key: ["203.0.113.7", "198.51.100.1"]}) is None
    assert address(settings, "10.0.0.1", **{key: "203.0.113.7, 198.51.100.1"}) is None
    assert (
        address({"trusted_proxies": 1}, "10.0.0.1", **{key: "198.51.100.1"}, X_Forwarded_For="203.0.113.7")
        == "203.0.113.7"
    )
    with pytest.raises(ConfigError, match="who may write it"):
        ContextSettings(address_header=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1, 101, True, "10.0.0.0/8", ["10.0.0.0/33"], ["proxy.example"], [None], [7.5]])
def test_settings_that_trust_nobody_in_particular_are_refused(bad: Any) -> None:
    """Before the first request."""
    with pytest.raises(ConfigError, match="trusted_proxies"):
        ContextSettings(trusted_proxies=bad)


@given(
    st.one_of(st.integers(0, 3), st.just(["10.0.0.0/8", "unix"])),
    st.sampled_from(sorted(HEADERS)),
    st.lists(st.text(st.sampled_from('0123456789abcdef:.[]",;= for_\\\x00é'), max_size=60), max_size=5),
    st.sampled_from([None, IPv4Address("10.0.0.1"), IPv4Address("203.0.113.7")]),
)
def test_no_header_raises(trusted: Any, header: Any, lines: list[str], peer: IPv4Address | None) -> None:
    """Whatever anybody writes into it."""
    if trusted == 0:
        header = "x-forwarded-for"
    found = Proxies(trusted, header).visitor(peer, lines)
    assert found.address is None or found.address.version in (4, 6)
    assert found.proxies >= 0
