"""SSIM and PSNR of an edit against its source, within a region: how much was kept, where."""

from __future__ import annotations

import math

import cv2
import numpy as np

from dreammotion_core.errors import MetricError
from dreammotion_core.evaluation.pixels import check_mask, check_pair
from dreammotion_core.ssim import structural_similarity
from dreammotion_core.values import Frames, Mask

WINDOW = 1.5
"""Standard deviation of SSIM's Gaussian neighbourhood in pixels, as its authors chose it."""


def psnr(source: Frames, *, edited: Frames, region: Mask) -> float:
    """Peak signal-to-noise ratio in decibels over all pixels of a region; infinite where nothing changed.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        edited: (F, H, W, 3) uint8 RGB.
        region: (F, H, W) bool.

    Raises:
        InputError: if the clips or the region do not fit, or the region is empty.
    """
    inside = _checked(source, edited, region)
    squares = sum(
        cv2.norm(a, b, cv2.NORM_L2SQR, where.view(np.uint8))
        for a, b, where in zip(source, edited, inside, strict=True)
    )
    error = squares / (3 * np.count_nonzero(inside))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(source: Frames, *, edited: Frames, region: Mask) -> float:
    """Mean structural similarity of luminance over the pixels of a region, in [-1, 1]; 1 where equal.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        edited: (F, H, W, 3) uint8 RGB.
        region: (F, H, W) bool; only changes within it count.

    Raises:
        InputError: if the clips or the region do not fit, or the region is empty.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004).
    """
    inside = _checked(source, edited, region)
    # What changed beyond the region would reach over its rim, by the neighbourhoods.
    within = np.where(inside[..., None], edited, source)
    kept = [structural_similarity(a, other=b, window=WINDOW) for a, b in zip(source, within, strict=True)]
    return float(np.stack(kept)[inside].mean(dtype=np.float64))


def _checked(source: Frames, edited: Frames, region: Mask) -> Mask:
    check_pair(source, edited=edited)
    inside = check_mask(region, frames=source)
    if not inside.any():
        raise MetricError("the region holds no pixel, so nothing can be compared in it")
    return inside
