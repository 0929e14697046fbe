"""How much of the source's fine detail still belongs into an edit: as much as is left of its structure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CONTRAST_FLOOR = (0.03 * 255) ** 2
"""Variance below which a place is plain, as in SSIM: there, nothing speaks against the detail."""


def structure_kept(
    edited: NDArray[np.float32], reconstruction: NDArray[np.float32], *, window: float
) -> NDArray[np.float32]:
    """Likeness of two clips in local structure, whatever their colours.

    A repainted car keeps its windows, so the detail of the source fits; where the car has become a bus,
    it would draw the outlines of the car over it.

    Args:
        edited: (F, H, W, 3) float RGB in [0, 255], the decoded edit.
        reconstruction: likewise, the decoded source.
        window: standard deviation of the Gaussian neighbourhood, in pixels, > 0.

    Returns:
        (F, H, W) in [0, 1]; exactly 1 where both are the same.

    Source: Wang et al. 2004, the contrast and structure terms of SSIM, on luminance.
    """
    return np.stack(
        [_likeness(_grey(a), _grey(b), window) for a, b in zip(edited, reconstruction, strict=True)]
    )


def _grey(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32)


def _likeness(a: NDArray[np.float32], b: NDArray[np.float32], window: float) -> NDArray[np.float32]:
    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), window), np.float32)

    mean_a, mean_b = mean(a), mean(b)
    variances = (mean(a * a) - mean_a * mean_a) + (mean(b * b) - mean_b * mean_b)
    covariance = mean(a * b) - mean_a * mean_b
    likeness = (2 * covariance + CONTRAST_FLOOR) / (variances + CONTRAST_FLOOR)
    return likeness.clip(0, 1)
