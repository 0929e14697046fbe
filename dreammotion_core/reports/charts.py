"""Curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#5b5bd6", "#e5484d", "#30a46c", "#f76b15", "#0090ff", "#8e4ec6", "#978365", "#12a594", "#e93d82")
WIDTH, HEIGHT = 520, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 26


def line_chart(curves: Mapping[str, Sequence[float]], *, title: str) -> str:
    """Curves over steps, with a legend.

    Args:
        curves: name -> one finite value a step; empty ones are left out.
        title: what is drawn, plain text.

    Returns:
        A figure in HTML; a sentence instead where there is nothing to draw.
    """
    shown = {name: list(values) for name, values in curves.items() if len(values)}
    if not any(any(values) for values in shown.values()):
        return f'<figure><figcaption class="faint">{escape(title)}: zero everywhere</figcaption></figure>'
    top = max(max(values) for values in shown.values())
    bottom = min(0.0, *(min(values) for values in shown.values()))
    longest = max(map(len, shown.values()))
    lines, legend = [], []
    for index, (name, values) in enumerate(shown.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(_point(step, value, longest, bottom, top) for step, value in enumerate(values))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        legend.append(f'<span style="color:{colour}">●</span> {escape(name)}')
    axes = (
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" '
        'fill="none" stroke="currentColor" opacity=".4"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{_short(top)}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">{_short(bottom)}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">step 1</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{longest}</text>'
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{axes}{''.join(lines)}</svg>"
        f"<figcaption>{escape(title)}: {' &nbsp; '.join(legend)}</figcaption></figure>"
    )


def _point(step: int, value: float, longest: int, bottom: float, top: float) -> str:
    x = LEFT + (WIDTH - LEFT - RIGHT) * (step / max(1, longest - 1))
    y = TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / ((top - bottom) or 1.0)
    return f"{x:.1f},{y:.1f}"


def _short(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"
