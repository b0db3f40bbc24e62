"""Who may see the page, and whose forms are obeyed."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlsplit

from capi_async.clock import Clock
from capi_async.dashboard.messages import Asked
from capi_async.errors import ConfigError
from capi_async.pages.guard import form_token, host_name, same

COOKIE: Final = "capi_dashboard"
#: Seconds for which a session is good.
SESSION_S: Final = 12 * 3_600.0
#: A shorter token could be guessed by trying; of this length it cannot, so that tries need no limit, by which anybody
#: could lock out those who know it.
MIN_TOKEN: Final = 16

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Access:
    """Decides by a token, or only by the name under which the page was asked for.

    Args:
        token: Whoever knows it may see everything and replay and erase dead letters; ``None``: whoever reaches the
            page may, because something else keeps others away (a loopback address, the application).
        hosts: Names that a ``Host`` header may hold; ``None``: any. Where there is no token, a page of another site
            could reach this one under a name of its own, which it points at 127.0.0.1.

    Raises:
        ConfigError: The token is too short.
    """

    def __init__(self, token: str | None, *, hosts: frozenset[str] | None, clock: Clock) -> None:
        if token is not None and len(token) < MIN_TOKEN:
            raise ConfigError(
                f"the dashboard's token needs {MIN_TOKEN} characters or more; secrets.token_urlsafe() makes one"
            )
        self._token = token
        self._hosts = hosts
        self._clock = clock
        # from the token, so that every process of an application obeys the forms of every other
        seed = token.encode("utf-8", "replace") if token is not None else secrets.token_bytes(32)
        self._key = hashlib.sha256(b"capi_async dashboard\0" + seed).digest()

    def right_host(self, asked: Asked) -> bool:
        """Whether the page was asked for by a name of its own."""
        return self._hosts is None or host_name(asked.headers.get("host", "")) in self._hosts

    def session(self, asked: Asked) -> str | None:
        """The session of a request; ``None`` if there is none, or it is over."""
        value = asked.cookie(COOKIE)
        said, _, proof = value.rpartition(".")
        ends = said.partition(".")[0]
        if not same(proof, self._proof(said)) or not ends.isdigit() or int(ends) < self._clock.wall():
            return None
        return value

    def open_session(self) -> str:
        """A new one."""
        said = f"{int(self._clock.wall() + SESSION_S)}.{secrets.token_urlsafe(18)}"
        return f"{said}.{self._proof(said)}"

    def cookie(self, session: str, *, secure: bool) -> str:
        """For the answer's header. Without a path it is sent to the page's own addresses, and to no others."""
        ends = "; Max-Age=0" if not session else f"; Max-Age={int(SESSION_S)}"
        return f"{COOKIE}={session}; HttpOnly; SameSite=Strict{ends}{'; Secure' if secure else ''}"

    def needs_token(self, asked: Asked) -> bool:
        """Whether the token has still to be given: neither a session nor a header has it."""
        if self._token is None or self.session(asked) is not None:
            return False
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        return scheme.lower() != "bearer" or not self.knows(given.strip())

    def knows(self, given: str) -> bool:
        """Whether this is the token."""
        return self._token is not None and same(given, self._token)

    def form_token(self, session: str) -> str:
        """What each form of a session carries."""
        return form_token(self._key, session)

    def obeys(self, asked: Asked, session: str | None) -> bool:
        """Whether a form was sent from a page of ours, by who was shown it."""
        if session is None or not same(asked.form().get("form", ""), self.form_token(session)):
            return False
        return self.own_page(asked)

    def own_page(self, asked: Asked) -> bool:
        """Whether no page of another site sent a form, by what a browser says of that.

        A proxy may have changed the name under which the page was asked for, so the older way is the second choice.
        """
        site = asked.headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        origin = asked.headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() == asked.headers.get("host", "").lower()

    def _proof(self, said: str) -> str:
        return hmac.new(self._key, b"session\0" + said.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
