"""One mask from two that were followed to the same frame, from a confirmed frame before it and one after.

Errors grow with the distance from a confirmed frame, so the nearer one counts more. Outlines are averaged
by their depth: halfway between two shapes lies a third one. Where the masks do not show the same thing
there is nothing to average, and the nearer one stands.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import FrameMask

LEAST_OVERLAP = 0.5
"""IoU of two masks of the same thing."""

SURE_DEPTH = 0.15
"""From the outline, as a share of the root of the area, at which a mask is sure of a pixel."""

LOST_SHARE = 1 / 3
"""Of the way towards a frame from which the object is not found here, up to which it counts as seen."""


def blend_masks(before: FrameMask, after: FrameMask, *, share: float) -> FrameMask:
    """The object between two confirmed frames.

    Args:
        before: (H, W) bool, followed from the earlier confirmed frame.
        after: (H, W) bool, followed from the later one.
        share: of the way from the earlier to the later one, in [0, 1].

    Returns:
        (H, W) bool. Where one of the masks is empty, the other one, unless the empty one is much nearer.
    """
    if not before.any() or not after.any():
        seen, far = (before, share) if before.any() else (after, 1 - share)
        return seen if far <= 1 - LOST_SHARE else np.zeros_like(seen)
    if (before & after).sum() < LEAST_OVERLAP * (before | after).sum():
        return before if share < 0.5 else after
    sure = [max(1.0, SURE_DEPTH * float(mask.sum()) ** 0.5) for mask in (before, after)]
    # Farther from both than either is unsure of, there is nothing to find.
    window = _window(before | after, margin=int(max(sure)) + 2)
    shares = [
        np.clip(signed_depth(mask[window]) / depth, -1, 1)
        for mask, depth in zip((before, after), sure, strict=True)
    ]
    blended = np.zeros_like(before)
    blended[window] = (1 - share) * shares[0] + share * shares[1] > 0
    return blended


def signed_depth(mask: FrameMask) -> NDArray[np.float32]:
    """(H, W) distance to the outline in pixels, positive inside."""
    inside = mask.astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.asarray(depth, dtype=np.float32)


def _window(mask: FrameMask, *, margin: int) -> tuple[slice, slice]:
    """The rows and columns round a mask, which is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )
