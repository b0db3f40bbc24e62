"""A client connected to a fresh sandbox, and the sandbox's own side of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, SERVICE_ID, Grant
from capi_async.sandbox.platforms.tiktok_shop import Shop as SandboxShop
from capi_async.sandbox.platforms.tiktok_shop import TikTokShop as Platform
from capi_async.sources.tiktok_shop import Shop, TikTokShop, TokenSet

#: So long that nobody notices, instead of the seconds that the platform asks for.
BACKOFF_S = 0.001


class Connected(NamedTuple):
    """Both ends.

    Attributes:
        shop: The client, for the first (US) shop.
        platform: What the platform knows, and how to spoil it.
        sandbox: The server.
    """

    shop: TikTokShop
    platform: Platform
    sandbox: Sandbox

    @property
    def codes(self) -> list[int]:
        """Codes of all answers, in order."""
        return [call.code for call in self.platform.calls]

    @property
    def paths(self) -> list[str]:
        """Method and path of all calls, in order."""
        return [f"{call.method} {call.path}" for call in self.platform.calls]


def token_set(grant: Grant) -> TokenSet:
    """A grant as the token host would have told it."""
    return TokenSet(
        access_token=grant.access_token,
        refresh_token=grant.refresh_token,
        access_expires_at=int(grant.access_expires),
        refresh_expires_at=int(grant.refresh_expires),
        open_id=grant.owner,
        user_type=grant.user_type,
        granted_scopes=grant.scopes,
    )


def as_shop(known: SandboxShop) -> Shop:
    """The sandbox's shop as the client knows shops."""
    return Shop(id=known.id, cipher=known.cipher, name=known.name, region=known.region)


@asynccontextmanager
async def connected(
    *,
    creator: bool = False,
    legacy: bool = False,
    region: str = "US",
    readings: tuple[str, ...] = (),
    sandbox_clock: Any = None,
    limited: bool = False,
    **settings: Any,
) -> AsyncIterator[Connected]:
    """A client with tokens of its own, for one shop of a sandbox.

    Args:
        creator: With a creator's tokens.
        legacy: The sandbox also speaks the older contract to it.
        limited: Keep the sandbox's request rate.
    """
    options: dict[str, Any] = {} if sandbox_clock is None else {"clock": sandbox_clock}
    async with Sandbox(readings={"tiktok_shop": readings}, **options) as sandbox:
        platform, url = sandbox.tiktok_shop, sandbox.url("tiktok_shop")
        if not limited:
            sandbox.set_rate("tiktok_shop", None)
        defaults = {
            "tokens": token_set(platform.grant(creator=creator)),
            "shop": as_shop(platform.shop(region)),
            "service_id": SERVICE_ID,
            "base_url": url,
            "legacy_base_url": url if legacy else None,
            "requests_per_s": 1_000,
            "backoff_s": BACKOFF_S,
        }
        async with TikTokShop(APP_KEY, APP_SECRET, **{**defaults, **settings}) as shop:
            yield Connected(shop, platform, sandbox)
