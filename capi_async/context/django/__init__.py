"""A Django app: the model that keeps contexts, its store, and template tags. Needs the extra ``django``.

INSTALLED_APPS = [..., "capi_async.context.django"]
# manage.py migrate

from capi_async.context.django.store import DjangoContextStore
await DjangoContextStore().put(order.id, context)
"""
