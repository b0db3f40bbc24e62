"""A request and its answer, whatever server they go through."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from msgspec import Struct

from capi_async.pages.guard import PAGE_HEADERS
from capi_async.pages.markup import Html

#: Bytes of a form, and fields of one or of a query, that are read.
MAX_BODY = 16 * 1024
_MAX_FIELDS = 20


class Asked(Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        path: Below the place where the page is mounted; empty if that was asked for without a slash at its end.
        headers: By names in lower case.
        secure: Whether it came encrypted, as far as the server knows.
        mount: Last part of the place's own path; empty at the root.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    secure: bool = False
    mount: str = ""

    def asked(self, name: str) -> str:
        """A field of the query; the last one counts."""
        return _fields(self.query).get(name, "")

    def form(self) -> Mapping[str, str]:
        """The fields of the body, if it is a form's."""
        if (
            self.headers.get("content-type", "").partition(";")[0].strip().lower()
            != "application/x-www-form-urlencoded"
        ):
            return {}
        return _fields(self.body.decode("utf-8", "replace"))

    def cookie(self, name: str) -> str:
        """The value of a cookie, or nothing."""
        try:
            found = SimpleCookie(self.headers.get("cookie", "")).get(name)
        except CookieError:
            return ""
        return found.value if found else ""


class Answer(Struct, frozen=True, kw_only=True):
    """What is said to it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def with_cookie(self, cookie: str) -> Answer:
        """The same, which sets a cookie."""
        return Answer(status=self.status, headers={**self.headers, "Set-Cookie": cookie}, body=self.body)


def html(page: Html, status: int = 200) -> Answer:
    """A page."""
    headers = {**PAGE_HEADERS, "Content-Type": "text/html; charset=utf-8"}
    return Answer(status=status, headers=headers, body=page.encode())


def plain(status: int, said: str) -> Answer:
    """A sentence."""
    headers = {**PAGE_HEADERS, "Content-Type": "text/plain; charset=utf-8"}
    return Answer(status=status, headers=headers, body=f"{said}\n".encode())


def see(place: str, status: int = 303) -> Answer:
    """Go there; ``place`` is ours, and never what somebody asked for."""
    return Answer(status=status, headers={**PAGE_HEADERS, "Location": place})


def _fields(encoded: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(encoded, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace"))
    except ValueError:
        return {}
