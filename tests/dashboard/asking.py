"""Asks the page as a browser does: it keeps the cookie, and sends forms as they stand in a page."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlencode

from capi_async.dashboard.messages import Answer, Asked
from capi_async.dashboard.site import Dashboard


class Browser:
    """One visitor of a dashboard."""

    def __init__(self, site: Dashboard, **headers: str) -> None:
        self.site = site
        self.headers = {"host": "127.0.0.1:8790", **headers}
        self.cookie = ""

    async def ask(self, method: str, path: str, *, body: bytes = b"", **headers: str) -> Answer:
        path, _, query = path.partition("?")
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookie:
            sent.setdefault("cookie", self.cookie)
        answer = await self.site.answer(Asked(method=method, path=path, query=query, headers=sent, body=body))
        if found := answer.headers.get("Set-Cookie"):
            self.cookie = found.partition(";")[0]
        return answer

    async def get(self, path: str = "/", **headers: str) -> str:
        answer = await self.ask("GET", path, **headers)
        assert answer.status == 200, answer.body
        return answer.body.decode()

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        headers = {"content_type": "application/x-www-form-urlencoded", "sec_fetch_site": "same-origin", **headers}
        return await self.ask("POST", path, body=urlencode(fields).encode(), **headers)


def forms(page: str, action: str) -> list[dict[str, str]]:
    """The hidden fields of the forms of a page that lead to an address."""
    found = []
    for form in re.findall(rf'<form method="post" action="{re.escape(action)}">(.*?)</form>', page, re.DOTALL):
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
        found.append({html.unescape(name): html.unescape(value) for name, value in fields})
    return found


def words(page: str) -> str:
    """What a reader sees of a page, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def tags(page: str) -> set[str]:
    """The names of all elements of a page."""
    return set(re.findall(r"<([a-zA-Z][\w-]*)", page))


def attributes(page: str) -> set[str]:
    """The names of all attributes of a page."""
    return {name for inner in re.findall(r"<[a-zA-Z][^<>]*>", page) for name in re.findall(r'\s([a-zA-Z-]+)="', inner)}


def asked(**given: Any) -> Asked:
    """A request with what it needs."""
    return Asked(**{"method": "GET", "path": "/", **given})
