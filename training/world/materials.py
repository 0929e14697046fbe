"""What an object is made of or painted with.

A pattern keeps the object's colour and adds to it ("a striped red car"); a substance replaces it
("a golden car"). Patterns are as coarse as an autoencoder that shrinks pictures eight times can keep.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.15, 0.15),
    "orange": (0.97, 0.53, 0.10),
    "yellow": (0.97, 0.84, 0.16),
    "green": (0.22, 0.67, 0.26),
    "teal": (0.10, 0.66, 0.66),
    "blue": (0.16, 0.36, 0.88),
    "purple": (0.52, 0.24, 0.74),
    "pink": (0.97, 0.50, 0.71),
    "white": (0.95, 0.95, 0.95),
    "black": (0.13, 0.13, 0.15),
}
"""sRGB in [0, 1]."""


def to_lab(rgb: ArrayLike) -> NDArray[np.float32]:
    """CIELAB (L in [0, 100]) of sRGB colours; `rgb` is (..., 3) in [0, 1]."""
    colours = np.asarray(rgb, dtype=np.float32)
    return cv2.cvtColor(colours.reshape(-1, 1, 3), cv2.COLOR_RGB2LAB).reshape(colours.shape)


def nearest_colour(rgb: ArrayLike) -> str:
    """The name of the palette colour with the smallest CIELAB distance to one sRGB colour in [0, 1]."""
    distances = np.linalg.norm(to_lab(list(COLOURS.values())) - to_lab(rgb), axis=-1)
    return list(COLOURS)[int(distances.argmin())]


CREAM = (0.98, 0.97, 0.93)
SLATE = (0.30, 0.34, 0.42)


@dataclass(frozen=True)
class Surface:
    """The points to paint."""

    u: Tensor
    v: Tensor
    distance: Tensor
    body: Tensor  # (..., 3) the object's own colour, sRGB in [0, 1], broadcast over the points


@dataclass(frozen=True)
class Material:
    """How a surface looks."""

    keeps_colour: bool
    albedo: Callable[[Surface], Tensor]  # from a surface to its colour, (..., 3) sRGB in [0, 1]
    is_shaded: bool = True
    tufts: float = 0.0


def ruffled(distance: Tensor, points: Tensor, amount: float) -> Tensor:
    """The distance to an outline with tufts."""
    if not amount:
        return distance
    angle = torch.atan2(points[..., 1], points[..., 0])
    return distance - amount * torch.sin(22 * angle + 3 * torch.sin(5 * angle))


def _mix(a: Tensor, b: Tensor, amount: Tensor) -> Tensor:
    return a + (b - a) * amount[..., None]


def _step(x: Tensor, softness: float) -> Tensor:
    """0 below zero, 1 above, with a soft edge of the given width."""
    return (x / softness + 0.5).clamp(0, 1)


def _contrast(body: Tensor) -> Tensor:
    is_light = (body.mean(-1, keepdim=True) > 0.9).to(body.dtype)
    return body.new_tensor(CREAM) * (1 - is_light) + body.new_tensor(SLATE) * is_light


def _colour(surface: Surface, rgb: tuple[float, float, float]) -> Tensor:
    return surface.body.new_tensor(rgb)


def _wave(x: Tensor, period: float) -> Tensor:
    return torch.sin(x * (2 * math.pi / period))


def plain(surface: Surface) -> Tensor:
    """One colour."""
    return surface.body.expand(*surface.distance.shape, 3)


def striped(surface: Surface) -> Tensor:
    """Slanting stripes."""
    return _mix(surface.body, _contrast(surface.body), _step(_wave(surface.u + 0.25 * surface.v, 0.52), 0.3))


def dotted(surface: Surface) -> Tensor:
    """Dots in staggered rows."""
    pitch = 0.5
    row = (surface.v / pitch).round()
    u = surface.u / pitch + 0.5 * (row % 2)
    gap = torch.hypot(u - u.round(), surface.v / pitch - row) * pitch
    return _mix(surface.body, _contrast(surface.body), _step(0.145 - gap, 0.05))


def checkered(surface: Surface) -> Tensor:
    """Squares."""
    product = _wave(surface.u, 0.84) * _wave(surface.v, 0.84)
    return _mix(surface.body, _contrast(surface.body), _step(product, 0.3))


def furry(surface: Surface) -> Tensor:
    """Tousled strands, dark and light."""
    u, v = surface.u, surface.v
    strands = torch.sin(12 * u + 2.5 * torch.sin(5 * v)) * torch.sin(8 * v + 2.0 * torch.sin(6 * u) + 1)
    dark, light = surface.body * 0.55, surface.body + (1 - surface.body) * 0.22
    return _mix(dark, light, _step(strands, 1.6))


def glowing(surface: Surface) -> Tensor:
    """Light from within, whiter towards the middle."""
    core = (-surface.distance / 0.42).clamp(0, 1)
    return _mix(0.15 + 0.85 * surface.body, _colour(surface, (1.0, 1.0, 0.94)), 0.72 * core)


def golden(surface: Surface) -> Tensor:
    """Polished metal with broad reflections."""
    band = 0.5 + 0.5 * _wave(surface.v + 0.35 * surface.u + 0.1, 0.95)
    dark, mid, light = (
        _colour(surface, c) for c in ((0.58, 0.36, 0.05), (0.95, 0.72, 0.18), (1.0, 0.97, 0.72))
    )
    return _mix(_mix(dark, mid, (2 * band).clamp(0, 1)), light, (2 * band - 1).clamp(0, 1) ** 2)


def wooden(surface: Surface) -> Tensor:
    """Brown grain."""
    u, v = surface.u, surface.v
    grain = 0.5 + 0.5 * torch.sin(19 * v + 2.2 * torch.sin(2.6 * u) + 1.3 * torch.sin(5 * v))
    return _mix(_colour(surface, (0.72, 0.50, 0.29)), _colour(surface, (0.44, 0.27, 0.14)), grain**2)


def icy(surface: Surface) -> Tensor:
    """Pale blue with bright shards and a frosty rim."""
    u, v = surface.u, surface.v
    bend = 0.25 * torch.sin(2.2 * u + 1) - 0.8 * v
    shards = _wave(u + bend, 0.78) + 0.5 * _wave(u + bend, 0.31)
    ice = _mix(
        _colour(surface, (0.42, 0.74, 0.95)),
        _colour(surface, (0.80, 0.94, 1.0)),
        _step(shards, 1.4),
    )
    return _mix(ice, _colour(surface, (0.97, 0.99, 1.0)), (1 + surface.distance / 0.18).clamp(0, 1))


MATERIALS: dict[str, Material] = {
    "plain": Material(True, plain),
    "striped": Material(True, striped),
    "dotted": Material(True, dotted),
    "checkered": Material(True, checkered),
    "furry": Material(True, furry, tufts=0.035),
    "glowing": Material(True, glowing, is_shaded=False),
    "golden": Material(False, golden),
    "wooden": Material(False, wooden),
    "icy": Material(False, icy),
}
