"""What would each platform be sent, and why not? Offline: nothing leaves, and no sandbox is needed.

Run it with ``python examples/06_explain.py``.

Digests are shown as they travel; clear personal values are masked, so the output may go into a ticket.
"""

from __future__ import annotations

import json

from capi_async import ClickIds, Client, Event, Page, User
from capi_async.destinations import CutMeShort, Meta, Snap

client = Client(
    [
        Snap(pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100", access_token="not-used-here"),
        Meta(pixel_id="100000000000001", access_token="not-used-here"),
        CutMeShort(token="not-used-here"),
    ]
)

event = Event(
    "add_to_cart",
    user=User(
        email="Ada.Lovelace@shop.example",
        phone="7700 900123",  # no country code, and nothing says which country: refused, never guessed
        city="London",
        ip="203.0.113.7",
        user_agent="Mozilla/5.0 (X11; Linux x86_64)",
    ),
    click=ClickIds(sc_click_id="click-1", fbp="fb.1.1700000000000.1234567890"),
    value="24.13",
    currency="GBP",
    page=Page(url="https://shop.example/mugs?utm_source=snap&email=ada@shop.example"),
)

for name, explained in client.explain(event).items():
    print(f"== {name}: {'would be sent' if explained.verdict == 'pending' else explained.verdict}")
    if explained.reason:
        print(f"   because: {explained.reason} ({explained.field}); {explained.fix or 'nothing to do'}")
    print(f"   identifiers used: {', '.join(explained.used) or 'none'}")
    print(f"   no use for: {', '.join(explained.unused) or 'nothing'}")
    for field, why in explained.refused.items():
        print(f"   unreadable {field}: {why}")
    for warning in explained.warnings:
        print(f"   adjusted {warning}")
    if explained.wire is not None:
        print(json.dumps(explained.wire, indent=2, ensure_ascii=False))
