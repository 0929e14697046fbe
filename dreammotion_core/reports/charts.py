"""Curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

COLOURS = ("#5b5bd6", "#e5484d", "#30a46c", "#f76b15", "#0090ff", "#8e4ec6", "#978365", "#12a594", "#e93d82")
WIDTH, HEIGHT = 520, 220
LEFT, RIGHT, TOP, BOTTOM = 78, 8, 10, 32


def line_chart(curves: Mapping[str, Sequence[float]], *, title: str) -> str:
    """Curves over steps, in the colours of `legend`.

    Args:
        curves: name -> one finite value a step; a curve may be empty.
        title: what is drawn, plain text.

    Returns:
        A figure in HTML; a sentence instead where there is nothing to draw.
    """
    values = [value for curve in curves.values() for value in curve]
    if not any(values):
        why = "zero everywhere" if values else "none of these methods has it"
        return f'<figure><figcaption class="faint">{escape(title)}: {why}</figcaption></figure>'
    top, bottom = max(values), min(0.0, *values)
    longest = max(map(len, curves.values()))
    lines = []
    for colour, curve in zip(_colours(len(curves)), curves.values(), strict=True):
        points = [_point(step, value, longest, bottom, top) for step, value in enumerate(curve)]
        # A line through one point shows nothing, unless it has round ends.
        joined = " ".join(points * 2 if len(points) == 1 else points)
        lines.append(
            f'<polyline points="{joined}" fill="none" stroke="{colour}" '
            f'stroke-width="{5 if len(points) == 1 else 1.6}" stroke-linecap="round"/>'
        )
    axes = (
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" '
        'fill="none" stroke="currentColor" opacity=".4"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 12}" text-anchor="end">{_short(top)}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">{_short(bottom)}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">step 1</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{longest}</text>'
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{axes}{''.join(lines)}</svg><figcaption>{escape(title)}</figcaption></figure>"
    )


def legend(names: Iterable[str]) -> str:
    """Which curve has which colour, once for all charts with the same curves in the same order."""
    known = list(names)
    marks = (
        f'<span><b style="color:{colour}">●</b> {escape(name)}</span>'
        for colour, name in zip(_colours(len(known)), known, strict=True)
    )
    return f'<p class="legend">{" ".join(marks)}</p>'


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _point(step: int, value: float, longest: int, bottom: float, top: float) -> str:
    x = LEFT + (WIDTH - LEFT - RIGHT) * (step / max(1, longest - 1))
    y = TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / ((top - bottom) or 1.0)
    return f"{x:.1f},{y:.1f}"


def _short(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return f"{value:.1e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"
