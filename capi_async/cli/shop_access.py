"""Which TikTok Shop a command works with: the environment's, or the sandbox's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from capi_async.errors import ConfigError
from capi_async.sandbox import TOKEN, Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sources.tiktok_shop import EncryptedFileTokens, Shop, TikTokShop, TokenSet
from capi_async.sources.tiktok_shop.client import ENV

KEY_VARIABLE: Final = "TIKTOK_SHOP_TOKENS_KEY"
DEFAULT_TOKENS: Final = Path("tiktok-shop.tokens")
#: Beyond anybody's patience: the sandbox's own token does not lapse.
_NEVER: Final = 4_000_000_000


@asynccontextmanager
async def opened_shop(tokens: Path, sandbox: Sandbox | None = None) -> AsyncIterator[TikTokShop]:
    """The app's access, by the environment and the file of tokens; or the sandbox's.

    Raises:
        ConfigError: A variable is missing or wrong.
    """
    if sandbox is not None:
        granted = TokenSet(access_token=TOKEN, refresh_token="", access_expires_at=_NEVER)
        made = TikTokShop(APP_KEY, APP_SECRET, tokens=granted, base_url=sandbox.url("tiktok_shop"))
    else:
        check_environment()
        made = TikTokShop.from_env(tokens=EncryptedFileTokens(tokens, _keys()))
    async with made:
        yield made


def check_environment() -> None:
    """Name everything that is missing at once.

    Raises:
        ConfigError: A variable is not set.
    """
    needed = (ENV["app_key"], ENV["app_secret"])
    missing = [name for name in needed if not os.environ.get(name, "").strip()]
    wanted = [" and ".join(missing)] if missing else []
    if not _keys():
        wanted.append(
            f"{KEY_VARIABLE}: tokens are kept encrypted, with 32 random bytes as URL-safe base64, as made by "
            "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
        )
    if wanted:
        raise ConfigError(f"set {', and '.join(wanted)}")


def _keys() -> list[str]:
    return os.environ.get(KEY_VARIABLE, "").replace(",", " ").split()


async def chosen_shops(app: TikTokShop, wanted: Sequence[str]) -> list[tuple[Shop, TikTokShop]]:
    """The seller's shops that are called so (by id, region or name); all of them, if none is named.

    Raises:
        ConfigError: There is no such shop.
        TikTokShopAPIError: They cannot be read.
    """
    shops = await app.get_shops()
    unknown = [name for name in wanted if not any(_is_called(shop, name) for shop in shops)]
    if unknown or not shops:
        there = ", ".join(f"{shop.id} ({shop.region})" for shop in shops) or "none"
        raise ConfigError(f"--shop: no shop {', '.join(unknown)}; the seller has {there}")
    chosen = [shop for shop in shops if not wanted or any(_is_called(shop, name) for name in wanted)]
    return [(shop, app.for_shop(shop)) for shop in chosen]


def _is_called(shop: Shop, name: str) -> bool:
    return name in (shop.id, shop.region, shop.name)


def demo_orders(sandbox: Sandbox) -> None:
    """Something to look at in a sandbox that has just begun."""
    shop = sandbox.tiktok_shop
    for region in ("US", "JP"):
        shop.place_order(region, paid=True)
        shop.place_order(region, paid=True, on_hold=True)
        shop.place_order(region)
        shop.place_order(region, paid=True).cancel()
