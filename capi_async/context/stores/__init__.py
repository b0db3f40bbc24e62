"""Stores that keep a visitor's context with an order until the payment is known.

    store = SqliteContextStore("contexts.sqlite3", keys=[key])
    await store.put(order.id, context)          # while the visitor is there
    context = await store.take(order.id)        # in the payment provider's webhook, perhaps tomorrow

Each backend is a module of its own and needs its own extra: :mod:`~capi_async.context.stores.sqlite` (none),
:mod:`~capi_async.context.stores.redis` (``redis``), :mod:`capi_async.context.django` (``django``).
"""

from capi_async.context.stores.base import KEEP_S, ContextStore

__all__ = ["KEEP_S", "ContextStore"]
