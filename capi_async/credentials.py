"""Access tokens that expire, renewed in time: give one of these as ``access_token=`` of any destination.

::

    from capi_async.credentials import RefreshToken, ServiceAccount

    GoogleAds(..., access_token=RefreshToken(client_id=..., client_secret=..., refresh_token=...))
    GoogleAds(..., access_token=ServiceAccount("/run/secrets/service-account.json"))  # extra: google

A token is asked for once for all callers of a process, and with ``shared=`` for all processes of a host; it is renewed
before it ends, and when the platform refuses it although it has not ended (once in five minutes at most). While it is
still good, an endpoint that cannot be reached costs nothing. Calling one blocks until there is a token; destinations
call it in a thread of its own.

Sources, read 2026-11: RFC 6749 section 6 (refresh token), RFC 7523 (signed assertion), Google's pages on OAuth.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import logging
import math
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from capi_async.errors import CapiError, ConfigError
from capi_async.files import Lock
from capi_async.outcome import http_date
from capi_async.spec import HOUR, MINUTE, Secret, is_loopback

__all__ = ["CredentialError", "RefreshToken", "ServiceAccount", "TokenEndpointUnreachable", "TokenRevoked"]

#: Where Google gives tokens.
GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
#: What a token for Google Ads has to be for.
GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/datamanager"

_TIMEOUT_S: Final = 10.0
_MAX_ANSWER: Final = 64 * 1024
#: For so long a refusal is repeated without asking again: only a new credential helps.
_REFUSED_S: Final = 5 * MINUTE
#: Errors of RFC 6749 after which only a person can help.
_FOR_GOOD: Final = frozenset(
    {"invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"}
)
#: A clock that is off by less is none that a signed assertion would be refused for.
_SKEW_S: Final = 30.0

logger = logging.getLogger(__name__)


class CredentialError(CapiError):
    """No access token can be had; the text says why and what to do, and holds no credential."""


class TokenRevoked(CredentialError):
    """The refresh token, the client or the service account is refused; only a new one helps."""


class TokenEndpointUnreachable(CredentialError):
    """The server that gives tokens did not answer, or not as it should; it is asked again."""


class _Grant(Struct):
    """What the server gives, and what it says when it does not."""

    access_token: str = ""
    expires_in: float = HOUR
    error: str = ""
    error_description: str = ""


class _Held(Struct):
    token: str
    ends_at: float
    of: str


_grant: Final = msgspec.json.Decoder(_Grant, strict=False)
_held: Final = msgspec.json.Decoder(_Held)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        # a credential goes to the address that was given, and to no other
        return None


class _Renewed:
    """An access token that is renewed; see the top of this module.

    Args:
        token_url: Where tokens are given.
        early_s: Seconds before its end from which on a token is renewed.
        shared: A file in which the processes of this host keep the token for one another, readable by its owner alone.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        *,
        token_url: str,
        early_s: float = 5 * MINUTE,
        shared: str | os.PathLike[str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(token_url)
        if not parts.hostname or not (
            parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
        ):
            raise ConfigError("token_url needs an https address: a credential is sent there")
        self._url, self._early_s, self._now = token_url, early_s, now
        self._shared = None if shared is None else Path(shared)
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._refused: tuple[float, CredentialError] | None = None
        #: A token that the platform refused before its end, and until when no other is given up for that.
        self._dead = ""
        self._trusted_until = -math.inf
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a credential is not pickled: make it in the process that uses it")

    def __call__(self) -> str:
        """A token that is good now.

        Raises:
            TokenRevoked: Only a new credential helps.
            TokenEndpointUnreachable: There is no answer, and no token that is still good.
        """
        held = self._held
        if held is not None and self._now() < held.ends_at - self._early_s:
            return held.token
        still_good = held is not None and self._now() < held.ends_at
        # whoever has a token that is still good does not wait for the one who renews it
        if not self._lock.acquire(blocking=not still_good):
            return held.token if held is not None else ""
        try:
            return self._renewed()
        finally:
            self._lock.release()

    def refused(self, token: str) -> None:
        """The platform does not take this token: whoever asks next gets a new one.

        Not again within five minutes: a token that lacks a right is refused however new it is.
        """
        held = self._held
        if held is None or held.token != token or self._now() < self._trusted_until:
            return
        self._trusted_until = self._now() + _REFUSED_S
        self._dead, self._held = token, None
        logger.warning("the platform refuses an access token before its end; a new one is asked for")

    def _renewed(self) -> str:
        held = self._held
        if held is not None and self._now() < held.ends_at - self._early_s:
            return held.token  # another caller was faster
        if self._refused is not None and self._now() < self._refused[0]:
            raise self._refused[1]
        try:
            self._held = self._ask() if self._shared is None else self._ask_for_all(self._shared)
        except TokenRevoked as error:
            self._refused = (self._now() + _REFUSED_S, error)
            logger.error("%s", error)
            raise
        except TokenEndpointUnreachable as error:
            if held is None or self._now() >= held.ends_at:
                logger.error("%s", error)
                raise
            logger.warning("%s; the present token is good for another %d s", error, held.ends_at - self._now())
            return held.token
        self._refused = None
        return self._held.token

    def _ask_for_all(self, file: Path) -> _Held:
        """The token that another process has left, else a new one that is left for the others."""
        with Lock(file.with_name(f"{file.name}.lock"))():
            try:
                found = _held.decode(file.read_bytes())
            except (OSError, msgspec.MsgspecError, UnicodeError):
                found = None
            good = found is not None and found.of == self.key() and self._now() < found.ends_at - self._early_s
            if found is not None and good and found.token != self._dead:
                return found
            made = self._ask()
            beside = file.with_name(f"{file.name}.{os.getpid()}")
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as written:
                written.write(msgspec.json.encode(made))
            beside.replace(file)
            return made

    def _ask(self) -> _Held:
        grant, date = self._post(self.form(self._now()))
        skew_s = 0.0 if date is None else date - self._now()
        if grant.error == "invalid_grant" and self.dated and abs(skew_s) > _SKEW_S:
            # signed for another time than the server's: this host's clock is off, and the answer tells by how much
            logger.warning("this host's clock is off by %d s against the token endpoint; set it", -skew_s)
            grant, _ = self._post(self.form(self._now() + skew_s))
        if grant.error in _FOR_GOOD:
            raise TokenRevoked(f"the token endpoint refuses this credential ({grant.error}): {self.remedy}")
        if grant.error or not grant.access_token.strip():
            said = grant.error if grant.error.replace("_", "").isalnum() else "no token in its answer"
            raise TokenEndpointUnreachable(f"the token endpoint gave no token ({said}); it is asked again")
        # no longer than the server says; one that is always about to end would be renewed for each request
        return _Held(grant.access_token, self._now() + max(grant.expires_in, self._early_s + 1.0), self.key())

    def _post(self, form: Mapping[str, str]) -> tuple[_Grant, float | None]:
        """The answer, and the server's time.

        Raises:
            TokenEndpointUnreachable: There is none.
        """
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        asked = urllib.request.Request(self._url, urlencode(form).encode(), headers)  # noqa: S310 - checked above
        try:
            try:
                with self._opener.open(asked, timeout=_TIMEOUT_S) as answer:
                    status, said, date = answer.status, answer.read(_MAX_ANSWER), answer.headers.get("Date")
            except urllib.error.HTTPError as error:
                with error:
                    status, said, date = error.code, error.read(_MAX_ANSWER), error.headers.get("Date")
        except (OSError, http.client.HTTPException) as error:
            kind = type(getattr(error, "reason", error)).__name__
            raise TokenEndpointUnreachable(f"the token endpoint cannot be reached ({kind})") from None
        try:
            grant = _grant.decode(said)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            grant = _Grant()
        if status >= 500 or (status != 200 and not grant.error):
            raise TokenEndpointUnreachable(f"the token endpoint answered HTTP {status} without a token")
        return grant, http_date(date)

    #: Whether what is sent holds a time.
    dated: bool = False
    #: What to do when the credential is refused.
    remedy: str = "make a new one"

    def form(self, now: float) -> Mapping[str, str]:
        """What is sent."""
        raise NotImplementedError

    def key(self) -> str:
        """Whose token it is, without saying so."""
        raise NotImplementedError


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


class RefreshToken(_Renewed):
    """A person's consent, kept as a refresh token.

    Args:
        client_id, client_secret: Of the OAuth client that the person agreed to.
        refresh_token: What the person's consent gave.
        token_url: Where tokens are given; default: Google's.
        early_s, shared, now: See :mod:`capi_async.credentials`.

    Raises:
        ConfigError: One of them is missing or is no credential.
    """

    remedy = "it was revoked, has expired or is another client's; let the person agree again and give the new one"

    def __init__(
        self, *, client_id: str, client_secret: str, refresh_token: str, token_url: str = GOOGLE_TOKEN_URL, **rest: Any
    ) -> None:
        super().__init__(token_url=token_url, **rest)
        self._client_id = client_id.strip()
        self._client_secret, self._refresh_token = Secret(client_secret), Secret(refresh_token)
        if not self._client_id:
            raise ConfigError("client_id is missing")
        for secret in (self._client_secret, self._refresh_token):
            secret.text()

    def form(self, now: float) -> Mapping[str, str]:
        return {
            "grant_type": "refresh_token",
            "client_id": self._client_id,
            "client_secret": self._client_secret.text(),
            "refresh_token": self._refresh_token.text(),
        }

    def key(self) -> str:
        return _digest(self._url, self._client_id, self._refresh_token.text())


class _Account(Struct):
    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = GOOGLE_TOKEN_URL


class ServiceAccount(_Renewed):
    """A Google service account, by the key that the Cloud console gives as a file. Needs the extra ``google``.

    Its e-mail address must be a user of the Google Ads account.

    Args:
        key: Path of the JSON file, or what is in it.
        scope: What the token is for; default: Google Ads conversions.
        early_s, shared, now: See :mod:`capi_async.credentials`.

    Raises:
        ConfigError: The extra is missing, or the key cannot be read.
    """

    dated = True
    remedy = "its key was deleted or the account is disabled; make a new key, and see that this host's clock is right"

    def __init__(
        self, key: str | os.PathLike[str] | Mapping[str, Any], *, scope: str = GOOGLE_SCOPE, **rest: Any
    ) -> None:
        try:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import rsa
        except ImportError:
            raise ConfigError("service accounts need their extra: pip install 'capi_async[google]'") from None
        try:
            given = dict(key) if isinstance(key, Mapping) else msgspec.json.decode(Path(key).read_bytes())
            account = msgspec.convert(given, _Account)
            loaded = serialization.load_pem_private_key(account.private_key.encode(), password=None)
        except (OSError, ValueError, TypeError, UnicodeError) as error:
            kind = type(error).__name__
            raise ConfigError(f"the key of the service account cannot be read ({kind}); download it again") from None
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise ConfigError("the key of the service account is no RSA key; download it again")
        super().__init__(token_url=account.token_uri, **rest)
        self._email, self._key_id, self._scope, self._private = (
            account.client_email,
            account.private_key_id,
            scope,
            loaded,
        )

    def form(self, now: float) -> Mapping[str, str]:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        head = {"alg": "RS256", "typ": "JWT", **({"kid": self._key_id} if self._key_id else {})}
        claims = {
            "iss": self._email, "scope": self._scope, "aud": self._url, "iat": int(now), "exp": int(now + HOUR),
        }  # fmt: skip
        signed = b".".join(_base64(msgspec.json.encode(part)) for part in (head, claims))
        signature = self._private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        assertion = b".".join((signed, _base64(signature))).decode()
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}

    def key(self) -> str:
        return _digest(self._url, self._email, self._key_id, self._scope)


def _base64(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")
