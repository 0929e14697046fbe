"""Clips with true masks: real footage, the procedural world, and textured clutter.

In clutter, a swaying object of two textures moves over ground with patches of the same textures, so that
neither colour nor a still picture tells what it is. Nothing is tuned on these clips.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.davis.scores import FEWEST_FRAMES
from dreammotion_core.errors import ConfigError
from dreammotion_core.media.video import read_video
from segmentation import Click, Selection
from segmentation.base import FrameMask
from segmentation.propagation import selection_from_mask
from training.world import Shot, render, sample_scene

CLIPS = Path(os.environ.get("DREAMMOTION_CLIPS", Path(__file__).parents[3] / "shared/data/clips"))
"""Real clips, a folder each: ``clip.mp4``, ``masks/`` and the click in ``meta.json``. For evaluation only."""

FIRST_EVALUATION_SEED = 10**9  # training draws its scenes from smaller seeds

CLUTTER_SIZE = 240, 426  # height and width of a frame of clutter
NUM_PATCHES, MARGIN = 5, 120
"""Patches on the ground, and pixels of ground round the frame for the camera to pan over."""
MOST_WAVES = 5  # most bumps of an outline


@dataclass(frozen=True, eq=False)
class Case:
    """A clip with true masks."""

    name: str
    frames: NDArray[np.uint8]  # (F, H, W, 3) uint8 RGB
    masks: NDArray[np.bool_]  # (F, H, W) bool; the first is not empty
    click: Click

    def __post_init__(self) -> None:
        if self.masks.shape != self.frames.shape[:3]:
            raise ConfigError(
                f"{self.name} has frames of {self.frames.shape[:3]} (count, height, width) but masks of "
                f"{self.masks.shape}; a clip needs one mask of its size for each frame"
            )
        if len(self.masks) < FEWEST_FRAMES or not self.masks[0].any():
            raise ConfigError(
                f"{self.name} has {len(self.masks)} frames and {int(self.masks[0].sum())} pixels of the "
                f"object on the first; it needs at least {FEWEST_FRAMES} frames and the object on the first"
            )

    @property
    def selection(self) -> Selection:
        """The given click as a selection."""
        return Selection(clicks=(self.click,))


def click_inside(mask: FrameMask, *, is_positive: bool = True) -> Click:
    """A click in the middle of the largest part of a mask, as far from its rim and the frame's as can be."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    spot = selection_from_mask(labels == largest, frame_index=0).clicks[0]
    return Click(spot.x, spot.y, is_positive)


def world_cases(count: int, *, num_frames: int, resolution: int = 128) -> Iterator[Case]:
    """Clips of the procedural world that no training saw, clicked on the innermost pixel."""
    for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + count):
        scene = sample_scene(seed, held_out=None)
        clip = render(scene, shot=Shot(num_frames, resolution=resolution))
        masks = clip.mask.numpy()
        name = f"{seed - FIRST_EVALUATION_SEED}: {scene.colour} {scene.noun}, {scene.place}"
        yield Case(name, clip.frames.numpy(), masks, click_inside(masks[0]))


def real_cases(folder: Path, *, names: tuple[str, ...] = (), max_frames: int | None = None) -> Iterator[Case]:
    """The real clips of a folder that have true masks, with their annotated click."""
    found = {path.parents[1].name: path.parents[1] for path in sorted(folder.glob("*/masks/*.png"))}
    if unknown := sorted(set(names) - set(found)):
        known = ", ".join(found) or "none"
        raise ConfigError(f"there is no clip with masks named {', '.join(unknown)}; there are: {known}")
    for name, place in found.items():
        if not names or name in names:
            frames = read_video(place / "clip.mp4", max_frames=max_frames).frames
            masks = np.stack(
                [_read_mask(path) for path in sorted((place / "masks").glob("*.png"))[:max_frames]]
            )
            yield Case(name, frames, masks, _read_click(place / "meta.json"))


def _read_mask(path: Path) -> FrameMask:
    levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if levels is None:
        raise ConfigError(f"{path} is no readable picture; it must be a PNG with the object in white")
    return np.asarray(levels > 127, dtype=np.bool_)


def _read_click(path: Path) -> Click:
    try:
        click = json.loads(path.read_text("utf-8"))["click"]
        if click.get("frame", 0) == 0:
            return Click(float(click["x"]), float(click["y"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{path} gives no click ({error!r}); it needs {{"click": {{"x": 1, "y": 2}}}}'
        ) from error
    raise ConfigError(f"{path} has its click on frame {click['frame']}; it must be on frame 0")


def clutter_cases(count: int, *, num_frames: int) -> Iterator[Case]:
    """The first clips of textured clutter; each is fixed by its number."""
    for number in range(count):
        frames, masks = _clutter(np.random.default_rng(FIRST_EVALUATION_SEED + number), num_frames)
        yield Case(f"clutter {number}", frames, masks, click_inside(masks[0]))


def _clutter(rng: np.random.Generator, num_frames: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    height, width = CLUTTER_SIZE
    textures = [_texture(rng, (height, width)) for _ in range(2)]
    ground = _ground(rng, textures)
    bumps = rng.uniform(0.03, 0.12, MOST_WAVES), rng.uniform(0, 2 * np.pi, MOST_WAVES)
    start = rng.uniform((0.35, 0.4), (0.65, 0.6)) * (width, height)
    speed = rng.uniform(-4, 4, 2) * (1, 0.4)
    pan, sway = rng.uniform(-2.5, 2.5, 2), rng.uniform(0.1, 0.3)
    frames, masks = [], []
    for index in range(num_frames):
        centre = start + index * speed
        turn = sway * np.sin(index * 0.5)
        radius = 45 * (1 + 0.15 * np.sin(index * 0.3))
        object_, mask = _object(textures, bumps, centre, turn, radius, phase=index * 0.25)
        x, y = MARGIN + np.clip(pan * index, 1 - MARGIN, MARGIN - 1)
        view = cv2.getRectSubPix(ground, (width, height), (x + width / 2, y + height / 2))
        # A pixel at the rim belongs to both, as a lens leaves it.
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)[..., None]
        noise = rng.normal(0, 4, (height, width, 1))
        frames.append(np.clip(soft * object_ + (1 - soft) * view + noise, 0, 255).astype(np.uint8))
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    grain = rng.uniform(1.5, 5)
    fields = [cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), grain) for _ in range(3)]
    colours = rng.uniform(30, 225, (3, 3)).astype(np.float32)
    return np.asarray(colours[np.argmax(fields, axis=0)], dtype=np.float32)


def _ground(rng: np.random.Generator, textures: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Three textures side by side, with patches of the given ones."""
    height, width = (side + 2 * MARGIN for side in CLUTTER_SIZE)
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
    height, width = CLUTTER_SIZE
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
