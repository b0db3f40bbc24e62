"""Where an authorization is kept, and how it stays alive: one refresh at a time, in this process and beside it.

A refresh kills the pair that it used, so two at once would lock the shop out. Whoever refreshes holds the store's lock,
reads the store again (another process may have been faster), and saves the new pair before it is used.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final, Protocol

import anyio

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.errors import CapiError
from capi_async.frames import bare, frameless_async
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopNetworkError,
    TokenStoreError,
)
from capi_async.sources.tiktok_shop.models import TokenSet
from capi_async.sources.tiktok_shop.oauth import TokenHost

logger = logging.getLogger(__name__)

#: An access token is renewed so long before it ends.
EARLY_S: Final = 300.0
#: After a refresh that failed while the old token is still good, the next is tried so much later.
PAUSE_S: Final = 30.0
_LOCK_POLL_S: Final = 0.005


class TokenStore(Protocol):
    """Keeps one authorization.

    Processes that share a store should also share a lock: if the store has an attribute ``lock``, it is called before
    each refresh and must give an async context manager that is held by one process at a time. Without it, two
    processes that refresh at once can lock the shop out.
    """

    async def load(self) -> TokenSet | None:
        """The pair that was saved last; ``None`` before the first authorization."""
        ...

    async def save(self, tokens: TokenSet) -> None:
        """Replace the pair as a whole; on return it is safe."""
        ...


class MemoryTokens:
    """Keeps the pair in memory, for one process and until it ends. Several clients may share it."""

    def __init__(self, tokens: TokenSet | None = None) -> None:
        self._tokens = tokens
        # clients may run in several loops, each in a thread of its own
        self._refreshing = threading.Lock()

    async def load(self) -> TokenSet | None:
        """See :meth:`TokenStore.load`."""
        return self._tokens

    async def save(self, tokens: TokenSet) -> None:
        """See :meth:`TokenStore.save`."""
        self._tokens = tokens

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Held by one client at a time: a second refresh with the same pair would lock the shop out."""
        while not self._refreshing.acquire(blocking=False):  # noqa: ASYNC110 - a loop cannot wake another
            await anyio.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            self._refreshing.release()

    def __repr__(self) -> str:
        return f"MemoryTokens({'authorized' if self._tokens else 'empty'})"


class TokenKeeper:
    """Gives out access tokens that are good, and renews them in time.

    Args:
        on_problem: Called once per refresh that failed, whether or not the old token could still be used.
    """

    def __init__(
        self,
        store: TokenStore,
        host: TokenHost,
        *,
        clock: Clock = SYSTEM_CLOCK,
        early_s: float = EARLY_S,
        on_problem: Callable[[TikTokShopAPIError | TokenStoreError], object] | None = None,
    ) -> None:
        self._store = store
        self._host = host
        self._clock = clock
        self._early_s = early_s
        self._on_problem = on_problem
        self._tokens: TokenSet | None = None
        self._unsaved = False
        self._renewing: asyncio.Task[TokenSet] | None = None
        self._not_before = 0.0
        # a refresh whose answer was lost: the pair that we have may be dead already
        self._doubtful = False
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the last refresh said that only a new authorization helps."""
        return self._ended

    @frameless_async(CapiError)
    async def tokens(self) -> TokenSet:
        """The pair, renewed if its end is near.

        Raises:
            TikTokShopAuthError: Nobody has authorized the app, or the authorization has ended.
            TikTokShopAPIError: It has to be renewed, and the token host gives no answer.
            TokenStoreError: The store failed.
        """
        tokens = self._tokens or await self._loaded()
        if self._unsaved:
            return await self._renew(None)
        if not self._due(tokens) and not self._doubtful:
            return tokens
        usable = tokens.access_expires_at > self._clock.wall()
        if usable and self._clock.monotonic() < self._not_before and (self._ended or not self._doubtful):
            return tokens
        try:
            return await self._renew(tokens.access_token)
        except (TikTokShopAPIError, TokenStoreError):
            if not usable or self._unsaved:
                raise
            # the old token is good for a few minutes more; the failure has been reported
            return tokens

    @frameless_async(CapiError)
    async def renewed(self, refused: str) -> TokenSet:
        """The pair after the platform refused this access token, whatever its age.

        Raises:
            TikTokShopAPIError, TokenStoreError: As :meth:`tokens`.
        """
        if self._tokens and self._tokens.access_token != refused and not self._due(self._tokens):
            return self._tokens
        return await self._renew(refused)

    async def refreshed(self) -> TokenSet:
        """The pair after a refresh that somebody asked for.

        Raises:
            TikTokShopAPIError, TokenStoreError: As :meth:`tokens`.
        """
        tokens = self._tokens or await self._loaded()
        return await self._renew(tokens.access_token)

    async def replaced(self, refused: str) -> TokenSet | None:
        """The store's pair if it is another one than that of this refused access token: another process was faster.

        Raises:
            TokenStoreError: The store failed.
        """
        if self._unsaved:
            return None
        current = await self._from_store()
        if current is None or current.access_token == refused:
            return None
        self._tokens, self._doubtful, self._ended = current, False, False
        return current

    async def adopt(self, tokens: TokenSet) -> None:
        """Save and use the pair of a new authorization.

        Raises:
            TokenStoreError: It could not be saved; it is used all the same until this process ends.
        """
        # a refresh of the pair before it must not come in between
        await self.aclose()
        try:
            async with self._locked():
                self._take(tokens)
                await self._save(tokens)
        except TokenStoreError:
            self._take(tokens)
            raise

    async def aclose(self) -> None:
        """Wait for a refresh that is under way: cut short, it would cost the authorization."""
        task = self._renewing
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([task])

    async def _loaded(self) -> TokenSet:
        tokens = await self._from_store()
        if tokens is None:
            raise TikTokShopAuthError(
                "no shop is connected: run capi-async tiktok-shop authorize, or send the seller to authorize_url() and "
                "then connect(code)"
            )
        self._tokens = tokens
        return tokens

    def _due(self, tokens: TokenSet) -> bool:
        return self._clock.wall() >= tokens.access_expires_at - self._early_s

    async def _renew(self, stale: str | None) -> TokenSet:
        """One refresh for all who ask meanwhile. A caller that is cancelled leaves it running, or the pair is lost."""
        task = self._renewing
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._renewing = asyncio.create_task(self._renew_once(stale), name="capi-tiktok-shop-tokens")
            task.add_done_callback(_retrieve)
        return await asyncio.shield(task)

    async def _renew_once(self, stale: str | None) -> TokenSet:
        try:
            async with self._locked():
                return await self._renew_locked(stale)
        except (TikTokShopAPIError, TokenStoreError) as error:
            self._not_before = self._clock.monotonic() + PAUSE_S
            self._doubtful |= isinstance(error, TikTokShopNetworkError) and error.sent
            self._ended = isinstance(error, TikTokShopAuthError) and error.final
            self._tell(bare(error))
            raise

    def _tell(self, problem: TikTokShopAPIError | TokenStoreError) -> None:
        kind, code = type(problem).__name__, getattr(problem, "code", 0)
        told = {"error": kind, "code": code}
        if self._unsaved:
            logger.error(
                "the new TikTok Shop tokens could not be saved (%s); they are held in memory, and the old ones may "
                "be void: mend the token store before this process ends",
                kind, extra=told,
            )  # fmt: skip
        else:
            level = logging.ERROR if isinstance(problem, TikTokShopAuthError) else logging.WARNING
            logger.log(
                level,
                "the TikTok Shop tokens could not be renewed (%s, code %s); the old ones are kept: %s",
                kind, code,
                "let the seller authorize the app again" if level == logging.ERROR else "it is tried again",
                extra=told,
            )  # fmt: skip
        if self._on_problem is None:
            return
        try:
            self._on_problem(problem)
        except Exception as error:  # the user's code: its fault must not hide the problem
            logger.error(
                "on_token_problem failed with %s; the problem above stands, mend the callable",
                type(error).__name__, extra={"error": type(error).__name__},
            )  # fmt: skip

    @frameless_async(CapiError)
    async def _renew_locked(self, stale: str | None) -> TokenSet:
        if self._unsaved and self._tokens is not None:
            await self._save(self._tokens)
            if stale is None or (self._tokens.access_token != stale and not self._due(self._tokens)):
                return self._tokens
        # another process may have renewed them while we waited
        current = await self._from_store() or self._tokens
        if current is None:
            raise TikTokShopAuthError("no shop is connected: the token store is empty")
        if current.access_token != stale and not self._due(current):
            self._tokens, self._doubtful, self._ended = current, False, False
            return current
        if not current.refresh_token or 0 < current.refresh_expires_at <= self._clock.wall():
            error = TikTokShopAuthError("the authorization has ended: the seller must authorize the app again")
            error.final = True
            raise error
        tokens = await self._host.refresh(current)
        # from here on the old pair is dead: what follows must not lose the new one
        self._take(tokens)
        await self._save(tokens)
        return tokens

    def _take(self, tokens: TokenSet) -> None:
        self._tokens, self._unsaved = tokens, True
        self._not_before, self._doubtful, self._ended = 0.0, False, False

    async def _save(self, tokens: TokenSet) -> None:
        failed = ""
        try:
            await self._store.save(tokens)
        except TokenStoreError:
            raise
        except Exception as error:  # somebody's own store: its words may quote what it was given
            failed = type(error).__name__
        if failed:
            raise TokenStoreError(f"tokens: the store failed to save ({failed})")
        self._unsaved = False

    async def _from_store(self) -> TokenSet | None:
        failed = ""
        try:
            return await self._store.load()
        except TokenStoreError:
            raise
        except Exception as error:  # as above
            failed = type(error).__name__
        raise TokenStoreError(f"tokens: the store failed to load ({failed})")

    def _locked(self) -> AbstractAsyncContextManager[None]:
        lock: Callable[[], AbstractAsyncContextManager[None]] | None = getattr(self._store, "lock", None)
        return lock() if lock is not None else nullcontext()

    def __repr__(self) -> str:
        return f"TokenKeeper({self._store!r})"


def _retrieve(task: asyncio.Task[TokenSet]) -> None:
    """Nobody may be waiting any more: the failure was reported already."""
    if not task.cancelled():
        task.exception()
