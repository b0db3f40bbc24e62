"""What a forwarder must not forget: which orders wait, which are done, which webhooks it knows, how far polling is.

Ids, statuses and times only: nothing of a buyer is ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from capi_async.sources.tiktok_shop.orders import event_id_of

#: What became of an order: ``forwarded``: its purchase is with the client. ``never``: it will never be one.
#: ``cancelled``: its purchase is with the client, and it was cancelled later. ``void``: it was cancelled, and no
#: purchase of it is known.
Fate: TypeAlias = Literal["forwarded", "never", "cancelled", "void"]

#: Webhooks are remembered longer than their tolerance lets them come.
SEEN_S: Final = 4 * 86_400.0
#: Orders are remembered longer than any platform takes an event of theirs.
DONE_S: Final = 180 * 86_400.0
MAX_SEEN: Final = 1_000_000


class Waiting(Struct, frozen=True):
    """An order that is to be read and forwarded.

    Attributes:
        since: Seconds since the epoch at which it was taken in.
        tries: Attempts so far.
        asks: How often it was taken in. News that come while it is dealt with make it stay.
        changed_at: Seconds since the epoch of the newest change that was heard of; 0 if none told. Detail that is older
            comes from a copy of the shop's data that lags behind.
    """

    shop_id: str
    order_id: str
    since: float
    tries: int = 0
    asks: int = 0
    changed_at: int = 0

    @property
    def event_id(self) -> str:
        """Of its purchase."""
        return event_id_of(self.shop_id, self.order_id)


class ForwarderState(Protocol):
    """The memory of one forwarder, or of several on one host. All or nothing, call by call."""

    #: Whether it outlives the process.
    durable: bool

    async def open(self) -> None:
        """Get ready."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    async def begin(self, shop_id: str, at: float) -> float:
        """When this shop was first forwarded from: ``at``, unless an earlier call has said so already."""
        ...

    async def begun(self, shop_id: str) -> float | None:
        """When this shop was first forwarded from; ``None`` if this state knows nothing of it."""
        ...

    async def reach_back(self, shop_id: str, to: float) -> bool:
        """Let forwarding have begun as early as ``to``, and polling begin there again.

        What was dropped is judged anew, what was forwarded stays forwarded.

        Returns:
            False if forwarding began as early as that before; then nothing is changed.
        """
        ...

    async def take_in(
        self,
        keys: Sequence[str],
        orders: Sequence[tuple[str, str]],
        *,
        at: float,
        max_waiting: int,
        changed_at: Mapping[str, int] | None = None,
    ) -> bool | None:
        """Remember a webhook's keys and let its orders (shop, order) wait; on return it is as durable as it gets.

        Orders that are done are left out; those that wait already are due now, also if the keys are known.

        Args:
            orders: All of one shop.
            max_waiting: Orders of that shop that may wait.
            changed_at: Order id to when it last changed, in seconds since the epoch.

        Returns:
            False if one of the keys is known already; ``None`` if too many wait, and nothing was kept.
        """
        ...

    async def waiting(self, shop_ids: Sequence[str], *, now: float, limit: int) -> list[Waiting]:
        """Orders of these shops whose time has come, the longest due first."""
        ...

    async def next_due(self, shop_ids: Sequence[str]) -> float | None:
        """When the next order of these shops is due, in seconds since the epoch; ``None`` if none waits."""
        ...

    async def postpone(self, orders: Sequence[Waiting], *, until: float) -> None:
        """Let these wait until then, one attempt later; those that were taken in again meanwhile are due now."""
        ...

    async def hold(self, shop_id: str, *, until: float) -> None:
        """No order of this shop is due before ``until``; those that are taken in again are."""
        ...

    async def let_go(self, orders: Sequence[Waiting]) -> None:
        """These wait no more, unless taken in again meanwhile. Nothing is remembered of them: news bring them back."""
        ...

    async def finish(self, orders: Sequence[Waiting], fate: Fate, *, at: float) -> list[str]:
        """These wait no more, and what became of them is remembered.

        Returns:
            Ids of the events that are ``forwarded`` now and whose order was cancelled meanwhile.
        """
        ...

    async def cancel(self, orders: Sequence[tuple[str, str]], *, at: float) -> list[str]:
        """These orders (shop, order) were cancelled.

        Returns:
            Ids of the events of those that had been forwarded; each is told once.
        """
        ...

    async def done(self, event_ids: Sequence[str]) -> dict[str, Fate]:
        """What became of the events of these ids, as far as it is remembered."""
        ...

    async def cursor(self, shop_id: str) -> float | None:
        """Up to when polling has seen the shop's updates, in seconds since the epoch."""
        ...

    async def advance(self, shop_id: str, to: float) -> None:
        """Polling has seen everything up to ``to``; it never goes back."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Nobody else, in any process, forwards while this is held. It ends with the process, however that ends."""
        ...
