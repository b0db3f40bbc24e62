"""The cookies that a response sets: Meta's, and the one that remembers clicks and when they were first seen.

Sources, read 2026-11: Meta, .../conversions-api/parameters/fbp-and-fbc: ``fb.<subdomain index>.<milliseconds>.<id>``,
kept for 90 days; the index is 0 for a cookie on ``com``, 1 on ``example.com``, 2 on ``www.example.com``.
"""

from __future__ import annotations

import ipaddress
import secrets
from datetime import datetime
from typing import Final

from msgspec import Struct

from capi_async.context.settings import CLICK_DAYS

#: Seconds for which a browser keeps these cookies.
MAX_AGE_S: Final = CLICK_DAYS * 86_400
#: Meta's own builder draws the random part of ``_fbp`` from this range.
_FBP_RANGE: Final = 2_147_483_648


class Cookie(Struct, frozen=True, kw_only=True, gc=False):
    """A cookie to set; its repr holds no value.

    Attributes:
        domain: ``None``: for the host that sets it.
        http_only: Hidden from scripts. Meta's cookies are not: its tag reads them.
        max_age_s: Seconds.
    """

    name: str
    value: str
    domain: str | None = None
    path: str = "/"
    max_age_s: int = MAX_AGE_S
    secure: bool = False
    http_only: bool = False
    same_site: str = "Lax"

    def header(self) -> str:
        """The value of a ``Set-Cookie`` header."""
        parts = [f"{self.name}={self.value}", f"Max-Age={self.max_age_s}", f"Path={self.path}"]
        parts += [f"Domain={self.domain}"] if self.domain else []
        parts += ["Secure"] if self.secure else []
        parts += ["HttpOnly"] if self.http_only else []
        return "; ".join([*parts, f"SameSite={self.same_site}"])

    def __repr__(self) -> str:
        return f"Cookie({self.name!r}, domain={self.domain!r})"


def domain_for(host: str, wanted: str | None) -> str | None:
    """The domain that a cookie of this host may name: the wanted one, if the host is it or lies below it."""
    if wanted is not None and (host == wanted or host.endswith(f".{wanted}")):
        return wanted
    return None


def subdomain_index(host: str) -> int:
    """Meta's index of the host or domain that holds a cookie: its points; 1 for what has no name."""
    if not host or host.startswith("["):
        return 1
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return min(host.strip(".").count("."), 9)
    return 1


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970, exactly."""
    return int(at.timestamp()) * 1_000 + at.microsecond // 1_000


def meta_click(index: int, at: datetime, fbclid: str) -> str:
    """The value of ``_fbc`` for a click that was first seen at ``at``."""
    return f"fb.{index}.{milliseconds(at)}.{fbclid}"


def meta_browser(index: int, at: datetime) -> str:
    """A new value of ``_fbp``."""
    return f"fb.{index}.{milliseconds(at)}.{secrets.randbelow(_FBP_RANGE)}"
