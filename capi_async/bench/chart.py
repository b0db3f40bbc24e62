"""The chart: CPU time per event as bars, in panels of contenders that do like work, as an SVG of our own making."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from capi_async.bench.contenders import AT, ENTRIES
from capi_async.bench.report import Figures, Report

_WIDTH: Final = 960
_ROW: Final = 22
_LEFT: Final = 330
_RIGHT: Final = 170
_TOP: Final = 58
_HEADING: Final = 34
#: A bar more than so many times as long as the next is cut, so that the others can be told apart.
_CUT: Final = 4.0
_COLOURS: Final = {"ours": "#1a7f64", "floor": "#8a8f98", "peer": "#c4663a"}
_STYLE: Final = (
    "text{font-family:-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:12px;fill:#24292f}"
    ".t{font-size:16px;font-weight:600}.h{font-size:13px;font-weight:600}.s{fill:#57606a}.n{fill:#57606a;font-size:11px}"
    ".w{stroke:#24292f}.b{fill:#fff}.c{stroke:#fff;stroke-width:4}"
)
_SUBTITLE: Final = (
    "From the row of an order to the answer of a local sink; median of the repeats, line from the least to the most"
)
_PANELS: Final = {entry.key: entry.panel for entry in (*ENTRIES, *AT.values())}


def _kind(one: Figures) -> str:
    if one.title.startswith("capi_async"):
        return "ours"
    return "peer" if one.version else "floor"


def draw(it: Report, panel_of: Mapping[str, str] = _PANELS, *, subtitle: str = _SUBTITLE) -> str:
    """The report's contenders, the cheapest of each panel first; missing ones are named under the chart.

    Args:
        panel_of: Contender to the panel that it stands in.
    """
    panels: dict[str, list[Figures]] = {name: [] for name in dict.fromkeys(panel_of.values())}
    for one in sorted(it.contenders, key=lambda one: one.cpu_us):
        panels.setdefault(panel_of.get(one.key, one.title), []).append(one)
    parts: list[str] = []
    top = _TOP
    for name, shown in panels.items():
        if shown:
            parts.append(f'<text class="h" x="16" y="{top + 20}">{escape(name)}</text>')
            parts += _panel(shown, top + _HEADING)
            top += _HEADING + _ROW * len(shown)
    facts = it.facts
    lines = [
        f"{it.date}: {facts.get('cpu', '?')}, {facts.get('cores', '?')} cores, {facts.get('python', '?')}, "
        f"{it.repeats} repeats, load average before {facts.get('load average before', '?')}",
        it.command,
    ]
    if it.missing:
        lines.append(f"not measured: {', '.join(it.missing)}")
    height = top + 26 + 14 * len(lines)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img" aria-label="CPU time per event of each contender">',
            f"<style>{_STYLE}</style>",
            f'<rect class="b" width="{_WIDTH}" height="{height}"/>',
            '<text class="t" x="16" y="26">CPU time per event, microseconds (less is better)</text>',
            f'<text class="s" x="16" y="44">{escape(subtitle)}</text>',
            *parts,
            *[
                f'<text class="n" x="16" y="{top + 26 + 14 * index}">{escape(line)}</text>'
                for index, line in enumerate(lines)
            ],
            "</svg>",
            "",
        ]
    )


def _panel(shown: Sequence[Figures], top: int) -> Iterator[str]:
    longest = shown[-1].cpu_us
    if len(shown) > 1 and longest > _CUT * shown[-2].cpu_us:
        longest = shown[-2].cpu_us * 1.25
    scale = (_WIDTH - _LEFT - _RIGHT) / max(longest, 1e-9)
    for index, one in enumerate(shown):
        y = top + _ROW * index
        middle = y + _ROW / 2
        cut = one.cpu_us > longest
        end = _LEFT + min(one.cpu_us, longest) * scale
        title = f"{one.title} ({one.version})" if one.version else one.title
        ratio = next(iter(one.ratios.values()), None)
        label = f"{one.cpu_us:,.1f}" + ("" if ratio is None else f"  ({ratio:.3g} × ours)")
        yield f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(title)}</text>'
        yield (
            f'<rect x="{_LEFT}" y="{y + 3}" width="{max(1.0, end - _LEFT):.1f}" height="{_ROW - 6}" '
            f'fill="{_COLOURS[_kind(one)]}"/>'
        )
        right = end
        if cut:
            yield f'<line class="c" x1="{end - 26:.1f}" y1="{y + _ROW}" x2="{end - 18:.1f}" y2="{y}"/>'
        else:
            left, right = (_LEFT + min(value, longest * 1.05) * scale for value in (one.cpu_us_low, one.cpu_us_high))
            yield f'<line class="w" x1="{left:.1f}" y1="{middle}" x2="{right:.1f}" y2="{middle}"/>'
        yield f'<text x="{max(end, right) + 6:.1f}" y="{middle + 4}">{escape(label)}</text>'
