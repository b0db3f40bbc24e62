"""Names of the spool's keys in Redis.

All of them begin with the prefix in braces. That is a hash tag: a Cluster keeps all keys with the same tag in one slot.
:mod:`capi_async.spool.redis.lua` says what each key holds.
"""

from __future__ import annotations

from msgspec import Struct


class DestinationKeys(Struct, frozen=True):
    """Keys of one destination."""

    stream: str
    notices: str
    ledger: str
    states: str
    blocked: str
    order_keys: str
    recalls: str
    recall_answers: str
    sent: str


#: Last part of each name, in the order of the fields above. These names are stored: a change would lose what waits.
_STORED_NAMES = ("stream", "bell", "ledger", "state", "wait", "holders", "stops", "stopped", "sent")


class Keys:
    """Keys of one spool.

    Args:
        prefix: As in :class:`~capi_async.spool.redis.options.Options`.
    """

    def __init__(self, prefix: str) -> None:
        self._base = base = f"{{{prefix}}}:"
        self._by_destination: dict[str, DestinationKeys] = {}
        self.destinations = base + "names"
        self.consumers = base + "workers"
        self.dead_letters = base + "letters"
        self.dead_letter_data = base + "letter-data"
        self.throttling = base + "news"
        self.rate = base + "rate:"
        self.board = base + "board"

    def of(self, destination: str) -> DestinationKeys:
        """The keys of a destination."""
        keys = self._by_destination.get(destination)
        if keys is None:
            base = f"{self._base}to:{destination}:"
            keys = self._by_destination[destination] = DestinationKeys(*(base + name for name in _STORED_NAMES))
        return keys

    def append_number(self, consumer: str) -> str:
        """The number of a consumer's last append; the same name with ``:ids`` holds the result of that append."""
        return f"{self._base}append:{consumer}"

    def result(self, consumer: str, number: int) -> str:
        """The result of one call of a consumer, which has this number."""
        return f"{self._base}result:{consumer}:{number}"

    def last_change(self, consumer: str, destination: str) -> str:
        """The number of the last change that a consumer stored for a destination, and the result of that change."""
        return f"{self._base}saved:{consumer}:{destination}"
