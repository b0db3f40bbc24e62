"""What threads use at the same moment is ready before the first of them comes."""

from __future__ import annotations

import subprocess
import sys

_FIRST_EVENTS = """
import sys
import msgspec
from capi_async import Event, Item
from capi_async.destinations.cutmeshort.wire import CutMeShortHead, CutMeShortLead, CutMeShortSale
from capi_async.destinations.linkedin.wire import LinkedInEvent, LinkedInHead
from capi_async.destinations.meta.wire import MetaHead
from capi_async.destinations.pinterest.destination import PinterestHead
from capi_async.destinations.pinterest.wire import PinterestApp, PinterestDevice, PinterestEvent
from capi_async.destinations.snap.wire import SnapHead, SnapV2Head
from capi_async.destinations.tiktok.wire import PixelHead
from capi_async.sources.tiktok_shop import client, connection, events, oauth, token_file
from capi_async.sources.tiktok_shop.figures import Performance, Post, ProductPerformance, Video
from capi_async.sources.tiktok_shop.models import (
    Cancellation, Inventory, Order, Product, Return, Shop, TokenSet
)

learnt = []

def watch(frame, what, _argument):
    if what == "call" and frame.f_code.co_name == "get_class_annotations":
        learnt.append(dict(frame.f_locals))

class Fresh(msgspec.Struct):
    one: int

sys.setprofile(watch)
Event("purchase", value=1, currency="EUR", items=(Item(id="1"),))
Event.from_dict({"name": "purchase"})
Event.from_json(b'{"name": "purchase"}')
for kind in (
    CutMeShortHead, CutMeShortLead, CutMeShortSale, LinkedInEvent, LinkedInHead, MetaHead, PinterestHead,
    PinterestApp, PinterestDevice, PinterestEvent, SnapHead, SnapV2Head, PixelHead,
    Cancellation, Inventory, Order, Performance, Post, Product, ProductPerformance, Return, Shop, TokenSet, Video,
    client._WebhookSettings, connection._Envelope, oauth._Envelope, oauth._Granted, events._Envelope,
    *(data for _, data in events.TOPICS.values()),
):
    msgspec.json.Decoder(kind)
before = list(learnt)
msgspec.json.Decoder(Fresh)
sys.setprofile(None)
assert not before, before
assert len(learnt) == 1, "this would see nothing"
"""


def test_the_first_event_of_a_thread_finds_its_types_ready() -> None:
    """msgspec learns a type when it is first read, and two threads that have it do so at once crash the process."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_EVENTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
