"""What a seller has opened to an app: the authorization, and the shops."""

from __future__ import annotations

from msgspec import Struct

from capi_async.early import ready
from capi_async.sources.tiktok_shop.models.base import Id, Model


class Shop(Model, frozen=True, kw_only=True):
    """A shop that the seller has opened to the app.

    Attributes:
        cipher: What selects this shop in a request; it belongs to the shop, not to the token.
        code: The shop's public code.
        seller_type: ``LOCAL`` or ``CROSS_BORDER``.
    """

    id: Id = ""
    name: str = ""
    region: str = ""
    seller_type: str = ""
    cipher: str = ""
    code: str = ""


@ready
class TokenSet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One authorization. Its repr shows no token.

    Attributes:
        access_expires_at, refresh_expires_at: Seconds since the epoch.
        user_type: 0 seller, 1 creator, 3 partner, 4 and 5 global selling.
        granted_scopes: What the seller agreed to.
        obtained_at: Seconds since the epoch, by this machine's clock.
    """

    access_token: str
    refresh_token: str
    access_expires_at: int
    refresh_expires_at: int = 0
    open_id: str = ""
    seller_name: str = ""
    seller_base_region: str = ""
    user_type: int = 0
    granted_scopes: tuple[str, ...] = ()
    obtained_at: int = 0

    def expires_in(self, now: float) -> float:
        """Seconds for which the access token is good; 0 if it is not."""
        return max(0.0, self.access_expires_at - now)

    def __repr__(self) -> str:
        return f"TokenSet(open_id={self.open_id!r}, access_expires_at={self.access_expires_at})"
