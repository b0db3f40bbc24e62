"""The settings in a Redis spool's address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

from capi_async.errors import ConfigError
from capi_async.spool.address import READERS, StorageOptions, number, secret, whole_number

Kind: TypeAlias = Literal["single", "sentinel", "cluster"]

#: Scheme to (kind of server, TLS).
SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}

_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
#: ``scheme://authority/path?query``. Not ``urlsplit``: from 3.11.10, 3.12.4 and 3.13.0rc1 on it refuses brackets
#: anywhere but at the beginning of the host, and an address of several hosts has them in the middle.
_ADDRESS: Final = re.compile(r"([A-Za-z+]+)://([^/?]*)([^?]*)(?:\?(.*))?", re.DOTALL)
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\[\],@/]+)?)\]|([^\[\]:,@/\s]+))(?::([0-9]{1,5}))?")
_TLS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")


class Options(StorageOptions, frozen=True, kw_only=True):
    """Where a Redis spool is, and how it is used; see also :class:`~capi_async.spool.address.StorageOptions`.

    Attributes:
        hosts: Host and port; several for Sentinel and Cluster.
        service: Name of the master that the Sentinels watch.
        prefix: Begins the name of every key, in braces, so that a Cluster keeps all keys of a spool in one slot.
        lease_s: Seconds without a heartbeat after which other processes take over what a worker holds.
        replicas: Number of replicas that must have an event before it is accepted (``WAIT``).
        patience_s: Seconds for which a call is repeated while Redis cannot be reached, before it raises.
        tls: Further settings of the connection, as redis-py names them.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    db: int = 0
    service: str = ""
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    secure: bool = False
    tls: dict[str, Any] = {}
    prefix: str = "capi"
    lease_s: float = 15.0
    replicas: int = 0
    patience_s: float = 3.0

    @property
    def place(self) -> str:
        """The hosts as text for people, without credentials."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)

    def __repr__(self) -> str:
        return f"Options({self.kind}, {self.place}, prefix={self.prefix!r})"


def parse(url: str) -> Options:
    """Read ``redis://user:password@host:6379/0?prefix=shop`` and its relatives.

    ``rediss://`` is TLS, ``redis+sentinel://host:26379,host2:26379/mymaster/0`` asks Sentinels for the master,
    ``redis+cluster://host:6379,host2:6379`` is a Cluster. An IPv6 address stands in brackets: ``[::1]:6379``.
    ``password``, ``sentinel_password`` and ``keys`` behind the question mark name where a secret is: ``env:NAME`` or
    ``file:/path``. In a user, a password or a name, ``/``, ``?``, ``#``, ``:``, ``@`` and ``%`` are written ``%2F`` and
    so on.

    Raises:
        ConfigError: The address is malformed; the text says how it should look, and never repeats a credential.
    """
    match = _ADDRESS.fullmatch(url.strip())
    if match is None or match[1].lower() not in SCHEMES:
        raise ConfigError(f"spool: write {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if "#" in url:
        # a URL parser would drop what follows, and a password would silently lose its end
        raise ConfigError("spool: write %23 for a # in the address")
    kind, secure = SCHEMES[match[1].lower()]
    credentials, _, authority = match[2].rpartition("@")
    username, _, password = credentials.partition(":")
    service, db = _path(kind, match[3])
    settings = {"password": unquote(password) or None, **_query(match[4] or "", secure=secure)}
    if kind == "cluster" and settings.get("replicas"):
        raise ConfigError("spool: replicas=... is not offered on a Cluster")
    hosts = _hosts(authority, 26379 if kind == "sentinel" else 6379)
    if kind == "single" and len(hosts) > 1:
        raise ConfigError(
            "spool: several hosts are Sentinels or a Cluster: write redis+sentinel:// or redis+cluster://"
        )
    return Options(
        kind=kind, hosts=hosts, db=db, service=service, username=unquote(username) or None, secure=secure, **settings
    )


def _query(query: str, *, secure: bool) -> dict[str, Any]:
    """The settings behind the question mark."""
    settings: dict[str, Any] = {}
    tls: dict[str, Any] = {}
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option in _READERS:
            settings[option] = _READERS[option](option, value)
        elif option in _TLS and secure:
            tls[option] = value.lower() not in ("0", "false", "no") if option == "ssl_check_hostname" else value
        else:
            raise ConfigError(
                f"spool: there is no {option}=...; there are prefix, lease_s, patience_s, replicas, password=env:NAME, "
                "keys=env:NAME, plain=accept, old_seals=accept, dead_days, dead_max, sentinel_username, "
                f"sentinel_password{', ' if secure else ''}{', '.join(_TLS) if secure else ''}"
            )
    return {**settings, "tls": tls}


def _path(kind: Kind, path: str) -> tuple[str, int]:
    """The name of the Sentinels' master, and the number of the database."""
    names = [unquote(name) for name in path.split("/") if name]
    service = ""
    if kind == "sentinel":
        if not names:
            raise ConfigError("spool: write redis+sentinel://host:26379/NAME-OF-THE-MASTER")
        service = names.pop(0)
    if kind == "cluster" and names not in ([], ["0"]):
        raise ConfigError("spool: a Cluster has no numbered databases")
    if len(names) > 1 or (names and not names[0].isdecimal()):
        raise ConfigError("spool: the path is the number of a database, such as redis://host:6379/0")
    return service, int(names[0]) if names else 0


def _hosts(authority: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for text in authority.split(","):
        match = _HOST.fullmatch(text)
        if match is None or (match[1] and not _is_ipv6(unquote(match[1]))):
            raise ConfigError("spool: needs a host, such as redis://host:6379/0 (IPv6: redis://[::1]:6379/0)")
        found = int(match[3] or port)
        if not 0 < found < 65_536:
            raise ConfigError("spool: a port is a number from 1 to 65535")
        hosts.append((unquote(match[1]) if match[1] else match[2], found))
    return tuple(hosts)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _text(_option: str, value: str) -> str:
    return value


def _prefix(_option: str, value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise ConfigError("spool: prefix is up to 64 letters, digits and . _ : -")
    return value


def _lease_s(option: str, value: str) -> float:
    seconds = number(option, value)
    if seconds < 0.2:
        raise ConfigError("spool: lease_s must be at least 0.2 seconds")
    return seconds


#: Option to the function that reads and checks its value.
_READERS: Final[dict[str, Callable[[str, str], Any]]] = {
    **READERS,
    "prefix": _prefix,
    "lease_s": _lease_s,
    "patience_s": number,
    "replicas": whole_number,
    "password": secret,
    "sentinel_username": _text,
    "sentinel_password": secret,
}
