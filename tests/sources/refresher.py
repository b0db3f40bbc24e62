"""A process that calls a shop through tokens which other processes refresh too; run by the tests.

Reads its settings as JSON from standard input, waits for a line, makes its calls, and prints how they ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sources.tiktok_shop import EncryptedFileTokens, Shop, TikTokShop, TikTokShopAPIError


async def main(settings: dict[str, Any]) -> None:
    """Call at the same moment as the other processes, twice."""
    shop = TikTokShop(
        APP_KEY,
        APP_SECRET,
        tokens=EncryptedFileTokens(settings["path"], settings["key"]),
        shop=Shop(id=settings["shop_id"], cipher=settings["cipher"]),
        base_url=settings["url"],
        backoff_s=0.001,
    )
    async with shop:
        await shop.tokens()
        _say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        ends: list[Any] = await asyncio.gather(
            *(shop.get_orders(page_size=1) for _ in range(3)), return_exceptions=True
        )
        _say(json.dumps([str(end) if isinstance(end, TikTokShopAPIError) else "ok" for end in ends]))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
