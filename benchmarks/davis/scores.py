"""How alike a clip's masks are to the true ones, as DAVIS 2017 measures it: J, F and their mean J&F.

Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation
(CVPR 2016); which frames count: Pont-Tuset et al., The 2017 DAVIS Challenge (semi-supervised).
Pure functions of masks; one object a clip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreammotion_core.evaluation.pixels import region_similarity
from segmentation.base import FrameMask

BOUND_THRESHOLD = 0.008
"""How far apart two outlines may lie and still agree, as a share of the image's diagonal."""

FEWEST_FRAMES = 3  # one frame must be left when the first and the last do not count


@dataclass(frozen=True)
class ClipScore:
    """Measures of one clip, each in [0, 1]."""

    region: float
    boundary: float
    region_after_first: float
    worst_frame: int

    @property
    def overall(self) -> float:
        """J&F, the mean of the two."""
        return (self.region + self.boundary) / 2


def score_clip(masks: Sequence[FrameMask], *, truth: NDArray[np.bool_]) -> ClipScore:
    """Measure F masks of a clip, (H, W) each, beside the true ones, (F, H, W)."""
    if len(masks) != len(truth) or len(masks) < FEWEST_FRAMES:
        raise ValueError(
            f"{len(masks)} masks and {len(truth)} true ones came; "
            f"pass as many of both, at least {FEWEST_FRAMES}"
        )
    regions = [region_similarity(mask, truth=true) for mask, true in zip(masks, truth, strict=True)]
    middle = zip(masks[1:-1], truth[1:-1], strict=True)
    return ClipScore(
        region=float(np.mean(regions[1:-1])),
        boundary=float(np.mean([boundary_measure(mask, truth=true) for mask, true in middle])),
        region_after_first=float(np.mean(regions[1:])),
        worst_frame=int(np.argmin(regions)),
    )


def boundary_measure(mask: FrameMask, *, truth: FrameMask) -> float:
    """F: harmonic mean of how much of each (H, W) mask's outline lies near the other's, in [0, 1]."""
    found, true = outline(mask), outline(truth)
    if not found.any() or not true.any():
        return float(found.any() == true.any())
    radius = math.ceil(BOUND_THRESHOLD * math.hypot(*truth.shape))
    precision = float(_widened(true, radius)[found].mean())
    recall = float(_widened(found, radius)[true].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: FrameMask) -> FrameMask:
    """(H, W) pixels that differ from their right, lower or lower right neighbour; the rim is no outline."""
    extended = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, lower, diagonal = extended[:-1, 1:], extended[1:, :-1], extended[1:, 1:]
    return np.asarray((mask != right) | (mask != lower) | (mask != diagonal), dtype=np.bool_)


def _widened(line: FrameMask, radius: int) -> FrameMask:
    """All pixels that a disc round a pixel of the line covers."""
    wide = cv2.dilate(line.astype(np.uint8), _disc(radius))
    return np.asarray(wide > 0, dtype=np.bool_)


def _disc(radius: int) -> NDArray[np.uint8]:
    steps = np.arange(-radius, radius + 1)
    return (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
