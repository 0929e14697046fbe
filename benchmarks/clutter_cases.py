"""Clips of textured clutter with exact masks: a swaying object of two textures over moving ground.

The ground is sharp noise in several colours that a swaying camera pans over, with patches of the object's own
textures lying about, so that neither colour nor a still picture tells what the object is. Nothing is
tuned on these clips: they decide whether a change that helps real footage holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.segmentation.cases import FIRST_EVALUATION_SEED, Case
from benchmarks.simulated_user import click_inside
from segmentation.base import FrameMask

SIZE = 240, 426
"""Height and width of a frame."""
NUM_PATCHES = 5
_MARGIN = 120
_WAVES = 5
"""Bumps of an outline, at most."""


def clutter_cases(count: int, *, num_frames: int) -> Iterator[Case]:
    """Clips that are always the same for the same number.

    Args:
        count: how many.
        num_frames: of each clip.
    """
    for number in range(count):
        frames, masks = _clip(np.random.default_rng(FIRST_EVALUATION_SEED + number), num_frames)
        yield Case(f"clutter {number}", frames, masks, click_inside(masks[0]))


def _clip(rng: np.random.Generator, num_frames: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    height, width = SIZE
    textures = [_texture(rng, (height, width)) for _ in range(2)]
    ground = _ground(rng, textures)
    bumps = rng.uniform(0.03, 0.12, _WAVES), rng.uniform(0, 2 * np.pi, _WAVES)
    start = rng.uniform((0.35, 0.4), (0.65, 0.6)) * (width, height)
    speed = rng.uniform(-4, 4, 2) * (1, 0.4)
    pan, sway = rng.uniform(-2.5, 2.5, 2), rng.uniform(0.1, 0.3)
    frames, masks = [], []
    for index in range(num_frames):
        centre = start + index * speed
        turn = sway * np.sin(index * 0.5)
        radius = 45 * (1 + 0.15 * np.sin(index * 0.3))
        object_, mask = _object(textures, bumps, centre, turn, radius, phase=index * 0.25)
        x, y = _MARGIN + np.clip(pan * index, 1 - _MARGIN, _MARGIN - 1)
        view = cv2.getRectSubPix(ground, (width, height), (x + width / 2, y + height / 2))
        # A pixel at the rim belongs to both, as a lens leaves it.
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)[..., None]
        noise = rng.normal(0, 4, (height, width, 1))
        frames.append(np.clip(soft * object_ + (1 - soft) * view + noise, 0, 255).astype(np.uint8))
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Blotches of three colours."""
    grain = rng.uniform(1.5, 5)
    fields = [cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), grain) for _ in range(3)]
    colours = rng.uniform(30, 225, (3, 3)).astype(np.float32)
    return np.asarray(colours[np.argmax(fields, axis=0)], dtype=np.float32)


def _ground(rng: np.random.Generator, textures: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Three textures side by side, with patches of the given ones."""
    height, width = (side + 2 * _MARGIN for side in SIZE)
    regions = np.argmax(
        [cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 40) for _ in range(3)],
        axis=0,
    )
    ground = np.choose(regions[..., None], [_texture(rng, (height, width)) for _ in range(3)])
    for _ in range(NUM_PATCHES):
        texture = textures[int(rng.integers(len(textures)))]
        patch = np.zeros((height, width), np.uint8)
        centre = int(rng.integers(width)), int(rng.integers(height))
        axes = int(rng.integers(15, 40)), int(rng.integers(15, 40))
        cv2.ellipse(patch, centre, axes, 0, 0, 360, 1, cv2.FILLED)
        wide = np.tile(texture, (3, 3, 1))[:height, :width]
        ground = np.where(patch[..., None] > 0, wide, ground)
    return np.asarray(ground, dtype=np.float32)


def _object(
    textures: list[NDArray[np.float32]],
    bumps: tuple[NDArray[np.float64], NDArray[np.float64]],
    centre: NDArray[np.float64],
    turn: float,
    radius: float,
    *,
    phase: float,
) -> tuple[NDArray[np.float32], FrameMask]:
    """The object's textures, which move along with it, everywhere; and where it is."""
    height, width = SIZE
    x, y = np.meshgrid(np.arange(width) - centre[0], np.arange(height) - centre[1])
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    angle = np.arctan2(across, along)
    waves = [
        size * np.sin((order + 2) * angle + start + phase * (order % 2))
        for order, (size, start) in enumerate(zip(*bumps, strict=True))
    ]
    mask = np.hypot(along / 1.4, across) < radius * (1 + np.sum(waves, axis=0))
    places = (
        (values / radius * 45 + side / 2).astype(np.float32)
        for values, side in ((along, width), (across, height))
    )
    maps = list(places)
    moved = [cv2.remap(each, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) for each in textures]
    return np.where((along > 0.3 * radius)[..., None], *moved), np.asarray(mask, dtype=np.bool_)
