"""Bars as SVG: netfw's ratio to another proxy, a line a scenario, with the budget as a mark."""

from __future__ import annotations

from html import escape

_ROW, _LEFT, _UNIT, _MOST = 26, 330, 240, 2.0


def bars(ratios: list[tuple[str, float, float | None]]) -> str:
    """`ratios`: what was measured, netfw's figure by the other's, and the most that it may be."""
    height = _ROW * len(ratios) + 60
    width = int(_LEFT + _UNIT * _MOST + 70)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"',
        ' font-size="13">',
        "<title>CPU and memory by that of another proxy</title>",
        "<desc>A bar a scenario: netfw's figure by the other proxy's, with the budget as a mark.</desc>",
        "<style>",
        ".paper { fill: white } text { fill: black } .said { fill: grey } .mark { stroke: black }",
        "@media (prefers-color-scheme: dark) {",
        "  .paper { fill: #1c1e21 } text { fill: #e8e8e8 } .said { fill: #a0a0a0 } .mark { stroke: #e8e8e8 }",
        "}",
        "</style>",
        f'<rect width="{width}" height="{height}" class="paper"/>',
    ]
    for number, (name, ratio, must) in enumerate(ratios):
        top = 20 + number * _ROW
        good = must is None or ratio <= must
        length = min(ratio, _MOST) * _UNIT
        parts.append(f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>')
        colour = "#3a7d44" if good else "#c1666b"
        parts.append(f'<rect x="{_LEFT}" y="{top + 3}" width="{length:.1f}" height="15" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + length + 6:.1f}" y="{top + 15}">{ratio:.2f}</text>')
        if must is not None:
            at = _LEFT + min(must, _MOST) * _UNIT
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{top + 21}" class="mark" stroke-width="2"/>'
            )
    one, bottom = _LEFT + _UNIT, 20 + len(ratios) * _ROW
    parts.append(f'<line x1="{one}" x2="{one}" y1="12" y2="{bottom}" stroke="grey" stroke-dasharray="3 3"/>')
    parts.append(f'<text x="{one}" y="{bottom + 16}" text-anchor="middle" class="said">the other proxy</text>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 34}" class="said">less is better; a black mark is the budget</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
