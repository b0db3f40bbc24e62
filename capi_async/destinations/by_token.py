"""Accounts whose platform has no id for them in a request: the credential alone says whose it is."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from capi_async.destinations.platform import Platform
from capi_async.pii.hashing import sha256_hex
from capi_async.spec import account_text


class ByToken(Platform, frozen=True, kw_only=True):
    """A platform of such accounts.

    Attributes:
        account_id: Your own name for this account, such as ``eu``. Without it the token stands for the account: what
            waits in a spool is then not sent with another token, a renewed one included.
    """

    #: An account has no id of its own: see :meth:`account`.
    account_setting: ClassVar[str] = ""

    account_id: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        account_text(self, "account_id")

    def account(self) -> str:
        return self._account

    @cached_property
    def _account(self) -> str:
        """The user's own name of it, else the token's mark: nothing else tells accounts apart."""
        if self.account_id is not None:
            return f"{self.type}:{self.account_id}"
        return self._mark or self.type

    @cached_property
    def _mark(self) -> str:
        """What tells a fixed token from others and does not give it away; empty for a callable."""
        secret = self.secret()
        return f"{self.type}#{sha256_hex(secret.text())[:16]}" if secret.fixed else ""

    def owns(self, account: str) -> bool:
        # records of earlier versions, and those made before the account was given its name
        return account in (self._account, self._mark, self.type)
