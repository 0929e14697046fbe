"""Structural similarity of two frames, place by place, and its part that colours do not touch.

Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LUMINANCE_FLOOR = (0.01 * 255) ** 2
"""Keeps two dark places from being compared by a division by nothing."""
CONTRAST_FLOOR = (0.03 * 255) ** 2
"""Variance below which a place is plain: there, nothing speaks against likeness."""

Levels = NDArray[np.float32]
"""(H, W), grey in [0, 255]."""


def structural_similarity(
    frame: NDArray[np.generic], *, other: NDArray[np.generic], window: float
) -> NDArray[np.float32]:
    """SSIM of luminance.

    Args:
        frame: (H, W, 3) RGB in [0, 255].
        other: of the same shape.
        window: standard deviation of the Gaussian neighbourhood, in pixels, > 0.

    Returns:
        (H, W) in [-1, 1]; exactly 1 where the neighbourhoods are equal.
    """
    a, b = _grey(frame), _grey(other)
    mean_a, mean_b = _mean(a, window), _mean(b, window)
    luminance = (2 * mean_a * mean_b + LUMINANCE_FLOOR) / (mean_a**2 + mean_b**2 + LUMINANCE_FLOOR)
    return np.asarray(luminance * _contrast_and_structure(a, b, mean_a, mean_b, window), np.float32)


def structural_likeness(
    frame: NDArray[np.generic], *, other: NDArray[np.generic], window: float
) -> NDArray[np.float32]:
    """The contrast and structure terms of SSIM alone: the same for a repainted surface.

    Arguments and result as of `structural_similarity`.
    """
    a, b = _grey(frame), _grey(other)
    return _contrast_and_structure(a, b, _mean(a, window), _mean(b, window), window)


def _contrast_and_structure(a: Levels, b: Levels, mean_a: Levels, mean_b: Levels, window: float) -> Levels:
    variances = (_mean(a * a, window) - mean_a * mean_a) + (_mean(b * b, window) - mean_b * mean_b)
    covariance = _mean(a * b, window) - mean_a * mean_b
    return np.asarray((2 * covariance + CONTRAST_FLOOR) / (variances + CONTRAST_FLOOR), np.float32)


def _grey(frame: NDArray[np.generic]) -> Levels:
    return np.asarray(cv2.cvtColor(frame.astype(np.float32), cv2.COLOR_RGB2GRAY), np.float32)


def _mean(values: Levels, window: float) -> Levels:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), window), np.float32)
