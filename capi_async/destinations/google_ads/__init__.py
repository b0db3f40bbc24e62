"""Google Ads conversions through the Data Manager API."""

from capi_async.destinations.google_ads.destination import GoogleAds

__all__ = ["GoogleAds"]
