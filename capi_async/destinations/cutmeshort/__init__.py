"""CutMeShort: leads and sales of short-link visitors."""

from capi_async.destinations.cutmeshort.destination import CutMeShort

__all__ = ["CutMeShort"]
