"""How much a followed object still looks like what the user selected: the best sign of slow drift.

A mask that drifts off its object changes no size and jumps nowhere, but gathers other colours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask, Frames
from segmentation.regions import colour_histogram, likeness
from segmentation.schedule import nearest_confirmed, scene_at

LONG_SIDE = 160

Look = NDArray[np.float32]
"""Colours of an object, from `colour_histogram`."""


def measure_resemblances(
    frames: Frames, *, masks: Iterable[FrameMask], confirmed: Collection[int], cuts: Sequence[int] = ()
) -> tuple[float | None, ...]:
    """Compare the object's colours with those on the nearest confirmed frame of the same scene.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        masks: (H, W) bool each, of one object, one for every frame.
        confirmed: 0-based frames on which the user said what the object is.
        cuts: first frames of all scenes but the first.

    Returns:
        For each frame the overlap of the colour histograms, in [0, 1]; None where the object, or anything
        to compare it with, is missing.
    """
    looks = [_look(frame, mask) for frame, mask in zip(frames, masks, strict=True)]
    found: list[float | None] = []
    for index, look in enumerate(looks):
        scene = scene_at(index, cuts=cuts, num_frames=len(looks))
        anchor = nearest_confirmed(index, confirmed=confirmed, scene=scene)
        model = None if anchor is None else looks[anchor]
        found.append(None if look is None or model is None else likeness(model, look))
    return tuple(found)


def _look(frame: Frame, mask: FrameMask) -> Look | None:
    """On a reduced copy, so that noise and the sharpness of the outline count little; None if empty."""
    height, width = mask.shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    if not small.any():
        return None
    image = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return colour_histogram(image, small)
