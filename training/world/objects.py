"""What the nouns are drawn with: signed distances, a few fixed colours, and painted layers.

Points are (..., 2) tensors in the frame of the object, x to the right and y up; distances are (...) in the
same units and negative inside. Angles are radians, anticlockwise.
"""

from __future__ import annotations

import math
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
