"""The region that a single click means: grown by colours and motion in several ways, the best-looking chosen.

Further clicks have no say here: what is seen is what they correct. Works on small images only.
"""

from __future__ import annotations

import numpy as np

from segmentation.base import Frame, FrameMask
from segmentation.embedded.growing import Point, agreement, describe_frame, fate, grown_from, moving_regions
from segmentation.embedded.motion import Motion
from segmentation.regions import score_region

GROWING_RADII = (0.05, 0.07, 0.1, 0.14, 0.2)
"""Of the discs round a click that regions grow from, as shares of the image's long side."""
AGREEMENT_WEIGHT = 1.0
"""Of the agreement with the other regions, against how much a region looks like an object. What moves along
with the click counts as much: it is one more opinion."""

_OVERSIZED = 1e3
"""Taken off the rank of a region larger than the click allows."""


def region_at(image: Frame, *, point: Point, motion: Motion | None, largest: float = 1.0) -> FrameMask:
    """The best-looking region round a point.

    Args:
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        point: in pixels.
        motion: of the image; None where it is unknown.
        largest: share of the frame; larger regions count only where there is no other.

    Returns:
        (H, W) bool, connected, with the point.
    """
    features, side = describe_frame(image, motion=motion), max(image.shape[:2])
    regions = [
        grown_from(image, features=features, point=point, radius=radius * side) for radius in GROWING_RADII
    ]
    opinions = np.zeros(len(regions))
    if motion is not None:
        regions += moving_regions(image, motion=motion, point=point)
        opinions = fate(regions, image=image, motion=motion, point=point)
    looks = np.array([score_region(image, region, motion=motion) for region in regions])
    ranks = looks + AGREEMENT_WEIGHT * (agreement(regions) + opinions)
    ranks[[region.mean() > largest for region in regions]] -= _OVERSIZED
    return regions[int(np.argmax(ranks))]
