"""From a box to the object in it: what differs inside by colour, by motion or by both, and what fits best."""

from __future__ import annotations

import cv2
import numpy as np

from segmentation.base import Frame, FrameMask
from segmentation.clicks import Box
from segmentation.embedded.motion import Motion
from segmentation.regions import cut, score_region

FIT_WEIGHT = 1.0
"""What it counts that a region reaches all four sides, against the edges along its outline."""
SMALLEST_SHARE = 0.1
"""A colour that also fills the surroundings leaves less of the box than this."""

_ROUNDS = 4

Corners = tuple[int, int, int, int]
"""Left, top, right, bottom, the last two exclusive."""


def object_in_box(image: Frame, box: Box, *, motion: Motion | None) -> FrameMask:
    """What differs inside a box from what lies outside it.

    Args:
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        box: round the object, as tight as a user draws it.
        motion: of the image; None where it is unknown.

    Returns:
        (H, W) bool; the ellipse in the box where nothing in it differs.
    """
    height, width = image.shape[:2]
    x0, y0 = max(0, int(box.x0)), max(0, int(box.y0))
    corners = x0, y0, min(width, max(x0 + 1, round(box.x1))), min(height, max(y0 + 1, round(box.y1)))
    candidates = [_cut_inside(image, corners)]
    if motion is not None:
        moving = _cut_inside(motion.picture, corners)
        candidates += [moving, moving & candidates[0]]
    area = (corners[2] - x0) * (corners[3] - y0)
    large = [candidate for candidate in candidates if candidate.sum() > SMALLEST_SHARE * area]
    if not large:
        return _ellipse(image, corners)

    def rank(region: FrameMask) -> float:
        return score_region(image, region, motion=motion, any_size=True) + FIT_WEIGHT * _fit(region, corners)

    return max(large, key=rank)


def _cut_inside(picture: Frame, corners: Corners) -> FrameMask:
    x0, y0, x1, y1 = corners
    labels = np.full(picture.shape[:2], cv2.GC_BGD, np.uint8)
    labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
    return cut(picture, labels, rounds=_ROUNDS)


def _fit(region: FrameMask, corners: Corners) -> float:
    """How much of the box the region's own box fills; it cannot lie outside."""
    _, _, width, height = cv2.boundingRect(region.astype(np.uint8))
    x0, y0, x1, y1 = corners
    return width * height / ((x1 - x0) * (y1 - y0))


def _ellipse(image: Frame, corners: Corners) -> FrameMask:
    x0, y0, x1, y1 = corners
    drawn = np.zeros(image.shape[:2], np.uint8)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), (max(1, (x1 - x0) // 2), max(1, (y1 - y0) // 2))
    cv2.ellipse(drawn, centre, axes, 0, 0, 360, 1, cv2.FILLED)
    return np.asarray(drawn > 0, dtype=np.bool_)
