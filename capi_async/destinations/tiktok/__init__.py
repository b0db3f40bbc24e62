"""TikTok: Events API 2.0, and the legacy pixel endpoints."""

from capi_async.destinations.tiktok.destination import TikTok
from capi_async.destinations.tiktok.pixel import TikTokPixel

__all__ = ["TikTok", "TikTokPixel"]
