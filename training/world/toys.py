"""Toys and other round and simple things."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.world.objects import (
    CREAM,
    GREEN,
    WHITE,
    Layer,
    box,
    circle,
    ellipse,
    polygon,
    ring,
    segment,
    shine,
    smooth_union,
    turned,
    union,
)


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
