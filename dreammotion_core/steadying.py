"""Takes out the flicker that an edit adds: its change of the object's mean colour may only drift slowly.

Every frame is optimised under noise of its own, which leaves the object a little lighter or darker from
frame to frame. What the light does in the source stays, because only the *change* is smoothed. Not part of
the paper.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dreammotion_core.values import Frames, Mask

PASSES = 2
"""Colours that no screen shows are cut off, which eats a part of a shift; the second pass makes up for it."""

TINY = np.finfo(np.float32).tiny
"""Instead of a division by zero, where there is nothing to divide."""

Lab = NDArray[np.float32]
"""(F, H, W, 3) CIELAB, L in [0, 100]."""


def steadied(
    blended: NDArray[np.float32], *, source: Frames, alpha: NDArray[np.float32], smoothing: float
) -> NDArray[np.float32]:
    """A clip with the mean colour of its edited part shifted, frame by frame, onto a smooth course.

    Args:
        blended: (F, H, W, 3) float RGB in [0, 255], the edit over the source.
        source: (F, H, W, 3) uint8 RGB.
        alpha: (F, H, W) opacity of the edit in [0, 1]; what it covers is the edited part, and the rim of
            it is shifted only as far as it is opaque.
        smoothing: standard deviation of the smoothing over time, in frames, > 0.

    Returns:
        (F, H, W, 3) float RGB; exactly `blended` in [0, 255] where alpha is 0.
    """
    edited_part = alpha > 0
    opacity = alpha[..., None] / np.maximum(_mean(alpha[..., None], edited_part), TINY)[:, None, None]
    before = _lab(source.astype(np.float32))
    for _ in range(PASSES):
        blended = blended.clip(0, 255)
        after = _lab(blended)
        change = _mean(after - before, edited_part)
        shift = _smooth(change, edited_part.sum(axis=(1, 2)), smoothing) - change
        shifted = after + (shift[:, None, None] * opacity).astype(np.float32)
        # In this order, because what is not shifted then stays as it is to the last bit.
        blended = blended + (_rgb(shifted) - _rgb(after))
    return blended


def _mean(values: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """(F, C) means of (F, H, W, C) values over a mask; 0 where it is empty."""
    total = np.einsum("fhwc,fhw->fc", values, mask)
    mean: NDArray[np.float32] = (total / np.maximum(mask.sum(axis=(1, 2)), 1)[:, None]).astype(np.float32)
    return mean


def _smooth(course: NDArray[np.float32], weight: NDArray[np.int64], deviation: float) -> NDArray[np.float32]:
    """A (F, C) course under a Gaussian over time; frames count by their (F,) weight."""
    times = np.arange(len(course), dtype=np.float32)
    kernel = np.exp(-0.5 * ((times[:, None] - times) / deviation) ** 2) * weight
    smooth: NDArray[np.float64] = kernel @ course / np.maximum(kernel.sum(axis=1, keepdims=True), TINY)
    return smooth.astype(np.float32)


def _lab(rgb: NDArray[np.float32]) -> Lab:
    """CIELAB of (F, H, W, 3) RGB in [0, 255]."""
    lab: Lab = np.stack([cv2.cvtColor(frame / 255, cv2.COLOR_RGB2LAB) for frame in rgb])
    return lab


def _rgb(lab: Lab) -> NDArray[np.float32]:
    """RGB in [0, 255] of (F, H, W, 3) CIELAB."""
    rgb: NDArray[np.float32] = np.stack([cv2.cvtColor(frame, cv2.COLOR_LAB2RGB) for frame in lab])
    return 255 * rgb
