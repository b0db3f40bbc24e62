"""The address of the visitor behind proxies: what a header says counts only as far as trusted proxies wrote it.

Sources, read 2026-11: RFC 7239 (``Forwarded``), Mozilla's page on ``X-Forwarded-For`` (read it from the right, past the
proxies that are known, and take the first address that is none of theirs), Cloudflare's on ``CF-Connecting-IP``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from capi_async.errors import ConfigError

Address: TypeAlias = IPv4Address | IPv6Address
#: The header that the proxies write the visitor's address into.
AddressHeader: TypeAlias = Literal["x-forwarded-for", "forwarded", "cf-connecting-ip", "x-real-ip"]

_LISTS: Final = ("x-forwarded-for", "forwarded")
#: In a list of trusted proxies: whoever connects through a socket of this machine's file system.
UNIX_SOCKET: Final = "unix"
#: More proxies than any way through the web has; a higher count is a mistake.
_MAX_PROXIES: Final = 100
#: Longer texts are no address.
_MAX_CHARS: Final = 64

UNTRUSTED: Final = (
    "a forwarding header was ignored, because who connected is none of trusted_proxies; add it there if it is "
    "a proxy of yours"
)
TOO_SHORT: Final = (
    "left out: the request passed fewer proxies than trusted_proxies says, so nobody vouches for an address; set it to "
    "their real number"
)
SILENT: Final = "left out: a trusted proxy connected and wrote no forwarding header, so nobody says whose request it is"
UNREADABLE: Final = "left out: a trusted proxy wrote no address into the forwarding header"
REPEATED: Final = "left out: the header with the address came more than once, and only one of them can be the proxy's"


class Hop(NamedTuple):
    """One station of a request, as the proxy after it wrote it down."""

    address: Address | None
    proto: str = ""
    host: str = ""


class Visitor(NamedTuple):
    """What is known of the visitor's end of the connection.

    Attributes:
        address: ``None``: nobody trustworthy says.
        proxies: So many trusted proxies wrote their part of the forwarding headers.
        hop: The element that the outermost trusted proxy wrote; its scheme and host are empty but with ``Forwarded``.
        note: Why there is no address, or what was ignored; empty if there is nothing to say.
    """

    address: Address | None
    proxies: int
    hop: Hop | None = None
    note: str = ""


def read_address(text: str) -> Address | None:
    """The address in ``text``: a port, brackets and a zone are cut, IPv4 inside IPv6 becomes IPv4; else ``None``."""
    text = text.strip()
    return _read_address(text) if text and len(text) <= _MAX_CHARS else None


# only short texts come here: what a stranger sends must not fill the memory
@lru_cache(maxsize=4096)
def _read_address(text: str) -> Address | None:
    if text[0] == "[":
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not _is_port(rest)):
            return None
        text = host
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_port(text: str) -> bool:
    return len(text) <= 6 and text[0] == ":" and text[1:].isascii() and text[1:].isdigit()


class Proxies:
    """Which proxies are trusted, and where they write the visitor's address.

    Args:
        trusted: How many proxies of one's own every request passes (0: none, the visitor connects directly), or their
            networks, such as ``["10.0.0.0/8", "unix"]``. A count is safe only if nobody can connect past them.
        header: Where they write it. ``cf-connecting-ip`` and ``x-real-ip`` hold one address.

    Raises:
        ConfigError: A count that is none, a text that is no network, or a header that nobody is trusted to write.
    """

    def __init__(self, trusted: int | Sequence[str] = 0, header: AddressHeader = "x-forwarded-for") -> None:
        if header not in get_args(AddressHeader):
            raise ConfigError(f"address_header: needs one of {', '.join(get_args(AddressHeader))}")
        self.header = header
        self._count: int | None = None
        self._networks: tuple[IPv4Network | IPv6Network, ...] = ()
        self._socket = False
        if isinstance(trusted, int):
            if isinstance(trusted, bool) or not 0 <= trusted <= _MAX_PROXIES:
                raise ConfigError(f"trusted_proxies: needs a count from 0 to {_MAX_PROXIES}, or a list of networks")
            self._count = trusted
        else:
            self._networks, self._socket = _networks(trusted)
        if header not in _LISTS and not self._anybody():
            raise ConfigError(f"address_header: {header} needs trusted_proxies, which says who may write it")

    def _anybody(self) -> bool:
        return bool(self._count or self._networks or self._socket)

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)

    def visitor(self, peer: Address | None, values: Sequence[str], *, socket: bool = False) -> Visitor:
        """Whose address it is, by who connected and the lines of the header, in their order; never raises.

        ``socket``: who connected has no address, because it came through a socket of the file system.
        """
        if not self._anybody():
            return Visitor(peer, 0)
        trusted = self._trusts(peer) if peer is not None else socket and self._socket
        if self._count is None and not trusted:
            return Visitor(peer, 0, note=UNTRUSTED if values else "")
        if self.header not in _LISTS:
            return self._single(values)
        hops = _forwarded(values) if self.header == "forwarded" else _x_forwarded_for(values)
        return self._walked(hops) if self._count is None else _counted(hops, self._count)

    def _single(self, values: Sequence[str]) -> Visitor:
        proxies = self._count or 1
        if len(values) != 1:
            return Visitor(None, proxies, note=REPEATED if values else TOO_SHORT)
        address = read_address(values[0])
        return Visitor(address, proxies, note="" if address else UNREADABLE)

    def _walked(self, hops: Sequence[Hop]) -> Visitor:
        """From the right, past every trusted proxy."""
        if not hops:
            return Visitor(None, 1, note=SILENT)
        for passed, hop in enumerate(reversed(hops), 1):
            if hop.address is None:
                return Visitor(None, passed, hop, UNREADABLE)
            if not self._trusts(hop.address):
                return Visitor(hop.address, passed, hop)
        return Visitor(hops[0].address, len(hops), hops[0])

    def __repr__(self) -> str:
        trusted = self._count if self._count is not None else [*map(str, self._networks)]
        return f"Proxies({trusted!r}, header={self.header!r})"


def _counted(hops: Sequence[Hop], count: int) -> Visitor:
    if len(hops) < count:
        return Visitor(None, 0, note=TOO_SHORT)
    hop = hops[-count]
    return Visitor(hop.address, count, hop, "" if hop.address else UNREADABLE)


def _networks(trusted: Sequence[str]) -> tuple[tuple[IPv4Network | IPv6Network, ...], bool]:
    if isinstance(trusted, (str, bytes)):
        raise ConfigError("trusted_proxies: needs a count or a list of networks, such as ['10.0.0.0/8']")
    found: list[IPv4Network | IPv6Network] = []
    socket = False
    for text in trusted:
        if text == UNIX_SOCKET:
            socket = True
            continue
        try:
            found.append(ip_network(text, strict=False))
        except (ValueError, TypeError):
            raise ConfigError(
                "trusted_proxies: an entry is no address and no network; write them like '10.0.0.0/8', '2001:db8::/32' "
                "or 'unix' for whoever connects through a socket of this machine"
            ) from None
    return tuple(found), socket


def _x_forwarded_for(values: Sequence[str]) -> list[Hop]:
    # empty elements of a list are none (RFC 9110, 5.6.1)
    return [Hop(read_address(part)) for value in values for part in value.split(",") if part.strip()]


#: A token or a quoted text of RFC 7239 after its name.
_PAIR: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;]*))")
#: Tolerated around a pair. They are passed on their own: within the pattern of a pair, a line of thousands of blanks
#: would be read anew from each of them.
_BLANKS: Final = re.compile(r"\s*")
_ESCAPE: Final = re.compile(r"\\(.)").sub


def _forwarded(values: Sequence[str]) -> list[Hop]:
    """The elements of ``Forwarded``; what stands before one that cannot be read is lost, too."""
    hops: list[Hop] = []
    for value in values:
        elements = _elements(value)
        # where a broken element ends cannot be known: nothing that stands before it is believed
        hops = [Hop(None)] if elements is None else hops + [_hop(pairs) for pairs in elements if pairs]
    return hops


def _elements(value: str) -> list[dict[str, str]] | None:
    """The pairs of each element of one line; ``None`` if it is broken. Empty elements are none (RFC 9110, 5.6.1)."""
    elements: list[dict[str, str]] = [{}]
    place = 0
    while place < len(value):
        place = _after_blanks(value, place)
        match = _PAIR.match(value, place)
        if match is not None:
            elements[-1].setdefault(match[1].lower(), match[3] if match[2] is None else _ESCAPE(r"\1", match[2]))
            place = _after_blanks(value, match.end())
        sign = value[place : place + 1]
        if sign == ",":
            elements.append({})
        elif sign not in (";", ""):
            return None
        place += 1
    return elements


def _after_blanks(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    return match.end() if match else place


def _hop(pairs: Mapping[str, str]) -> Hop:
    return Hop(read_address(pairs.get("for", "")), pairs.get("proto", ""), pairs.get("host", ""))
