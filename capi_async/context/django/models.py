"""The table of contexts."""

from __future__ import annotations

from django.db import models

from capi_async.context.stores.base import MAX_KEY_CHARS


class AbstractStoredContext(models.Model):  # type: ignore[misc]  # Django has no types
    """For a model of your own: add fields, such as a foreign key to the order, and give it to the store.

    Attributes:
        key: The id of an order.
        text: What ``RequestContext.dump()`` gave.
        expires: From then on it is as if it were not there.
    """

    key = models.CharField(primary_key=True, max_length=MAX_KEY_CHARS)
    text = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        """No table of its own."""

        abstract = True

    def __str__(self) -> str:
        return f"context of {self.key}"


class StoredContext(AbstractStoredContext):
    """The context of a visitor who ordered."""
