"""The nouns: silhouettes and details as signed distance functions.

Each noun maps points of its own frame (x to the right, y up, body roughly within [-1, 1]) to a list of
layers, painted in order. Distances are negative inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

DARK = (0.12, 0.12, 0.15)
GLASS = (0.72, 0.88, 0.96)
WHITE = (0.98, 0.98, 0.97)
CREAM = (0.99, 0.94, 0.83)
AMBER = (0.98, 0.70, 0.18)
WOOD = (0.50, 0.33, 0.20)


@dataclass(frozen=True)
class Layer:
    """One painted part.

    Attributes:
        distance: signed distance in units of the object's frame, any shape.
        paint: a fixed sRGB colour, or a factor by which the object's own colour is scaled
            (1 is the body; above 1 mixes towards white).
        is_shaded: whether the light shades it.
    """

    distance: Tensor
    paint: tuple[float, float, float] | float = 1.0
    is_shaded: bool = True


def circle(p: Tensor, x: float, y: float, radius: float) -> Tensor:
    return torch.hypot(p[..., 0] - x, p[..., 1] - y) - radius


def ellipse(p: Tensor, x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Tensor:
    """Approximate distance, exact enough near the outline."""
    c, s = math.cos(angle), math.sin(angle)
    dx, dy = p[..., 0] - x, p[..., 1] - y
    u, v = (c * dx + s * dy) / rx, (c * dy - s * dx) / ry
    k0 = torch.hypot(u, v)
    k1 = torch.hypot(u / rx, v / ry).clamp_min(1e-6)
    return k0 * (k0 - 1.0) / k1


def box(p: Tensor, x: float, y: float, half_w: float, half_h: float, rounding: float = 0.0) -> Tensor:
    dx = (p[..., 0] - x).abs() - (half_w - rounding)
    dy = (p[..., 1] - y).abs() - (half_h - rounding)
    outside = torch.hypot(dx.clamp_min(0), dy.clamp_min(0))
    return outside + torch.maximum(dx, dy).clamp_max(0) - rounding


def segment(p: Tensor, x0: float, y0: float, x1: float, y1: float, radius: float) -> Tensor:
    px, py = p[..., 0] - x0, p[..., 1] - y0
    dx, dy = x1 - x0, y1 - y0
    along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return torch.hypot(px - along * dx, py - along * dy) - radius


def polygon(p: Tensor, *corners: tuple[float, float]) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    distance = torch.full_like(x, math.inf)
    sign = torch.ones_like(x)
    for (ax, ay), (bx, by) in zip(corners, corners[-1:] + corners[:-1], strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        along = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        distance = torch.minimum(distance, torch.hypot(wx - along * ex, wy - along * ey))
        crosses = torch.stack([y >= ay, y < by, ex * wy > ey * wx])
        sign = torch.where(crosses.all(0) | (~crosses).all(0), -sign, sign)
    return distance * sign


def union(*distances: Tensor) -> Tensor:
    return torch.stack(distances).amin(0)


def smooth_union(a: Tensor, b: Tensor, blend: float) -> Tensor:
    h = (0.5 + 0.5 * (b - a) / blend).clamp(0, 1)
    return b + (a - b) * h - blend * h * (1 - h)


def _eye(p: Tensor, x: float, y: float, size: float = 0.13) -> list[Layer]:
    return [
        Layer(circle(p, x, y, size), WHITE, is_shaded=False),
        Layer(circle(p, x + size * 0.25, y, size * 0.55), DARK, is_shaded=False),
    ]


def _shine(p: Tensor, x: float, y: float, size: float = 0.16) -> Layer:
    return Layer(ellipse(p, x, y, size, size * 0.6, 0.7), 1.55, is_shaded=False)


def ball(p: Tensor) -> list[Layer]:
    return [Layer(circle(p, 0, 0, 0.92)), _shine(p, -0.36, 0.42)]


def cube(p: Tensor) -> list[Layer]:
    top = polygon(p, (-0.8, 0.42), (-0.42, 0.85), (0.9, 0.85), (0.52, 0.42))
    side = polygon(p, (0.52, 0.42), (0.9, 0.85), (0.9, -0.42), (0.52, -0.85))
    front = polygon(p, (-0.8, 0.42), (0.52, 0.42), (0.52, -0.85), (-0.8, -0.85))
    return [Layer(front), Layer(top, 1.25), Layer(side, 0.68)]


def star(p: Tensor) -> list[Layer]:
    corners = [
        (r * math.sin(k * math.pi / 5), r * math.cos(k * math.pi / 5)) for k, r in enumerate([1.0, 0.47] * 5)
    ]
    return [Layer(polygon(p, *corners) - 0.06), _shine(p, -0.12, 0.38, 0.11)]


def heart(p: Tensor) -> list[Layer]:
    lobes = smooth_union(circle(p, -0.42, 0.34, 0.47), circle(p, 0.42, 0.34, 0.47), 0.08)
    tip = polygon(p, (-0.83, 0.12), (0.0, -0.92), (0.83, 0.12), (0.0, 0.5))
    return [Layer(smooth_union(lobes, tip, 0.12)), _shine(p, -0.46, 0.5)]


def car(p: Tensor) -> list[Layer]:
    chassis = box(p, 0, -0.18, 1.0, 0.30, 0.14)
    cabin = polygon(p, (-0.62, 0.05), (-0.40, 0.55), (0.30, 0.55), (0.62, 0.05)) - 0.06
    layers = [Layer(smooth_union(chassis, cabin, 0.08))]
    layers += [Layer(polygon(p, (-0.46, 0.12), (-0.32, 0.46), (-0.08, 0.46), (-0.08, 0.12)), GLASS)]
    layers += [Layer(polygon(p, (0.04, 0.12), (0.04, 0.46), (0.25, 0.46), (0.45, 0.12)), GLASS)]
    for x in (-0.54, 0.54):
        layers += [
            Layer(circle(p, x, -0.46, 0.25), DARK),
            Layer(circle(p, x, -0.46, 0.11), (0.75, 0.76, 0.78)),
        ]
    return [*layers, Layer(circle(p, 0.92, -0.12, 0.09), CREAM, is_shaded=False)]


def boat(p: Tensor) -> list[Layer]:
    hull = polygon(p, (-0.95, -0.18), (0.95, -0.18), (0.62, -0.72), (-0.62, -0.72)) - 0.06
    mast = segment(p, -0.02, -0.2, -0.02, 0.98, 0.045)
    sail = polygon(p, (0.08, 0.0), (0.08, 0.92), (0.72, 0.0))
    jib = polygon(p, (-0.12, 0.0), (-0.12, 0.72), (-0.58, 0.0))
    return [
        Layer(mast, WOOD),
        Layer(sail, 1.0),
        Layer(jib, 1.3),
        Layer(hull),
        Layer(box(p, 0, -0.2, 0.98, 0.07, 0.05), CREAM),
    ]


def fish(p: Tensor) -> list[Layer]:
    body = ellipse(p, 0.12, 0, 0.80, 0.50)
    tail = polygon(p, (-0.5, 0.0), (-1.0, 0.46), (-0.86, 0.0), (-1.0, -0.46)) - 0.05
    fin = polygon(p, (-0.15, 0.4), (0.0, 0.78), (0.35, 0.42)) - 0.04
    side_fin = ellipse(p, 0.05, -0.14, 0.22, 0.12, 0.5)
    return [Layer(union(tail, fin), 0.82), Layer(body), Layer(side_fin, 0.75), *_eye(p, 0.55, 0.13)]


def bird(p: Tensor) -> list[Layer]:
    body = smooth_union(ellipse(p, -0.08, -0.12, 0.68, 0.48, 0.25), circle(p, 0.52, 0.36, 0.34), 0.15)
    tail = polygon(p, (-0.55, -0.1), (-1.02, 0.06), (-0.95, -0.34)) - 0.05
    beak = polygon(p, (0.82, 0.44), (1.12, 0.32), (0.82, 0.22))
    legs = union(segment(p, -0.1, -0.55, -0.1, -0.86, 0.04), segment(p, 0.14, -0.52, 0.14, -0.86, 0.04))
    wing = ellipse(p, -0.2, -0.08, 0.42, 0.25, 0.45)
    return [
        Layer(legs, AMBER),
        Layer(beak, AMBER),
        Layer(smooth_union(body, tail, 0.1)),
        Layer(wing, 0.74),
        *_eye(p, 0.6, 0.44, 0.1),
    ]


def balloon(p: Tensor) -> list[Layer]:
    envelope = smooth_union(ellipse(p, 0, 0.3, 0.64, 0.70), circle(p, 0, -0.34, 0.12), 0.25)
    knot = polygon(p, (-0.12, -0.56), (0.12, -0.56), (0.0, -0.40))
    string = segment(p, 0, -0.5, 0.05, -1.0, 0.028)
    return [
        Layer(string, (0.45, 0.45, 0.47)),
        Layer(knot, 0.7),
        Layer(envelope),
        _shine(p, -0.24, 0.58, 0.17),
    ]


def mushroom(p: Tensor) -> list[Layer]:
    cap = torch.maximum(ellipse(p, 0, -0.02, 0.95, 0.88), -(p[..., 1] + 0.02)) - 0.05
    stem = smooth_union(box(p, 0, -0.42, 0.26, 0.46, 0.16), ellipse(p, 0, -0.8, 0.36, 0.16), 0.1)
    spots = union(circle(p, -0.38, 0.36, 0.13), circle(p, 0.14, 0.58, 0.14), circle(p, 0.52, 0.22, 0.11))
    return [Layer(stem, CREAM), Layer(cap), Layer(spots, WHITE)]


def duck(p: Tensor) -> list[Layer]:
    body = ellipse(p, -0.1, -0.32, 0.80, 0.46)
    tail = polygon(p, (-0.62, -0.15), (-1.0, 0.22), (-0.5, 0.05)) - 0.06
    head = circle(p, 0.42, 0.36, 0.38)
    beak = ellipse(p, 0.86, 0.28, 0.24, 0.11)
    wing = ellipse(p, -0.22, -0.24, 0.40, 0.24, 0.3)
    whole = smooth_union(smooth_union(body, head, 0.22), tail, 0.12)
    return [Layer(beak, AMBER), Layer(whole), Layer(wing, 0.78), *_eye(p, 0.5, 0.46, 0.1)]


def rocket(p: Tensor) -> list[Layer]:
    body = torch.maximum(ellipse(p, 0, -0.1, 0.40, 1.02), -(p[..., 1] + 0.62)) - 0.03
    fins = (
        union(
            polygon(p, (-0.30, -0.2), (-0.74, -0.78), (-0.26, -0.64)),
            polygon(p, (0.30, -0.2), (0.74, -0.78), (0.26, -0.64)),
        )
        - 0.04
    )
    flame = ellipse(p, 0, -0.78, 0.18, 0.26)
    return [
        Layer(flame, AMBER, is_shaded=False),
        Layer(fins, 0.68),
        Layer(body),
        Layer(circle(p, 0, 0.22, 0.21), CREAM),
        Layer(circle(p, 0, 0.22, 0.14), GLASS),
    ]


NOUNS: dict[str, Callable[[Tensor], list[Layer]]] = {
    "ball": ball,
    "cube": cube,
    "star": star,
    "heart": heart,
    "car": car,
    "boat": boat,
    "fish": fish,
    "bird": bird,
    "balloon": balloon,
    "mushroom": mushroom,
    "duck": duck,
    "rocket": rocket,
}
"""From (..., 2) points in the object's frame to its layers, painted in order."""
