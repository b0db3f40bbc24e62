"""The parts that pages are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from capi_async.pages.assets import SCRIPT, STYLE
from capi_async.pages.markup import Content, Html, document, tag

#: How something is: what the colour of a mark says, always beside a word.
Mood: TypeAlias = Literal["ok", "warn", "bad", "quiet"]

#: Seconds between two looks of a page that keeps itself up to date.
REFRESH_S: Final = 2


def page(
    title: str, base: str, *, links: Iterable[tuple[str, str, bool]], main: Content, live: bool, aside: Content = None
) -> Html:
    """A whole page: its name and links above, and ``main`` below, which the script renews while the page is open.

    Args:
        base: Address of the site, without a slash at its end.
        links: Text, address, and whether it is the page shown.
        live: Whether ``main`` is renewed; without a script the whole page is.
    """
    current = [
        tag("a", text, href=address, aria_current="page" if here else None) for text, address, here in links
    ]  # fmt: skip
    return document(
        title,
        head=[
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("link", rel="icon", href="data:,"),
            tag("link", rel="stylesheet", href=f"{base}/{STYLE.name}"),
            tag("script", src=f"{base}/{SCRIPT.name}", defer=True),
            tag("noscript", tag("meta", http_equiv="refresh", content=str(5 * REFRESH_S))) if live else None,
        ],
        body=[
            tag("a", "Skip to the content", href="#main", class_="skip"),
            tag("header", tag("h1", title), tag("nav", current, aria_label="Pages"), aside),
            tag("main", main, id="main", tabindex="-1", data_live=REFRESH_S if live else None),
            tag("p", "", id="status", role="status", class_="quiet"),
        ],
    )


def table(columns: Sequence[str | tuple[str, str]], rows: Iterable[Content], *, caption: str, empty: str) -> Html:
    """A table that may be scrolled sideways by itself; one without rows is a sentence.

    Args:
        columns: Headings; a pair is a heading and the class of its column, such as ``n`` for numbers.
        caption: What it shows, for those who cannot see it.
    """
    body = list(rows)
    if not body:
        return tag("p", empty, class_="quiet")
    heads = [(one, None) if isinstance(one, str) else one for one in columns]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="unseen"),
            tag("thead", tag("tr", [tag("th", text, class_=kind, scope="col") for text, kind in heads])),
            tag("tbody", body),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def row(*cells: Content | tuple[str, Content], head: Content = None) -> Html:
    """A row; a cell that is a pair has a class."""
    made = [tag("th", head, scope="row")] if head is not None else []
    for cell in cells:
        kind, content = cell if isinstance(cell, tuple) and len(cell) == 2 else (None, cell)
        made.append(tag("td", content, class_=str(kind) if kind else None))
    return tag("tr", made)


def mark(mood: Mood, said: Content) -> Html:
    """A word with a colour."""
    return tag("span", said, class_=f"mark {mood}")


def fold(summary: Content, inner: Content, key: str, *, open_: bool = False) -> Html:
    """What is shown when it is asked for; ``key`` keeps it open over renewals."""
    return tag("details", tag("summary", summary), inner, data_key=key, open=open_)


def facts(pairs: Mapping[str, Content]) -> Html:
    """Names and values; what is ``None`` is left out."""
    shown = [(tag("dt", name), tag("dd", value)) for name, value in pairs.items() if value is not None]
    return tag("dl", shown)


def button(
    said: str, action: str, hidden: Mapping[str, str], *, confirm: str = "", key: str = "", danger: bool = False
) -> Html:
    """A form of one button. With ``confirm`` it is folded away, and says what it does before it can be pressed."""
    form = tag(
        "form",
        [tag("input", type="hidden", name=name, value=value) for name, value in hidden.items()],
        tag("p", confirm) if confirm else None,
        tag("button", f"Yes, {said.lower()}" if confirm else said, class_="danger" if danger else None),
        method="post",
        action=action,
    )
    return fold(said, form, key or f"{action} {said}") if confirm else form


#: Width of a bar and the gap beside it, height of a chart: units of its own.
_BAR, _GAP, _HIGH = 5, 1, 40


def bars(values: Sequence[Sequence[int]], kinds: Sequence[str], about: str) -> Html:
    """A small chart of stacked bars, oldest first; its colours come from the stylesheet, by the names of ``kinds``.

    Its size does not depend on the values, so that nothing around it moves.
    """
    top = max((sum(one) for one in values), default=0) or 1
    drawn: list[Html] = []
    for place, stack in enumerate(values):
        at = float(_HIGH)
        for kind, number in zip(kinds, stack, strict=True):
            if number:
                high = max(1.0, number / top * (_HIGH - 1))
                at = max(0.0, at - high)
                drawn.append(
                    tag("rect", x=place * (_BAR + _GAP), y=f"{at:.1f}", width=_BAR, height=f"{high:.1f}", class_=kind)
                )
    width = max(1, len(values) * (_BAR + _GAP) - _GAP)
    return tag(
        "svg",
        tag("title", about),
        tag("rect", x=0, y=_HIGH - 0.5, width=width, height=0.5, class_="ground"),
        drawn,
        class_="bars",
        viewBox=f"0 0 {width} {_HIGH}",
        preserveAspectRatio="none",
        role="img",
        aria_label=about,
    )


def clock(seconds: float, *, day: bool = False, exact: bool = False) -> Html:
    """A moment in UTC: the time, with its day, or to the millisecond."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return tag("span", "?")
    said = moment.strftime("%m-%d %H:%M:%S" if day else "%H:%M:%S.%f" if exact else "%H:%M:%S")
    return tag("time", said[:-3] if exact and not day else said, datetime=moment.isoformat())


def span(seconds: float) -> str:
    """A length of time in one or two units, such as ``3 min 20 s``."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def size(count: int) -> str:
    """Bytes in the unit that fits."""
    if count < 10_000:
        return f"{count:,} B"
    return f"{count / 1_000:,.0f} kB" if count < 10_000_000 else f"{count / 1_000_000:,.0f} MB"
