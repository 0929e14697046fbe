"""What the renderer itself says about an edit: which true render is nearest, and is the outline kept?

All distances are in CIELAB. A true render is the source's scene with one thing changed, so pose, place,
light and sensor noise are those of the clip; windows and wheels are in it as they are in the edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.world_cases import Case
from dreammotion_core.values import Frames, Mask
from training.world import Scene, Shot, render_batch, variants
from training.world.palette import to_lab

BACKGROUND_DISTANCE = 6.0
"""A pixel nearer than this to the empty scene counts as background: about three times the distance that
the autoencoder leaves on a background it only repeats."""
SHADES = (1.0, 0.85, 0.7, 0.6)
"""How much darker a shadow may make the background; a shadow is no object."""

Lab = NDArray[np.float32]
"""(F, H, W, 3) CIELAB, L in [0, 100]."""


def lab(frames: Frames) -> Lab:
    """CIELAB of (F, H, W, 3) uint8 RGB."""
    return to_lab(frames.astype(np.float32) / 255)


def shot_like(frames: Frames, *, fps: float) -> Shot:
    """As many frames and pixels as a clip (F, H, W, 3)."""
    return Shot(len(frames), fps, frames.shape[1])


def rendered(scenes: Sequence[Scene], *, shot: Shot) -> list[Frames]:
    """Clips (F, H, W, 3) uint8 RGB of scenes."""
    return [clip.frames.numpy() for clip in render_batch(scenes, shot=shot)]


def nearest_by_mean(frames: Frames, clips: Mapping[str, Frames], *, mask: Mask) -> str:
    """The clip whose mean colour inside the mask is nearest: what colour the object has as a whole."""
    mean = lab(frames)[mask].mean(axis=0)
    return min(clips, key=lambda name: float(np.linalg.norm(lab(clips[name])[mask].mean(axis=0) - mean)))


def nearest_by_pixels(frames: Frames, clips: Mapping[str, Frames], *, mask: Mask) -> str:
    """The clip with the smallest mean distance pixel by pixel inside the mask."""
    pixels = lab(frames)[mask]

    def distance(name: str) -> float:
        return float(np.linalg.norm(lab(clips[name])[mask] - pixels, axis=-1).mean())

    return min(clips, key=distance)


def renderers_choice(case: Case, frames: Frames, *, mask: Mask, fps: float) -> str:
    """Which value of the changed attribute an edit is nearest to, among all its values.

    Colours are compared by their mean inside the mask, materials and nouns pixel by pixel.

    Args:
        case: the edit.
        frames: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W), what the edit could change.
        fps: frames a second.
    """
    scenes = variants(case.source, attribute=case.kind)
    clips = dict(zip(scenes, rendered(list(scenes.values()), shot=shot_like(frames, fps=fps)), strict=True))
    nearest = nearest_by_mean if case.kind == "colour" else nearest_by_pixels
    return nearest(frames, clips, mask=mask)


def visible_object(frames: Frames, empty: Frames, *, region: Mask) -> Mask:
    """Where within a region something else than the background, lit or in shadow, is to be seen.

    Holes are filled: an object may be as green as the meadow in places.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        empty: the same clip without its object.
        region: (F, H, W), where to look.
    """
    pixels = lab(frames)
    differs = region.copy()
    for shade in SHADES:
        shaded = lab((empty * shade).astype(np.uint8))
        differs &= np.linalg.norm(pixels - shaded, axis=-1) > BACKGROUND_DISTANCE
    return np.stack([_without_holes(frame) for frame in differs]) & region


def _without_holes(frame: NDArray[np.bool_]) -> NDArray[np.bool_]:
    closed = cv2.morphologyEx(frame.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(closed), outlines, -1, 1, cv2.FILLED) > 0
