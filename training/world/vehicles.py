"""Things that drive, sail and fly, facing right."""

from __future__ import annotations

import torch
from torch import Tensor

from training.world.objects import (
    AMBER,
    CREAM,
    DARK,
    GLASS,
    GREY,
    WOOD,
    Layer,
    box,
    circle,
    ellipse,
    polygon,
    segment,
    smooth_union,
    turned,
    union,
)


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
    """A wheel at each x."""
    tyres = union(*(circle(p, x, -0.46, 0.25) for x in places))
    hubs = union(*(circle(p, x, -0.46, 0.11) for x in places))
    return [Layer(tyres, DARK), Layer(hubs, GREY)]


def _headlight(p: Tensor, x: float, y: float) -> Layer:
    return Layer(circle(p, x, y, 0.09), CREAM, is_shaded=False)
