"""The places: backgrounds with depth, drawn once per clip on a canvas wider than the frame.

Coordinates: x to the right (0 is the centre of the frame, the canvas reaches beyond [-1, 1]), y up in
[-1, 1]. Every place takes its details from a `random.Random`, so a seed fixes the picture.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """A background; `draw` goes from (H, W) coordinates x, y and a random source to (H, W, 3) sRGB."""

    where: str
    also: tuple[str, ...]
    has_ground: bool
    draw: Callable[[Tensor, Tensor, random.Random], Tensor]


def mix(a: Tensor, b: Tensor, amount: Tensor) -> Tensor:
    return a + (b - a) * amount[..., None]


def paint(image: Tensor, colour: Colour, coverage: Tensor) -> Tensor:
    return mix(image, image.new_tensor(colour), coverage)


def below(y: Tensor, edge: Tensor | float, softness: float = 0.012) -> Tensor:
    """Coverage of the half plane under an edge, anti-aliased."""
    return ((edge - y) / softness + 0.5).clamp(0, 1)


def disc(x: Tensor, y: Tensor, cx: float, cy: float, rx: float, ry: float, softness: float = 0.02) -> Tensor:
    distance = (torch.hypot((x - cx) / rx, (y - cy) / ry) - 1) * min(rx, ry)
    return (0.5 - distance / softness).clamp(0, 1)


def bar(x: Tensor, left: float, right: float, softness: float = 0.012) -> Tensor:
    return ((x - left) / softness + 0.5).clamp(0, 1) * ((right - x) / softness + 0.5).clamp(0, 1)


def gradient(y: Tensor, top: Colour, bottom: Colour, low: float = -1.0, high: float = 1.0) -> Tensor:
    amount = ((y - low) / (high - low)).clamp(0, 1)
    return mix(y.new_tensor(bottom).expand(*y.shape, 3), y.new_tensor(top), amount)


def ridge(x: Tensor, rng: random.Random, height: float, roughness: float) -> Tensor:
    """A hilly skyline."""
    line = torch.full_like(x, height)
    for octave in (1.3, 2.7, 5.1):
        line = line + roughness / octave * torch.sin(octave * x + rng.uniform(0, 2 * math.pi))
    return line


def clouds(
    image: Tensor, x: Tensor, y: Tensor, rng: random.Random, colour: Colour, strength: float
) -> Tensor:
    for _ in range(rng.randint(2, 4)):
        cx, cy, size = rng.uniform(-1.7, 1.7), rng.uniform(0.5, 0.9), rng.uniform(0.16, 0.3)
        puff = torch.zeros_like(x)
        for dx, dy, k in ((-0.8, 0.0, 0.6), (0.0, 0.18, 0.9), (0.8, 0.0, 0.65)):
            puff = torch.maximum(
                puff, disc(x, y, cx + dx * size, cy + dy * size, k * size * 1.25, k * size * 0.62, 0.08)
            )
        image = paint(image, colour, puff * strength)
    return image


def jitter(colour: Colour, rng: random.Random, amount: float = 0.035) -> Colour:
    r, g, b = (min(max(c + rng.uniform(-amount, amount), 0.0), 1.0) for c in colour)
    return r, g, b


def meadow(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.36, 0.66, 0.94), rng), (0.84, 0.94, 0.98), -0.2)
    image = clouds(image, x, y, rng, (1.0, 1.0, 1.0), 0.85)
    image = paint(image, jitter((0.52, 0.74, 0.50), rng), below(y, ridge(x, rng, 0.12, 0.10)))
    image = paint(image, jitter((0.42, 0.70, 0.34), rng), below(y, ridge(x, rng, -0.12, 0.07)))
    near = below(y, ridge(x, rng, -0.42, 0.05))
    image = paint(image, jitter((0.33, 0.62, 0.25), rng), near)
    for _ in range(26):
        cx, cy = rng.uniform(-1.8, 1.8), rng.uniform(-1, -0.5)
        petal = rng.choice([(1.0, 0.95, 0.6), (1.0, 0.98, 0.98), (0.98, 0.75, 0.85)])
        image = paint(image, petal, disc(x, y, cx, cy, 0.022, 0.022))
    return image


def sea(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.46, 0.74, 0.95), rng), (0.95, 0.95, 0.90), 0.0)
    image = clouds(image, x, y, rng, (1.0, 1.0, 1.0), 0.8)
    image = paint(image, (1.0, 0.95, 0.72), disc(x, y, rng.uniform(-1, 1), 0.62, 0.13, 0.13, 0.03))
    water = gradient(y, jitter((0.30, 0.62, 0.80), rng), jitter((0.07, 0.30, 0.55), rng), -1, 0.05)
    image = mix(image, water, below(y, 0.05))
    for k in range(7):
        level = 0.0 - 0.15 * k * (0.7 + 0.06 * k)
        wave = level + (0.008 + 0.005 * k) * torch.sin((16 - 1.5 * k) * x + rng.uniform(0, 6.28))
        crest = below(y, wave) * (1 - below(y, wave - 0.016 - 0.003 * k))
        image = paint(image, (0.72, 0.88, 0.95), crest * 0.55)
    return image


def desert(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.42, 0.68, 0.88), rng), (0.99, 0.90, 0.74), -0.1)
    image = paint(image, (1.0, 0.97, 0.80), disc(x, y, rng.uniform(-1.2, 1.2), 0.6, 0.16, 0.16, 0.04))
    for height, rough, tone in (
        (0.10, 0.12, (0.90, 0.70, 0.45)),
        (-0.12, 0.10, (0.86, 0.63, 0.37)),
        (-0.42, 0.07, (0.80, 0.56, 0.31)),
    ):
        line = ridge(x, rng, height, rough)
        image = paint(image, jitter(tone, rng), below(y, line))
        image = paint(image, (0.99, 0.86, 0.62), below(y, line) * (1 - below(y, line - 0.03, 0.04)) * 0.6)
    for _ in range(rng.randint(1, 3)):
        cx, base, h = rng.uniform(-1.6, 1.6), rng.uniform(-0.2, 0.0), rng.uniform(0.2, 0.3)
        trunk = bar(x, cx - 0.035, cx + 0.035) * bar(y, base, base + h)
        arm = bar(x, cx, cx + 0.13) * bar(y, base + h * 0.4, base + h * 0.55) + bar(
            x, cx + 0.09, cx + 0.14
        ) * bar(y, base + h * 0.4, base + h * 0.8)
        image = paint(image, (0.28, 0.50, 0.30), (trunk + arm).clamp(0, 1))
    return image


def night(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.04, 0.05, 0.17), rng, 0.02), jitter((0.22, 0.19, 0.42), rng))
    for _ in range(48):
        size, shine = rng.uniform(0.008, 0.02), rng.uniform(0.5, 1.0)
        image = paint(
            image,
            (1.0, 0.98, 0.88),
            disc(x, y, rng.uniform(-1.8, 1.8), rng.uniform(-0.5, 1), size, size) * shine,
        )
    cx, cy = rng.uniform(-0.9, 0.9), rng.uniform(0.5, 0.75)
    moon = disc(x, y, cx, cy, 0.17, 0.17) * (1 - disc(x, y, cx + 0.09, cy + 0.05, 0.15, 0.15))
    image = paint(image, (0.98, 0.95, 0.80), moon)
    image = paint(image, jitter((0.13, 0.13, 0.28), rng, 0.02), below(y, ridge(x, rng, -0.50, 0.12)))
    return paint(image, jitter((0.07, 0.08, 0.18), rng, 0.02), below(y, ridge(x, rng, -0.72, 0.08)))


def snow(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.62, 0.76, 0.88), rng), (0.90, 0.94, 0.97), -0.2)
    peaks = 0.15 + 0.35 * (1 - ((x * rng.uniform(0.9, 1.2) + rng.uniform(0, 1)) % 1.1 / 0.55 - 1).abs())
    image = paint(image, jitter((0.56, 0.64, 0.74), rng), below(y, peaks))
    image = paint(
        image, (0.95, 0.97, 1.0), below(y, peaks) * (1 - below(y, peaks - 0.10 - 0.03 * torch.sin(14 * x)))
    )
    image = paint(image, jitter((0.85, 0.90, 0.96), rng), below(y, ridge(x, rng, 0.0, 0.07)))
    for _ in range(rng.randint(3, 6)):
        cx, base, h = rng.uniform(-1.7, 1.7), rng.uniform(-0.2, 0.0), rng.uniform(0.22, 0.36)
        cone = ((h - (y - base)) * 0.42 - (x - cx).abs()) / 0.015
        image = paint(
            image, jitter((0.20, 0.40, 0.36), rng), (cone + 0.5).clamp(0, 1) * bar(y, base, base + h)
        )
    image = paint(image, jitter((0.94, 0.96, 0.99), rng, 0.02), below(y, ridge(x, rng, -0.35, 0.05)))
    for _ in range(36):
        image = paint(
            image, (1.0, 1.0, 1.0), disc(x, y, rng.uniform(-1.8, 1.8), rng.uniform(-1, 1), 0.016, 0.016) * 0.9
        )
    return image


def road(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.52, 0.74, 0.93), rng), (0.92, 0.95, 0.95), 0.0)
    image = clouds(image, x, y, rng, (1.0, 1.0, 1.0), 0.7)
    image = paint(image, jitter((0.48, 0.62, 0.58), rng), below(y, ridge(x, rng, 0.18, 0.10)))
    image = paint(image, jitter((0.47, 0.66, 0.36), rng), below(y, 0.02))
    image = paint(image, jitter((0.37, 0.38, 0.41), rng), below(y, -0.20))
    image = paint(image, (0.88, 0.88, 0.86), bar(y, -0.25, -0.23))
    dash = ((x + rng.uniform(0, 1)) % 0.55 < 0.32).to(x.dtype)
    image = paint(image, (0.96, 0.93, 0.80), bar(y, -0.64, -0.59) * dash)
    return paint(image, jitter((0.46, 0.60, 0.32), rng), below(y, -0.93))


def forest(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.66, 0.84, 0.78), rng), (0.88, 0.95, 0.85), -0.3)
    for depth, base in ((0, 0.02), (1, -0.12), (2, -0.26)):
        tone = jitter(((0.52, 0.70, 0.56), (0.34, 0.55, 0.40), (0.20, 0.41, 0.27))[depth], rng)
        for _ in range(6 - depth):
            cx, h, w = rng.uniform(-1.8, 1.8), rng.uniform(0.55, 0.85) + 0.1 * depth, rng.uniform(0.16, 0.24)
            image = paint(
                image, (0.35, 0.26, 0.20), bar(x, cx - 0.03, cx + 0.03) * bar(y, base - 0.3, base + 0.3)
            )
            crown = disc(x, y, cx, base + h * 0.6, w, h * 0.42)
            image = paint(image, tone, crown)
        image = paint(
            image,
            jitter((0.40 - 0.08 * depth, 0.58 - 0.06 * depth, 0.32 - 0.04 * depth), rng),
            below(y, ridge(x, rng, base - 0.12, 0.04)),
        )
    return image


def city(x: Tensor, y: Tensor, rng: random.Random) -> Tensor:
    image = gradient(y, jitter((0.42, 0.36, 0.62), rng), jitter((0.99, 0.72, 0.52), rng), -0.2)
    for depth, tone in enumerate(((0.56, 0.42, 0.60), (0.34, 0.28, 0.46))):
        left = -1.9
        while left < 1.9:
            width, top = rng.uniform(0.18, 0.34), rng.uniform(0.1, 0.62) - 0.2 * depth
            body = bar(x, left, left + width - 0.02) * below(y, top)
            image = paint(image, jitter(tone, rng), body)
            lit = ((x - left) % 0.085 < 0.04) & (y % 0.13 < 0.06) & (y < top - 0.04)
            if depth:
                image = paint(image, (1.0, 0.86, 0.50), body * lit * 0.8)
            left += width
    image = paint(image, jitter((0.30, 0.28, 0.36), rng), below(y, -0.34))
    return paint(image, (0.52, 0.48, 0.54), bar(y, -0.40, -0.36))


PLACES: dict[str, Place] = {
    "meadow": Place("on a meadow", ("in a green meadow", "in the grass"), True, meadow),
    "sea": Place("at sea", ("on the water", "on the sea"), False, sea),
    "desert": Place("in the desert", ("among sand dunes", "on the sand"), True, desert),
    "night sky": Place("in the night sky", ("under the stars", "at night"), False, night),
    "snow": Place("in the snow", ("in a snowy landscape", "in winter"), True, snow),
    "road": Place("on a road", ("on the street", "on an asphalt road"), True, road),
    "forest": Place("in a forest", ("in the woods", "among the trees"), True, forest),
    "city": Place("in a city", ("in a town", "before a skyline"), True, city),
}
