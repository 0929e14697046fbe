"""Clips with true masks that segmenters are measured on: real footage, and the procedural world."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.segmentation.scores import FEWEST_FRAMES
from benchmarks.simulated_user import click_inside
from dreammotion_core.errors import ConfigError
from dreammotion_core.media.video import read_video
from segmentation import Click, Selection
from segmentation.base import FrameMask

CLIPS = Path(os.environ.get("DREAMMOTION_CLIPS", Path(__file__).parents[2] / "shared/data/clips"))
"""Real clips, a folder each: ``clip.mp4``, ``masks/`` and the click in ``meta.json``. For evaluation only."""

FIRST_EVALUATION_SEED = 10**9
"""Training draws its scenes from smaller seeds."""


@dataclass(frozen=True, eq=False)
class Case:
    """A clip with true masks.

    Attributes:
        name: for people.
        frames: (F, H, W, 3) uint8 RGB.
        masks: (F, H, W) bool; the first is not empty.
        click: one positive click on the first frame.

    Raises:
        ConfigError: if the masks do not fit the frames, or there is nothing to measure.
    """

    name: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
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


def world_cases(count: int, *, num_frames: int, resolution: int = 128) -> Iterator[Case]:
    """Clips of the procedural world that no training saw, clicked on the innermost pixel.

    Args:
        count: how many.
        num_frames: of each clip.
        resolution: height and width in pixels.
    """
    # Real clips are measured without it, and torch takes seconds to load.
    from training.world import Shot, render, sample_scene

    for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + count):
        scene = sample_scene(seed, held_out=None)
        clip = render(scene, shot=Shot(num_frames, resolution=resolution))
        masks = clip.mask.numpy()
        name = f"{seed - FIRST_EVALUATION_SEED}: {scene.colour} {scene.noun}, {scene.place}"
        yield Case(name, clip.frames.numpy(), masks, click_inside(masks[0]))


def real_cases(folder: Path, *, names: tuple[str, ...] = (), max_frames: int | None = None) -> Iterator[Case]:
    """The real clips of a folder that have true masks, with their annotated click.

    Args:
        folder: of clips, as `CLIPS`.
        names: of the clips wanted; all where empty.
        max_frames: only so many frames from the start of each; None for all.

    Raises:
        ConfigError: if a clip that is wanted by name is not there, or one has no click on its first frame.
        InputError: if its files cannot be read.
    """
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
