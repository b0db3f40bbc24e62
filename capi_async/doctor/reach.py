"""The way to a platform: name, connection, certificate, proxy, and how far the clocks are apart."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from capi_async.clock import Clock
from capi_async.doctor.findings import Finding
from capi_async.errors import TransportError
from capi_async.outcome import http_date
from capi_async.spec import Destination, Request, Transport, is_loopback

_TIMEOUT_S: Final = 10.0
#: Platforms refuse events that are minutes ahead of their clock, and signatures and tokens depend on it.
_SKEW_WARNING_S: Final = 30.0
_SKEW_FAILURE_S: Final = 300.0
#: What a transport error's kind means, and what to do about it.
_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "dns": ("the host's name is not found", "check base_url, and the DNS of this machine or container"),
    "connect": ("nothing answers at that address", "check base_url, firewall and proxy (outgoing port 443)"),
    "tls": (
        "the certificate is not trusted, or TLS fails",
        "look for a proxy that opens TLS, give its authority by Client(ssl=...), and check this machine's clock",
    ),
    "timeout": ("no answer in time", "check firewall and proxy; the connection is dropped without a word"),
    "reset": ("the connection was cut", "check firewall and proxy"),
    "protocol": ("what answers is not HTTP", "check base_url: another service listens there"),
    "session": ("the client session is closed", "keep it open for as long as the client lives"),
}


async def reach(destination: Destination, transport: Transport, clock: Clock, *, trust_env: bool) -> list[Finding]:
    """Ask for the platform's address, without any credential; whatever comes back, it was reached."""
    name, host = destination.name, urlsplit(destination.base_url).netloc
    found = list(_proxy(destination, trust_env))
    before, started = clock.wall(), clock.monotonic()
    try:
        answer = await transport.send(Request("GET", f"{destination.base_url}/", {}), timeout_s=_TIMEOUT_S)
    except TransportError as error:
        text, fix = _FAULTS.get(error.kind, (f"no answer ({error.kind})", "check the network"))
        return [*found, Finding(name, "reach", "failure", f"{host}: {error.why or text}", fix)]
    took_s = clock.monotonic() - started
    found.append(Finding(name, "reach", "ok", f"{host} answers in {took_s * 1000:.0f} ms"))
    found.append(_skew(name, answer.headers.get("date", ""), before + took_s / 2))
    return found


def _skew(name: str, date: str, now: float) -> Finding:
    theirs = http_date(date)
    if theirs is None:
        return Finding(name, "clock", "note", "the answer states no time", "check that this machine's clock is set")
    # a Date has whole seconds
    ahead_s = now - theirs - 0.5
    if abs(ahead_s) < _SKEW_WARNING_S:
        return Finding(name, "clock", "ok", "agrees with the platform's")
    text = f"this machine's clock is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the platform's"
    fix = "set it by NTP (timedatectl set-ntp true); events in the future are refused"
    return Finding(name, "clock", "failure" if abs(ahead_s) > _SKEW_FAILURE_S else "warning", text, fix)


def _proxy(destination: Destination, trust_env: bool) -> Iterator[Finding]:
    parts = urlsplit(destination.base_url)
    host = parts.hostname or ""
    proxy = (
        "" if is_loopback(host) or urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(parts.scheme)
    )
    if not proxy:
        return
    # an address may hold a password
    there = urlsplit(proxy).hostname or "a proxy"
    if trust_env:
        yield Finding(destination.name, "proxy", "ok", f"by {there}, as the environment says")
    else:
        yield Finding(
            destination.name, "proxy", "warning", f"the environment names a proxy ({there}), which is not used",
            "set trust_env = true if the network is reached by it alone",
        )  # fmt: skip
