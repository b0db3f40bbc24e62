"""The pages by their addresses. All stand side by side, and links are relative, so that any place and proxy will do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.dashboard.access import Access
from capi_async.dashboard.events import events_page, search_page
from capi_async.dashboard.letters import letters_page
from capi_async.dashboard.messages import MAX_BODY, Answer, Asked, html, plain, see
from capi_async.dashboard.overview import overview
from capi_async.dashboard.source import LETTERS, Source
from capi_async.errors import CapiError
from capi_async.log import Log
from capi_async.pages.assets import ASSET_CACHE, ASSETS
from capi_async.pages.markup import Content, tag
from capi_async.pages.parts import page
from capi_async.spool.base import LetterFilter

logger = Log(__name__)

_TITLE: Final = "capi_async"
_LINKS: Final = (("Destinations", "./"), ("Recent events", "./events"), ("Dead letters", "./letters"))
#: Dead letters of one id that are listed.
_OF_ONE: Final = 50
#: Characters of an id that is searched for.
_LONGEST_ID: Final = 200


class Dashboard:
    """Answers requests for the page.

    Args:
        source: Where the figures come from.
        access: Who may see them.
        durable: Whether the spool keeps dead letters.
    """

    def __init__(self, source: Source, access: Access, *, durable: bool, clock: Clock = SYSTEM_CLOCK) -> None:
        self._source = source
        self._access = access
        self._durable = durable
        self._clock = clock

    async def answer(self, asked: Asked) -> Answer:
        """One request."""
        access = self._access
        if not access.right_host(asked):
            return plain(421, "This page is not served under this name.")
        if asked.path == "" and asked.mount:
            return see(f"./{asked.mount}/", 307)
        name = asked.path.removeprefix("/")
        if asked.method in ("GET", "HEAD") and (asset := ASSETS.get(name)) is not None:
            headers = {
                "Content-Type": asset.content_type,
                "Cache-Control": ASSET_CACHE,
                "X-Content-Type-Options": "nosniff",
            }
            return Answer(status=200, headers=headers, body=asset.body)
        if len(asked.body) > MAX_BODY:
            return plain(413, "Too long.")
        if name == "login" and asked.method == "POST":
            return self._log_in(asked)
        if access.needs_token(asked):
            return self._ask_for_token(401, "")
        if asked.method in ("GET", "HEAD"):
            return await self._read(asked, name)
        if asked.method == "POST":
            return await self._obey(asked, name)
        answer = plain(405, "GET, HEAD and POST are known here.")
        return Answer(status=405, headers={**answer.headers, "Allow": "GET, HEAD, POST"}, body=answer.body)

    async def _read(self, asked: Asked, name: str) -> Answer:
        shown = {"": self._overview, "events": self._events, "letters": self._letters}.get(name)
        if shown is None:
            return plain(404, "There is no such page.")
        session = self._access.session(asked)
        fresh = "" if session is not None else self._access.open_session()
        form = self._access.form_token(session or fresh)
        try:
            content = await shown(asked, form)
        except CapiError as error:
            content = [tag("h2", "This cannot be shown"), tag("p", f"{error}", class_="bad")]
        links = [(text, place, place == f"./{name}") for text, place in _LINKS]
        answer = html(page(_TITLE, ".", links=links, main=content, live=not asked.asked("done")))
        return answer.with_cookie(self._access.cookie(fresh, secure=asked.secure)) if fresh else answer

    async def _overview(self, _asked: Asked, _form: str) -> Content:
        return overview(await self._source.view())

    async def _events(self, asked: Asked, _form: str) -> Content:
        view = await self._source.view()
        names = view.names()
        if wanted := asked.asked("q").strip()[:_LONGEST_ID]:
            found = await self._source.find(wanted)
            of_it = LetterFilter(event_or_order_id=wanted, limit=_OF_ONE, newest=True)
            letters = await self._source.letters(of_it) if self._durable else []
            return search_page(wanted, found, letters, names=names)
        return events_page(
            view.told, kind=asked.asked("kind"), destination=asked.asked("destination"), names=names
        )  # fmt: skip

    async def _letters(self, asked: Asked, form: str) -> Content:
        letters = await self._source.letters(LetterFilter(limit=LETTERS, newest=True)) if self._durable else []
        ledger = (await self._source.view()).ledger
        return letters_page(letters, ledger, form, durable=self._durable, done=_done(asked.asked("done")))

    async def _obey(self, asked: Asked, name: str) -> Answer:
        act: dict[str, Callable[[LetterFilter], Awaitable[int]]] = {
            "replay": self._source.replay, "forget": self._source.forget,
        }  # fmt: skip
        if name not in act:
            return plain(404, "There is no such page.")
        if not self._access.obeys(asked, self._access.session(asked)):
            return plain(
                403,
                "This form is not obeyed: it was not sent from a page shown here, or that was too long ago. "
                "Open the page again.",
            )
        form = asked.form()
        if not form.get("destination") or form.get("kind") not in ("dead", "uncertain") or "reason" not in form:
            return plain(400, "The form does not say which dead letters are meant.")
        wanted = LetterFilter(
            destination=form["destination"], kind=form["kind"], reason=form["reason"], whole_reason=True
        )  # fmt: skip
        try:
            count = await act[name](wanted)
        except CapiError as error:
            return plain(503, f"That failed: {error}")
        logger.info(
            "dashboard: %s of %d dead letters of %s", name, count, wanted.destination,
            extra={"destination": wanted.destination, "action": name, "count": count},
        )  # fmt: skip
        return see(f"./letters?done={name}-{count}")

    def _log_in(self, asked: Asked) -> Answer:
        access = self._access
        if not access.own_page(asked):
            return plain(403, "This form is not obeyed: it was not sent from a page shown here.")
        if not access.knows(asked.form().get("token", "")):
            return self._ask_for_token(403, "That is not the token, or there were too many tries: wait some seconds.")
        return see("./").with_cookie(access.cookie(access.open_session(), secure=asked.secure))

    def _ask_for_token(self, status: int, said: str) -> Answer:
        form = tag(
            "form",
            tag("p", said, class_="bad", role="alert") if said else None,
            # so that managers of passwords know what the token is for
            tag("input", type="text", name="user", value=_TITLE, autocomplete="username", hidden=True),
            tag(
                "label",
                "Token",
                tag("input", type="password", name="token", required=True, autocomplete="current-password"),
            ),
            tag("button", "Open"),
            method="post",
            action="./login",
            class_="search",
        )
        return html(page(_TITLE, ".", links=(), main=[tag("h2", "The dashboard's token"), form], live=False), status)


def _done(said: str) -> str:
    """What an action did, as the address says it: a word of ours and a number."""
    action, _, count = said.partition("-")
    if action not in ("replay", "forget") or not count.isdecimal() or len(count) > 12:
        return ""
    return f"{int(count):,} dead letters {'are pending again.' if action == 'replay' else 'are forgotten.'}"
