"""TikTok Shop: token host, authorize page, signed API with state, and a sender of webhooks.

Source: Partner Center documentation, copies of December 2025 and May 2026, read 2026-11.

Everything lives behind one prefix, so that ``sandbox.url("tiktok_shop")`` is the API host, the token host
(``/api/v2/token/get``, ``/api/v2/token/refresh``) and the base of the authorize links (``/open/authorize``,
``/oauth/authorize``, ``/alliance/creator/auth``) at once. Signatures are taken over the path *behind* the prefix.

Credentials: ``APP_KEY``, ``APP_SECRET``, ``SERVICE_ID``. The token ``sandbox-token`` is right for the seller's shops
and never lapses, ``sandbox-creator-token`` is a creator's; others come from the authorize page. From Python::

    shop = sandbox.tiktok_shop

    shop.shops                                   # US, JP, ID and VN of one seller, GB of another: .id .cipher .region
    shop.app.redirect_url = "http://127.0.0.1:8000/callback"
    shop.consent = "refuse"                      # next authorize: allow (default), refuse, without_state, ask (a page)
    code = shop.authorize()                      # a code, as if the seller had agreed
    grant = shop.grant(scopes=("seller.order.info",))     # tokens without the dance
    shop.expire_access(), shop.expire_refresh(), shop.revoke()   # of every grant, or of one token

    order = shop.place_order(value="59.39", paid=True)    # seen by the next search; a webhook goes out
    order = shop.place_order("JP", lines=[Line(sku_id, 2)], email=None)
    order.pay(), order.hold(), order.release(), order.ship(), order.deliver(), order.complete()
    order.cancel(), order.refund("10.00"), order.set_status("SOMETHING_NEW")

    shop.webhooks.subscribe("http://127.0.0.1:8000/hook")             # every type of every shop, official style
    shop.webhooks.spoil("forge", count=1)        # the next one; see Spoil for the kinds
    await shop.webhooks.idle()                   # until all that is due has been tried
    shop.webhooks.deliveries                     # Delivery: .body .headers .attempts .state
    shop.webhooks.replay(delivery), shop.webhooks.retry_now()
    shop.webhooks.send(5, {"product_id": "1"})   # a notification of any type

    shop.fail(36009002, status=200, count=4)     # an envelope code from the API itself, after all its checks
    shop.outage("detail", "page")                # detail or search alone: page, retired, scope, empty, down
    order.make_odd("half_character")             # as the API tells it from now on; see ``oddities`` for the kinds
    shop.calls                                   # the newest API calls: .method .path .query .body .status .code

The general faults and rates work here too; ``Fault(path="/api/v2/token")`` narrows one to a part of the paths.

Readings (``Sandbox(readings={"tiktok_shop": {...}})``): ``http_200`` (every refusal comes with HTTP 200),
``durations`` (expiries are durations), ``old_access_survives`` (a refresh leaves the old access token alive),
``reuse_revokes`` (a refresh token used again ends the authorization), ``single_use_pages`` (a page token works
exactly once; else it may be asked again until its successor has been), ``pages_by_position`` (a page begins so many
items behind the first, whatever moved meanwhile; else behind the last item of the page before), ``sparse_search``
(order search gives little more than ids).

UNVERIFIED, and what the sandbox does: a superseded refresh token is dead, and the access token with it; page tokens
live ten minutes and insist on the same filters; 10 requests a second per app and shop (the documentation names 50,
later none), beyond it 429 with 36009002; credential and gateway codes come with 4xx, codes of the business with 200;
unknown order ids are left out; quantity 0 is taken; cash on delivery has its ``paid_time`` from delivery.
"""

from capi_async.sandbox.platforms.tiktok_shop.model import APP_KEY, APP_SECRET, CREATOR_TOKEN, SERVICE_ID, Shop
from capi_async.sandbox.platforms.tiktok_shop.notifications import Delivery, Spoil
from capi_async.sandbox.platforms.tiktok_shop.oauth import App, Grant
from capi_async.sandbox.platforms.tiktok_shop.orders import Line, Order
from capi_async.sandbox.platforms.tiktok_shop.service import ApiCall, TikTokShop
from capi_async.sandbox.platforms.tiktok_shop.webhooks import Webhooks

__all__ = [
    "APP_KEY",
    "APP_SECRET",
    "CREATOR_TOKEN",
    "SERVICE_ID",
    "ApiCall",
    "App",
    "Delivery",
    "Grant",
    "Line",
    "Order",
    "Shop",
    "Spoil",
    "TikTokShop",
    "Webhooks",
]
