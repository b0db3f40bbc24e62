"""Which hosts are the real platforms', for what must not reach them: tests, and clients in the sandbox's mode."""

from __future__ import annotations

from functools import cache
from typing import Final
from urllib.parse import urlsplit

from capi_async.destinations.registry import rows

#: Hosts of TikTok Shop, which is a source and has no row among the destinations.
_SHOP_DOMAINS: Final = ("tiktok-shops.com", "tiktokglobalshop.com", "tiktokshop.com")
#: Domains of which a platform's API has one host, and others' services the rest.
_SHARED_DOMAINS: Final = frozenset({"googleapis.com", "amazonaws.com", "azure.com"})


def is_platform(host: str) -> bool:
    """Whether a host belongs to a platform that an installed destination, or TikTok Shop, speaks to."""
    host = host.lower().rstrip(".")  # a name with the root's dot at its end is the same name
    return any(host == domain or host.endswith(f".{domain}") for domain in _domains())


@cache
def _domains() -> frozenset[str]:
    found = set(_SHOP_DOMAINS)
    for row in rows().values():
        host = urlsplit(row.load().default_base_url).hostname or ""
        parent = ".".join(host.split(".")[-2:])
        # a regional host of the same platform is as real
        found.add(host if parent in _SHARED_DOMAINS else parent)
    return frozenset(found - {""})
