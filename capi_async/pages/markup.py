"""HTML that is escaped by default: whatever is not made by :func:`tag` is text, and is shown as text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias

#: Elements that have no end.
_VOID: Final = frozenset({"br", "hr", "input", "link", "meta"})


class Html(str):
    """Markup that is finished. Only this module makes it, so that no text can pass for it."""

    __slots__ = ()


#: What may stand inside an element: text, numbers, finished markup, any of these in a row; ``None`` is nothing.
Content: TypeAlias = "str | int | float | Iterable[Content] | None"
#: ``True`` is the attribute's name alone; ``False`` and ``None`` leave it out.
Attribute: TypeAlias = "str | int | float | bool | None"

NOTHING: Final = Html("")


def tag(name: str, /, *content: Content, **attributes: Attribute) -> Html:
    """An element. A trailing underscore of an attribute's name is dropped, others become hyphens: ``class_``.

    An attribute that would run a script or load what is elsewhere is a fault of the code that calls this: names are
    the caller's own, and values are escaped.
    """
    head = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{head}>")
    return Html(f"<{name}{head}>{text(content)}</{name}>")


def text(content: Content) -> Html:
    """Content as markup: what is no :class:`Html` is escaped."""
    if content is None:
        return NOTHING
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(escape(_clean(content)))
    if isinstance(content, int | float):
        return Html(escape(str(content)))
    return Html("".join(text(one) for one in content))


def document(title: str, *, head: Content, body: Content, **attributes: Attribute) -> Html:
    """A whole page; ``attributes`` are those of its body."""
    inner = tag(
        "html",
        tag("head", tag("meta", charset="utf-8"), tag("title", title), head),
        tag("body", body, **attributes),
        lang="en",
    )
    return Html(f"<!doctype html>\n{inner}\n")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(_clean(str(value)))}"'


def _clean(said: str) -> str:
    """Without what no page may hold: halves of surrogate pairs cannot be encoded, a null ends a text in old parsers."""
    return said.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
