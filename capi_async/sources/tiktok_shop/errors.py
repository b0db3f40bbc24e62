"""What TikTok Shop refuses, as exceptions.

    CapiError
    ├── TokenStoreError                 tokens could not be read or saved
    └── TikTokShopAPIError
        ├── TikTokShopAuthError         credentials, signature, clock, scope: a person must act
        ├── TikTokShopRateLimitError    too many requests; ``retry_after`` in seconds
        ├── TikTokShopValidationError   bad input or a business rule
        ├── TikTokShopNotFoundError     no such product, SKU, order, video or post
        ├── TikTokShopServerError       the platform is in trouble
        ├── TikTokShopNetworkError      no answer came
        └── TikTokShopUnsupportedError  TikTok Shop has no endpoint for this; nothing was sent

No message holds an address of a request, a token, the app secret or a raw body. Source: Partner Center, common
errors (678e3a45786253031531b942), copy of 2025-12, and the error tables of the endpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from capi_async.errors import CapiError
from capi_async.outcome import redact

#: When the call itself tries again: never, after a wait, only if it reads, or once with a fresh access token.
Retry: TypeAlias = Literal["no", "yes", "reads", "refresh"]


class TokenStoreError(CapiError):
    """Tokens could not be read or saved; they are never part of the text."""


class TikTokShopAPIError(CapiError):
    """Anything that kept a call from succeeding.

    Attributes:
        message: The platform's words as :func:`error_of` redacts them (no token, no buyer), or our own.
        code: The platform's code; 0 if it gave none.
        http_status: HTTP status of the answer; 0 if there was none.
        request_id: The platform's id of the request, which its support asks for.
        retry: Whether the call itself would try again.
        retry_after: Seconds after which another call makes sense; ``None`` where nobody can say.
        stated_wait_s: Seconds that the platform itself asked to wait (``Retry-After``); ``None`` if it did not.
        status_code: The older name of ``http_status``.
    """

    retry_after: float | None = None
    stated_wait_s: float | None = None

    def __init__(
        self, message: str, *, code: int = 0, http_status: int = 0, request_id: str = "", retry: Retry = "no"
    ) -> None:
        self.message = message
        self.code = code
        self.http_status = http_status
        self.request_id = request_id
        self.retry: Retry = retry
        facts = [f"code {code}"] if code else []
        facts += [f"HTTP {http_status}"] if http_status else []
        facts += [f"request {request_id}"] if request_id else []
        super().__init__(f"{self.message} ({', '.join(facts)})" if facts else self.message)

    @property
    def status_code(self) -> int:
        """HTTP status of the answer; 0 if there was none."""
        return self.http_status


class TikTokShopAuthError(TikTokShopAPIError):
    """Credentials, signature, clock, scope or permission: repeating does not help.

    Attributes:
        clock: The platform complains of the timestamp; this machine's clock is the likely culprit.
        final: The tokens are dead: the seller must authorize the app again.
    """

    clock: bool = False
    final: bool = False


class TikTokShopRateLimitError(TikTokShopAPIError):
    """Too many requests.

    Attributes:
        retry_after: Seconds to wait before another call: what the platform asked for, else one second; an hour where
            an hourly limit or the daily quota is used up.
    """

    retry_after: float = 1.0


class TikTokShopValidationError(TikTokShopAPIError):
    """Bad input, or a rule of the shop.

    Attributes:
        details: One text per part that was refused, where a call can fail in part.
    """

    details: tuple[str, ...] = ()


class TikTokShopNotFoundError(TikTokShopAPIError):
    """There is no such thing in this shop."""


class TikTokShopServerError(TikTokShopAPIError):
    """The platform is in trouble, or its answer cannot be read."""


class TikTokShopNetworkError(TikTokShopAPIError):
    """No answer came.

    Attributes:
        kind: ``connect``, ``dns``, ``tls``, ``timeout``, ``reset`` or ``protocol``.
        sent: True if the platform may have read the request: what it creates may exist.
    """

    kind: str = ""
    sent: bool = False


class TikTokShopUnsupportedError(TikTokShopAPIError):
    """TikTok Shop has no endpoint that does this; nothing was sent."""


class Rule(Struct, frozen=True):
    """What a code means."""

    kind: type[TikTokShopAPIError]
    retry: Retry = "no"
    hint: str = ""
    final: bool = False


_AUTH: Final = Rule(TikTokShopAuthError)
_AGAIN: Final = Rule(TikTokShopAuthError, final=True, hint="the seller must authorize the app again")
_BAD_INPUT: Final = Rule(TikTokShopValidationError)
_MISSING: Final = Rule(TikTokShopNotFoundError)
_TROUBLE: Final = Rule(TikTokShopServerError, "yes")

#: By the envelope's ``code``, whatever the HTTP status.
RULES: Final[Mapping[int, Rule]] = {
    36009002: Rule(TikTokShopRateLimitError, "yes"),
    36009003: _TROUBLE,
    36009007: Rule(TikTokShopServerError, "reads"),
    105001: Rule(TikTokShopAuthError, final=True, hint="the seller has withdrawn the authorization"),
    105002: Rule(TikTokShopAuthError, "refresh", hint="the access token has expired"),
    105005: Rule(TikTokShopAuthError, hint="the token lacks a scope: enable it for the app and authorize again"),
    106001: Rule(TikTokShopAuthError, hint="the signature is refused: check app_secret"),
    101000: Rule(TikTokShopAuthError, hint="the token's kind of user, or its shop, is not the one addressed"),
    36009033: Rule(TikTokShopAuthError, hint="this IP address is not on the app's allow list"),
    106013: Rule(TikTokShopValidationError, hint="shop_cipher is missing: choose a shop with for_shop()"),
    36009009: Rule(TikTokShopValidationError, hint="the path is wrong: an integration fault"),
    36009010: Rule(TikTokShopValidationError, hint="the method is wrong: an integration fault"),
    36009014: Rule(TikTokShopValidationError, hint="the version is wrong: an integration fault"),
    36009021: _BAD_INPUT,
    36009022: _BAD_INPUT,
    36009023: _BAD_INPUT,
    36009037: Rule(TikTokShopRateLimitError, hint="the hourly limit of test shops"),
    36009043: Rule(TikTokShopAuthError, hint="the shop or the seller is inactive"),
    36009044: Rule(TikTokShopAuthError, hint="the shop or the seller is inactive"),
    45101004: Rule(TikTokShopRateLimitError, hint="the daily quota is used up"),
    12019150: _MISSING,
    12052032: _MISSING,
    12052260: _MISSING,
    12052556: _MISSING,
    28001007: _MISSING,
    12052048: _AUTH,
    21008111: _AUTH,
    10006402: _AUTH,
    25020005: _AUTH,
    12019114: _AUTH,
    10002014: _TROUBLE,
    10002015: _TROUBLE,
    10037002: _TROUBLE,
    10037003: _TROUBLE,
    10037004: _TROUBLE,
    45101001: _TROUBLE,
    38007001: _TROUBLE,
    170001016: _AUTH,
    98001004: _BAD_INPUT,
    36004001: _AGAIN,
    36004004: Rule(TikTokShopAuthError, final=True, hint="the code is wrong, used or older than 30 minutes"),
    36004005: _AGAIN,
    98001005: _AGAIN,
    98001006: _AGAIN,
}

#: Product, return, order and analytics rules: eight digits that begin so.
BUSINESS_PREFIXES: Final = ("12", "21", "25", "28")
#: Where a limit by the hour or by the day is used up, the platform does not say when it begins anew.
_USED_UP_S: Final = 3600.0
_MIXED: Final = 36009004
_NO_SCOPE: Final = 105005
_CLOCK: Final = re.compile(r"time\s*-?_?stamp", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(r"credential|signature|\bsign\b|app[\s_-]?key|access[\s_-]?token", re.IGNORECASE)
_CLOCK_HINT: Final = "check this machine's clock: it may be 5 minutes behind or 30 seconds ahead, no more"


def error_of(
    code: int,
    message: str,
    *,
    http_status: int,
    request_id: str = "",
    retry_after_s: float | None = None,
    scope: str = "",
    skew_s: float | None = None,
) -> TikTokShopAPIError:
    """The exception for an answer that is not a success.

    Args:
        code: The envelope's code; 0 if the answer had no readable envelope.
        retry_after_s: What the header ``Retry-After`` asked for.
        scope: What the call needs, to be named if it is missing.
        skew_s: Seconds by which this machine's clock is ahead of the platform's, if known.
    """
    rule = _rule(code, message, http_status)
    clock = rule.kind is TikTokShopAuthError and code in (_MIXED, 106001) and bool(_CLOCK.search(message))
    hint = rule.hint
    if clock:
        hint = _CLOCK_HINT if skew_s is None else f"{_CLOCK_HINT}; it seems {_skew_words(skew_s)}"
    elif code == _NO_SCOPE and scope:
        hint = f"the token lacks {scope}: enable it for the app and authorize again"
    words = redact(message).rstrip(". ") or f"HTTP {http_status}"
    error = rule.kind(
        f"{words}: {hint}" if hint else words,
        code=code,
        http_status=http_status,
        request_id=redact_id(request_id),
        retry=rule.retry,
    )
    error.stated_wait_s = retry_after_s
    if retry_after_s is not None:
        error.retry_after = retry_after_s
    elif isinstance(error, TikTokShopRateLimitError) and rule.retry == "no":
        error.retry_after = _USED_UP_S
    if isinstance(error, TikTokShopAuthError):
        error.clock = clock
        error.final = rule.final
    return error


def network_error(kind: str, *, sent: bool) -> TikTokShopNetworkError:
    """The exception for an answer that never came."""
    fate = "may have arrived" if sent else "did not leave"
    error = TikTokShopNetworkError(f"no answer ({kind}), the request {fate}", retry="yes")
    error.kind = kind
    error.sent = sent
    return error


def _skew_words(skew_s: float) -> str:
    if abs(skew_s) < 1.0:
        return "right"
    return f"{abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}"


def redact_id(request_id: str) -> str:
    """A request id as the platform makes them, or nothing: a header or body can echo anything."""
    return request_id if _REQUEST_ID.fullmatch(request_id) else ""


_REQUEST_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


def _rule(code: int, message: str, http_status: int) -> Rule:
    if rule := RULES.get(code):
        return rule
    if code == _MIXED:
        return _AUTH if _CLOCK.search(message) or _CREDENTIAL.search(message) else _BAD_INPUT
    text = str(code)
    if len(text) == 8 and text.startswith(BUSINESS_PREFIXES):
        return _BAD_INPUT
    return _by_status(http_status, known=code == 0)


_BY_STATUS: Final[Mapping[int, Rule]] = {
    400: _BAD_INPUT,
    401: _AUTH,
    403: _AUTH,
    404: Rule(TikTokShopNotFoundError),
    408: _TROUBLE,
    413: _BAD_INPUT,
    415: _BAD_INPUT,
    422: _BAD_INPUT,
    429: Rule(TikTokShopRateLimitError, "yes"),
}


def _by_status(http_status: int, *, known: bool) -> Rule:
    """Without a code that we know; an unknown code is never retried, unless the status itself says to wait."""
    if rule := _BY_STATUS.get(http_status):
        return rule
    if http_status >= 500:
        return _TROUBLE
    if 200 <= http_status < 300 and known:
        # a proxy's page, or half an answer: nobody can tell what came of it
        return Rule(TikTokShopServerError, "reads")
    return Rule(TikTokShopAPIError)
