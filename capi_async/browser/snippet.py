"""An event as its page tells it to the browser tags: with the id, name and value that the server sends."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from capi_async.browser.calls import TAGS, Tag
from capi_async.browser.names import NO_NAME, Target, name_of, platform_of, value_of
from capi_async.errors import EventError
from capi_async.event import Consent, Event

DENIED: Final = "is not called: the visitor denied it"
NO_VALUE: Final = "is not called: the account's own value cannot be read"


class BrowserSnippet(str):
    """A script element as text; templates of Jinja and Django take it as it is, because it is safe inside HTML.

    Attributes:
        json: The event as JSON, safe inside a script element: ``event_id``, ``name``, ``value``, ``currency``,
            ``order_id``, and what each platform calls it.
        calls: Platform to its tag's call, as a statement of JavaScript.
        notes: Platforms whose tags are not called, and why.
    """

    __slots__ = ("calls", "json", "notes")
    json: str
    calls: Mapping[str, str]
    notes: tuple[str, ...]

    def __html__(self) -> str:
        """The same text: nothing in it is to be escaped."""
        return str(self)


def browser_snippet(
    event: Event, platforms: Sequence[Target], *, nonce: str | None = None, consent: Consent | None = None
) -> BrowserSnippet:
    """The script that tells the browser tags of a page about an event that the server sends, too.

    A tag that is not on the page is passed over, and one that fails holds up no other. Nothing of the event's user is
    in the script. Tags whose platform has no name for the event, or that the visitor denied, are left out; see
    ``notes``.

    Args:
        event: The very event that is sent, so that its id is the same.
        platforms: Accounts of the client (their ``event_names`` and ``value`` hold here, too), names of platforms, or
            :class:`~capi_async.browser.BrowserTag`. LinkedIn and X need names.
        nonce: Of the page's Content Security Policy.
        consent: What the visitor agreed to; default: the event's.

    Raises:
        ConfigError: There is no tag of such a platform.
    """
    consent = event.consent if consent is None else consent
    calls: dict[str, str] = {}
    names: dict[str, Any] = {}
    notes: list[str] = []
    for target in platforms:
        platform = platform_of(target)
        tag = TAGS[platform]
        choices = getattr(target, "consents", tag.denied_by)
        if consent is not None and any(getattr(consent, choice) is (choice == "sale_opt_out") for choice in choices):
            notes.append(f"{platform} {DENIED}")
            continue
        try:
            name, value = name_of(target, platform, event), value_of(target, event)
        except EventError:
            notes.append(f"{platform} {NO_VALUE}")
            continue
        arguments = tag.arguments(name, event, value) if name is not None else []
        if not arguments:
            notes.append(f"{platform} {NO_NAME}")
            continue
        # accounts of one platform share the page's tag, which tells all of them
        if platform not in calls:
            calls[platform], names[platform] = _call(tag, arguments), name
    facts = {"event_id": event.event_id, "name": event.name, "value": event.value, "currency": event.currency,
             "order_id": event.order_id, "platforms": names}  # fmt: skip
    attribute = f' nonce="{html.escape(nonce, quote=True)}"' if nonce else ""
    snippet = BrowserSnippet(f"<script{attribute}>{''.join(calls.values())}</script>" if calls else "")
    snippet.json, snippet.calls, snippet.notes = script_json(facts), calls, tuple(notes)
    return snippet


#: What would end a script element, open a comment or an entity, or end a line of older JavaScript. None of them stands
#: outside a text in JSON.
_ESCAPED: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&'\u2028\u2029"})
#: An amount is a number with all of its digits.
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def script_json(value: object) -> str:
    """JSON that is JavaScript, too, and safe inside a script element and inside an attribute in single quotes."""
    try:
        data = _encoder.encode(value)
    except UnicodeError:  # half of a character, which no text should hold
        data = _encoder.encode(_whole(value))
    return data.decode().translate(_ESCAPED)


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list) else value


def _call(tag: Tag, arguments: list[Any]) -> str:
    """A statement that calls the tag if it is there; what it raises is shown in the console and stops nothing else."""
    holder, _, method = tag.function.partition(".")
    there = f"window.{holder}&&{tag.function}" if method else f"window.{holder}"
    given = ",".join(script_json(argument) for argument in arguments)
    return f"try{{if({there})window.{tag.function}({given})}}catch(e){{setTimeout(function(){{throw e}})}}"
