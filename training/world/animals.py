"""Animals; those seen from the side face right."""

from __future__ import annotations

import torch
from torch import Tensor

from training.world.objects import (
    AMBER,
    CREAM,
    DARK,
    PINK,
    WHITE,
    Layer,
    circle,
    ellipse,
    eye,
    polygon,
    ring,
    segment,
    smooth_union,
    union,
)


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
    """A body that sits facing the viewer, with two paws."""
    body = smooth_union(ellipse(p, 0, -0.48, 0.56, 0.46), circle(p, 0, -0.1, 0.34), 0.2)
    paws = union(ellipse(p, -0.24, -0.86, 0.22, 0.13), ellipse(p, 0.24, -0.86, 0.22, 0.13))
    return [Layer(body), Layer(ellipse(p, 0, -0.44, 0.20, 0.23), 1.45), Layer(paws)]


def _face(p: Tensor) -> list[Layer]:
    """Two eyes that look at the viewer."""
    whites = union(ellipse(p, -0.27, 0.44, 0.14, 0.16), ellipse(p, 0.27, 0.44, 0.14, 0.16))
    pupils = union(ellipse(p, -0.25, 0.43, 0.08, 0.11), ellipse(p, 0.25, 0.43, 0.08, 0.11))
    return [Layer(whites, WHITE, is_shaded=False), Layer(pupils, DARK, is_shaded=False)]
