"""What the nouns are drawn with: signed distances, a few fixed colours, and painted layers.

Points are (..., 2) tensors in the frame of the object, x to the right and y up; distances are (...) in the
same units and negative inside. Angles are radians, anticlockwise.
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
GREEN = (0.30, 0.55, 0.22)
PINK = (0.95, 0.62, 0.66)
GREY = (0.75, 0.76, 0.78)


@dataclass(frozen=True)
class Layer:
    """One painted part."""

    distance: Tensor
    paint: tuple[float, float, float] | float = 1.0  # sRGB, or a factor on the object's own colour
    is_shaded: bool = True


def circle(p: Tensor, x: float, y: float, radius: float) -> Tensor:
    """Distance to a disc, exact."""
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
    """Distance to a rectangle given by half its sides, its corners rounded inwards; exact."""
    dx = (p[..., 0] - x).abs() - (half_w - rounding)
    dy = (p[..., 1] - y).abs() - (half_h - rounding)
    outside = torch.hypot(dx.clamp_min(0), dy.clamp_min(0))
    return outside + torch.maximum(dx, dy).clamp_max(0) - rounding


def segment(p: Tensor, x0: float, y0: float, x1: float, y1: float, radius: float) -> Tensor:
    """Distance to a line of round ends and half-width `radius`, exact."""
    px, py = p[..., 0] - x0, p[..., 1] - y0
    dx, dy = x1 - x0, y1 - y0
    along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return torch.hypot(px - along * dx, py - along * dy) - radius


def polygon(p: Tensor, *corners: tuple[float, float]) -> Tensor:
    """Distance to a filled polygon, exact; the corners may run either way round."""
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
    """All of the parts together."""
    return torch.stack(distances).amin(0)


def smooth_union(a: Tensor, b: Tensor, blend: float) -> Tensor:
    """Two parts run together, the crease between them filled over a width of about `blend`."""
    h = (0.5 + 0.5 * (b - a) / blend).clamp(0, 1)
    return b + (a - b) * h - blend * h * (1 - h)


def ring(p: Tensor, x: float, y: float, rx: float, ry: float, width: float) -> Tensor:
    """Distance to a band of that width along the outline of an ellipse."""
    return ellipse(p, x, y, rx, ry).abs() - width / 2


def turned(p: Tensor, angle: float) -> Tensor:
    """The points in a frame turned anticlockwise by `angle` radians about the origin."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack([c * p[..., 0] + s * p[..., 1], c * p[..., 1] - s * p[..., 0]], dim=-1)


def eye(p: Tensor, x: float, y: float, size: float = 0.13) -> list[Layer]:
    """A white eye of radius `size` that looks ahead, to the right."""
    return [
        Layer(circle(p, x, y, size), WHITE, is_shaded=False),
        Layer(circle(p, x + size * 0.25, y, size * 0.55), DARK, is_shaded=False),
    ]


def shine(p: Tensor, x: float, y: float, size: float = 0.16) -> Layer:
    """A highlight, which makes a surface look smooth."""
    return Layer(ellipse(p, x, y, size, size * 0.6, 0.7), 1.55, is_shaded=False)


def ball(p: Tensor) -> list[Layer]:
    return [Layer(circle(p, 0, 0, 0.92)), shine(p, -0.36, 0.42)]


def cube(p: Tensor) -> list[Layer]:
    top = polygon(p, (-0.8, 0.42), (-0.42, 0.85), (0.9, 0.85), (0.52, 0.42))
    side = polygon(p, (0.52, 0.42), (0.9, 0.85), (0.9, -0.42), (0.52, -0.85))
    front = polygon(p, (-0.8, 0.42), (0.52, 0.42), (0.52, -0.85), (-0.8, -0.85))
    return [Layer(front), Layer(top, 1.25), Layer(side, 0.68)]


def star(p: Tensor) -> list[Layer]:
    corners = [
        (r * math.sin(k * math.pi / 5), r * math.cos(k * math.pi / 5)) for k, r in enumerate([1.0, 0.47] * 5)
    ]
    return [Layer(polygon(p, *corners) - 0.06), shine(p, -0.12, 0.38, 0.11)]


def heart(p: Tensor) -> list[Layer]:
    lobes = smooth_union(circle(p, -0.42, 0.34, 0.47), circle(p, 0.42, 0.34, 0.47), 0.08)
    tip = polygon(p, (-0.83, 0.12), (0.0, -0.92), (0.83, 0.12), (0.0, 0.5))
    return [Layer(smooth_union(lobes, tip, 0.12)), shine(p, -0.46, 0.5)]


def balloon(p: Tensor) -> list[Layer]:
    envelope = smooth_union(ellipse(p, 0, 0.3, 0.64, 0.70), circle(p, 0, -0.34, 0.12), 0.25)
    knot = polygon(p, (-0.12, -0.56), (0.12, -0.56), (0.0, -0.40))
    string = segment(p, 0, -0.5, 0.05, -1.0, 0.028)
    return [
        Layer(string, (0.45, 0.45, 0.47)),
        Layer(knot, 0.7),
        Layer(envelope),
        shine(p, -0.24, 0.58, 0.17),
    ]


def mushroom(p: Tensor) -> list[Layer]:
    cap = torch.maximum(ellipse(p, 0, -0.02, 0.95, 0.88), -(p[..., 1] + 0.02)) - 0.05
    stem = smooth_union(box(p, 0, -0.42, 0.26, 0.46, 0.16), ellipse(p, 0, -0.8, 0.36, 0.16), 0.1)
    spots = union(circle(p, -0.38, 0.36, 0.13), circle(p, 0.14, 0.58, 0.14), circle(p, 0.52, 0.22, 0.11))
    return [Layer(stem, CREAM), Layer(cap), Layer(spots, WHITE)]


def pumpkin(p: Tensor) -> list[Layer]:
    stem = union(segment(p, 0.0, 0.6, 0.04, 0.86, 0.10), segment(p, 0.04, 0.86, 0.2, 0.96, 0.07))
    leaf = ellipse(p, -0.3, 0.78, 0.26, 0.11, -0.35)
    outer = union(ellipse(p, -0.56, -0.08, 0.42, 0.66), ellipse(p, 0.56, -0.08, 0.42, 0.66))
    inner = union(ellipse(p, -0.31, -0.1, 0.42, 0.78), ellipse(p, 0.31, -0.1, 0.42, 0.78))
    return [
        Layer(outer),
        Layer(inner - 0.03, 0.72),
        Layer(inner),
        Layer(ellipse(p, 0, -0.1, 0.35, 0.83), 0.72),
        Layer(ellipse(p, 0, -0.1, 0.31, 0.82)),
        Layer(stem, GREEN),
        Layer(leaf, GREEN),
    ]


def planet(p: Tensor) -> list[Layer]:
    q = turned(p, 0.35)
    globe = circle(p, 0, 0, 0.86)
    loop = ring(q, 0, 0, 1.14, 0.26, 0.13)
    # Only the near half of the ring passes in front of the globe.
    near = torch.maximum(loop, q[..., 1])
    bands = union(ring(q, 0, 0.72, 1.1, 0.3, 0.13), ring(q, 0, -0.22, 1.1, 0.3, 0.13))
    return [
        Layer(loop, CREAM),
        Layer(globe),
        Layer(torch.maximum(bands, globe), 0.74),
        Layer(near, CREAM),
        shine(p, -0.36, 0.5, 0.14),
    ]


def car(p: Tensor) -> list[Layer]:
    chassis = box(p, 0, -0.18, 1.0, 0.30, 0.14)
    cabin = polygon(p, (-0.62, 0.05), (-0.40, 0.55), (0.30, 0.55), (0.62, 0.05)) - 0.06
    layers = [Layer(smooth_union(chassis, cabin, 0.08))]
    layers += [Layer(polygon(p, (-0.46, 0.12), (-0.32, 0.46), (-0.08, 0.46), (-0.08, 0.12)), GLASS)]
    layers += [Layer(polygon(p, (0.04, 0.12), (0.04, 0.46), (0.25, 0.46), (0.45, 0.12)), GLASS)]
    return [*layers, *_wheels(p, -0.54, 0.54), _headlight(p, 0.92, -0.12)]


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


def bus(p: Tensor) -> list[Layer]:
    body = box(p, 0, 0.06, 1.0, 0.56, 0.16)
    windows = [box(p, x, 0.30, 0.15, 0.16, 0.05) for x in (-0.72, -0.30, 0.12)]
    windscreen = box(p, 0.68, 0.24, 0.20, 0.22, 0.06)
    stripe = box(p, 0, -0.08, 0.99, 0.035)
    layers = [Layer(body), Layer(stripe, CREAM), Layer(union(*windows, windscreen), GLASS)]
    return [*layers, *_wheels(p, -0.54, 0.54), _headlight(p, 0.92, -0.24)]


def truck(p: Tensor) -> list[Layer]:
    frame = box(p, 0, -0.38, 0.98, 0.11, 0.05)
    load = box(p, -0.38, 0.19, 0.62, 0.47, 0.06)
    slats = union(*(box(p, x, 0.19, 0.03, 0.36, 0.02) for x in (-0.69, -0.38, -0.07)))
    cab = polygon(p, (0.36, -0.36), (0.36, 0.34), (0.70, 0.34), (0.94, 0.0), (0.94, -0.36)) - 0.06
    window = polygon(p, (0.48, 0.02), (0.48, 0.26), (0.67, 0.26), (0.84, 0.02)) - 0.02
    layers = [Layer(frame, DARK), Layer(load), Layer(slats, 0.72), Layer(cab), Layer(window, GLASS)]
    return [*layers, *_wheels(p, -0.62, 0.56), _headlight(p, 0.92, -0.18)]


def plane(p: Tensor) -> list[Layer]:
    q = turned(p, 0.24)
    body = ellipse(q, 0.06, -0.05, 0.96, 0.45)
    fin = polygon(q, (-0.40, 0.2), (-0.74, 0.60), (-0.96, 0.60), (-0.84, 0.0)) - 0.05
    wing = polygon(q, (0.20, -0.16), (-0.16, -0.16), (-0.52, -0.62), (-0.28, -0.62)) - 0.06
    tailplane = polygon(q, (-0.60, 0.06), (-0.80, 0.06), (-1.02, -0.12), (-0.88, -0.12)) - 0.04
    portholes = union(*(circle(q, x, 0.10, 0.085) for x in (-0.34, -0.08, 0.18)))
    cockpit = torch.maximum(polygon(q, (0.48, 0.06), (0.48, 0.5), (1.0, 0.5), (0.92, 0.06)), body + 0.05)
    return [
        Layer(fin, 0.74),
        Layer(body),
        Layer(union(wing, tailplane), 0.74),
        Layer(union(portholes, cockpit), GLASS),
    ]


def _wheels(p: Tensor, *places: float) -> list[Layer]:
    tyres = union(*(circle(p, x, -0.46, 0.25) for x in places))
    hubs = union(*(circle(p, x, -0.46, 0.11) for x in places))
    return [Layer(tyres, DARK), Layer(hubs, GREY)]


def _headlight(p: Tensor, x: float, y: float) -> Layer:
    return Layer(circle(p, x, y, 0.09), CREAM, is_shaded=False)


def fish(p: Tensor) -> list[Layer]:
    body = ellipse(p, 0.12, 0, 0.80, 0.50)
    tail = polygon(p, (-0.5, 0.0), (-1.0, 0.46), (-0.86, 0.0), (-1.0, -0.46)) - 0.05
    fin = polygon(p, (-0.15, 0.4), (0.0, 0.78), (0.35, 0.42)) - 0.04
    side_fin = ellipse(p, 0.05, -0.14, 0.22, 0.12, 0.5)
    return [Layer(union(tail, fin), 0.82), Layer(body), Layer(side_fin, 0.75), *eye(p, 0.55, 0.13)]


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
        *eye(p, 0.6, 0.44, 0.1),
    ]


def duck(p: Tensor) -> list[Layer]:
    body = ellipse(p, -0.1, -0.32, 0.80, 0.46)
    tail = polygon(p, (-0.62, -0.15), (-1.0, 0.22), (-0.5, 0.05)) - 0.06
    head = circle(p, 0.42, 0.36, 0.38)
    beak = ellipse(p, 0.86, 0.28, 0.24, 0.11)
    wing = ellipse(p, -0.22, -0.24, 0.40, 0.24, 0.3)
    whole = smooth_union(smooth_union(body, head, 0.22), tail, 0.12)
    return [Layer(beak, AMBER), Layer(whole), Layer(wing, 0.78), *eye(p, 0.5, 0.46, 0.1)]


def cat(p: Tensor) -> list[Layer]:
    sides = (-1.0, 1.0)
    ears = union(*(polygon(p, (s * 0.60, 0.40), (s * 0.56, 0.96), (s * 0.10, 0.68)) - 0.04 for s in sides))
    inner = union(*(polygon(p, (s * 0.50, 0.56), (s * 0.50, 0.84), (s * 0.26, 0.68)) for s in sides))
    tail = union(
        torch.maximum(ring(p, 0.56, -0.50, 0.30, 0.38, 0.2), -p[..., 0] + 0.5),
        segment(p, 0.56, -0.12, 0.50, -0.14, 0.1),
    )
    whiskers = union(
        *(segment(p, s * 0.34, y, s * 0.80, 2 * y - 0.18, 0.022) for s in sides for y in (0.13, 0.22))
    )
    return [
        Layer(tail, 0.82),
        *_sitting_body(p),
        Layer(ears),
        Layer(inner, PINK),
        Layer(_head(p)),
        Layer(whiskers, DARK),
        *_face(p),
        Layer(polygon(p, (-0.08, 0.26), (0.08, 0.26), (0.0, 0.16)) - 0.02, PINK),
    ]


def dog(p: Tensor) -> list[Layer]:
    tail = segment(p, 0.45, -0.66, 0.78, -0.40, 0.10)
    ears = union(ellipse(p, -0.64, 0.30, 0.18, 0.42, -0.15), ellipse(p, 0.64, 0.30, 0.18, 0.42, 0.15))
    return [
        Layer(tail, 0.82),
        *_sitting_body(p),
        Layer(_head(p)),
        Layer(ears, 0.60),
        Layer(ellipse(p, 0, -0.02, 0.10, 0.16), PINK),
        Layer(ellipse(p, 0, 0.16, 0.27, 0.18), CREAM),
        *_face(p),
        Layer(ellipse(p, 0, 0.26, 0.13, 0.09), DARK),
    ]


def _head(p: Tensor) -> Tensor:
    return ellipse(p, 0, 0.34, 0.64, 0.50)


def _sitting_body(p: Tensor) -> list[Layer]:
    body = smooth_union(ellipse(p, 0, -0.48, 0.56, 0.46), circle(p, 0, -0.1, 0.34), 0.2)
    paws = union(ellipse(p, -0.24, -0.86, 0.22, 0.13), ellipse(p, 0.24, -0.86, 0.22, 0.13))
    return [Layer(body), Layer(ellipse(p, 0, -0.44, 0.20, 0.23), 1.45), Layer(paws)]


def _face(p: Tensor) -> list[Layer]:
    whites = union(ellipse(p, -0.27, 0.44, 0.14, 0.16), ellipse(p, 0.27, 0.44, 0.14, 0.16))
    pupils = union(ellipse(p, -0.25, 0.43, 0.08, 0.11), ellipse(p, 0.25, 0.43, 0.08, 0.11))
    return [Layer(whites, WHITE, is_shaded=False), Layer(pupils, DARK, is_shaded=False)]


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
    "bus": bus,
    "truck": truck,
    "pumpkin": pumpkin,
    "planet": planet,
    "plane": plane,
    "cat": cat,
    "dog": dog,
}
"""From (..., 2) points in the object's frame, its body roughly within [-1, 1], to layers painted in order."""

LIKE_OUTLINES: tuple[tuple[str, ...], ...] = (
    ("car", "bus", "truck"),
    ("ball", "pumpkin", "planet"),
    ("bird", "plane"),
    ("boat", "duck"),
    ("cat", "dog"),
)
"""Nouns of like outline, so that one can become another where it stands."""
