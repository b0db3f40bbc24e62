"""A store of contexts in the project's own database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error
from django.utils import timezone

from capi_async.context.context import RequestContext
from capi_async.context.stores.base import KEEP_S, checked_key, checked_keys, checked_time
from capi_async.errors import ContextError


class DjangoContextStore:
    """A :class:`~capi_async.context.stores.ContextStore` in a Django model.

    ``put``, ``get``, ``take`` and ``forget`` have forms for views that are not async: ``put_now`` and so on.

    Args:
        model: With the fields of :class:`~capi_async.context.django.models.AbstractStoredContext`; usually not given.
        using: The database's name in ``DATABASES``; default: what the project's routers say.
        keys: What is stored is encrypted with the first; all of them open. Needs the extra ``encryption``.
    """

    def __init__(self, model: Any = None, *, using: str | None = None, keys: Sequence[str] = ()) -> None:
        if model is None:
            from capi_async.context.django.models import StoredContext as model  # noqa: N813
        self._rows = model._default_manager.using(using) if using else model._default_manager
        self._keys = checked_keys(keys)

    def put_now(self, key: str, context: RequestContext, *, keep_s: float = KEEP_S) -> None:
        """As :meth:`ContextStore.put`."""
        until = timezone.now() + timedelta(seconds=checked_time(keep_s))
        given = {"text": context.dump(keys=self._keys), "expires": until}
        try:
            self._rows.update_or_create(key=checked_key(key), defaults=given)
        except Error as error:
            raise _failed(error) from error

    def get_now(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.get`."""
        return self._loaded(self._text(key))

    def take_now(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.take`."""
        text = self._text(key)
        # of several that read the row, one deletes it
        return self._loaded(text) if text is not None and self._deleted(key, text=text) else None

    def forget_now(self, key: str) -> bool:
        """As :meth:`ContextStore.forget`."""
        return self._deleted(key)

    def purge_now(self) -> int:
        """Erase what is too old, such as once a day; how many there were."""
        try:
            return int(self._rows.filter(expires__lte=timezone.now()).delete()[0])
        except Error as error:
            raise _failed(error) from error

    async def put(self, key: str, context: RequestContext, *, keep_s: float = KEEP_S) -> None:
        """As :meth:`ContextStore.put`."""
        await sync_to_async(self.put_now)(key, context, keep_s=keep_s)

    async def get(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.get`."""
        found: RequestContext | None = await sync_to_async(self.get_now)(key)
        return found

    async def take(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.take`."""
        found: RequestContext | None = await sync_to_async(self.take_now)(key)
        return found

    async def forget(self, key: str) -> bool:
        """As :meth:`ContextStore.forget`."""
        found: bool = await sync_to_async(self.forget_now)(key)
        return found

    async def aclose(self) -> None:
        """Nothing: connections are Django's."""

    def _text(self, key: str) -> str | None:
        try:
            row = (
                self._rows.filter(key=checked_key(key), expires__gt=timezone.now())
                .values_list("text", flat=True)
                .first()
            )
        except Error as error:
            raise _failed(error) from error
        return None if row is None else str(row)

    def _deleted(self, key: str, **more: str) -> bool:
        try:
            return bool(self._rows.filter(key=checked_key(key), **more).delete()[0])
        except Error as error:
            raise _failed(error) from error

    def _loaded(self, text: str | None) -> RequestContext | None:
        return None if text is None else RequestContext.load(text, keys=self._keys)


def _failed(error: Exception) -> ContextError:
    return ContextError(f"context store: the database failed ({type(error).__name__}); was 'manage.py migrate' run?")
