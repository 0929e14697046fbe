"""Colour jitter: how much the object flickers as a whole."""

from __future__ import annotations

import cv2
import numpy as np

from dreammotion_core.errors import MetricError
from dreammotion_core.evaluation.pixels import check_frames, check_mask
from dreammotion_core.values import Frames, Mask


def colour_jitter(frames: Frames, *, mask: Mask) -> float:
    """How far the mean colour inside the mask moves from frame to frame, on average, in CIELAB units.

    About 1 is the least that an eye notices side by side. Not from a paper: the plainest form of the
    complaint that an edited object flickers. Compare it with the source's own, which has the light's changes.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W); frames in which it is empty are passed over.

    Returns:
        A number >= 0.

    Raises:
        InputError: if the mask does not fit, or is not empty on fewer than two frames.
    """
    check_frames(frames)
    means = [
        cv2.cvtColor(frame[None, inside].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0].mean(axis=0)
        for frame, inside in zip(frames, check_mask(mask, frames=frames), strict=True)
        if inside.any()
    ]
    if len(means) < 2:
        raise MetricError(f"the mask selects something on {len(means)} frames; flicker shows on two or more")
    return float(np.linalg.norm(np.diff(means, axis=0), axis=-1).mean())
