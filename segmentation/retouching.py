"""What one more click changes of a mask that is there: the part round the click, and nothing else.

A user clicks in the middle of what is wrong, so the disc that fits between the click and the outline is
wrong altogether. How far the error goes beyond it, cuts of the colours and of the motion tell, each within
some reach; of their answers the one counts that makes the whole look most like an object. Works on small
images only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.blending import signed_depth
from segmentation.motion import Motion
from segmentation.regions import cut, score_region

REACHES = (2.0, 5.0)
"""How far from the click an error may go, in distances from the click to the outline."""
BAND = (0.12, 0.7)
"""How far within the outline and beyond it an error may go anywhere, as shares of the root of the area."""
CERTAIN = 0.8
"""Share of the click's distance to the outline within which all is wrong."""
SHARE_LEFT = (0.5, 3.0)
"""Least and most area after a click, in areas before it: who meant more would have selected anew."""
FARTHEST = 0.5
"""Distance of a click from the mask, as a share of the root of its area, from which it is something else."""

_SHORTEST = 2.0
_SPARED = 0.3
"""Distance from clicks of the other sign within which nothing changes, in the same unit as `REACHES`."""
_WINDOW_MARGIN = 1.5
"""How much wider than the reach the window is in which colours are learned."""

Point = tuple[int, int]
"""x and y in pixels of the image."""


def retouched(
    mask: FrameMask,
    *,
    image: Frame,
    motion: Motion | None,
    point: Point,
    is_positive: bool,
    opposite: Sequence[Point] = (),
) -> FrameMask | None:
    """The mask with what a click adds, or without what it takes away.

    Args:
        mask: (H, W) bool, on which the click is wrong: outside where it is positive, inside else.
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        motion: of the image; None where it is unknown.
        point: the click.
        is_positive: whether the object is missing there.
        opposite: the clicks of the other sign.

    Returns:
        (H, W) bool; None where the click is so far from the mask that it points at something else.
    """
    depth = signed_depth(mask)
    distance, breadth = abs(float(depth[point[1], point[0]])), float(mask.sum()) ** 0.5
    if not mask.any() or (is_positive and distance > max(_SHORTEST, FARTHEST * breadth)):
        return None
    reach = max(_SHORTEST, min(distance, FARTHEST * breadth))
    away = _distance_from(point, mask)
    certain = away <= max(1.0, CERTAIN * reach)
    spared = np.zeros_like(mask)
    for other in opposite:
        gap = float(np.hypot(other[0] - point[0], other[1] - point[1]))
        spared |= _distance_from(other, mask) <= min(_SPARED * reach, gap / 2)
    certain &= ~spared
    start: FrameMask = mask | certain if is_positive else mask & ~certain
    candidates = [
        _changed(mask, _recut(picture, start, open_ & ~spared, certain), point, is_positive=is_positive)
        for picture, open_ in product(_pictures(image, motion), _open_parts(start, away, reach))
    ]
    least, most = SHARE_LEFT[0] * mask.sum(), SHARE_LEFT[1] * mask.sum()
    plausible = [each for each in (*candidates, start) if least < each.sum() < most]

    def looks(candidate: FrameMask) -> float:
        return score_region(image, candidate, motion=motion, any_size=True)

    return max(plausible, key=looks, default=start)


def _pictures(image: Frame, motion: Motion | None) -> list[Frame]:
    return [image] if motion is None else [image, motion.picture]


def _open_parts(start: FrameMask, away: NDArray[np.float32], reach: float) -> Iterator[FrameMask]:
    """Where the error may go on, by several guesses."""
    for factor in REACHES:
        yield away <= factor * reach
    depth, breadth = signed_depth(start), float(start.sum()) ** 0.5
    yield (depth < BAND[0] * breadth) & (depth > -BAND[1] * breadth)


def _recut(picture: Frame, start: FrameMask, open_: FrameMask, certain: FrameMask) -> FrameMask:
    """The cut of a picture that keeps the mask beyond the open part, and what is certain within it."""
    labels = start.astype(np.uint8)
    labels[open_ & ~certain] |= 2
    window = _window(open_ | certain)
    found = start.copy()
    found[window] = cut(np.ascontiguousarray(picture[window]), np.ascontiguousarray(labels[window]))
    return found


def _changed(mask: FrameMask, found: FrameMask, point: Point, *, is_positive: bool) -> FrameMask:
    """The mask with that part of a change that lies under the click and has its sign."""
    change = found & ~mask if is_positive else mask & ~found
    _, parts = cv2.connectedComponents(change.astype(np.uint8), connectivity=4)
    clicked = change & (parts == parts[point[1], point[0]])
    return np.asarray(mask | clicked if is_positive else mask & ~clicked, dtype=np.bool_)


def _window(part: FrameMask) -> tuple[slice, slice]:
    """Rows and columns of a part and of what surrounds it."""
    left, top, across, down = cv2.boundingRect(part.astype(np.uint8))
    margin = round(0.5 * (_WINDOW_MARGIN - 1) * max(across, down)) + 1
    rows = slice(max(0, top - margin), top + down + margin)
    return rows, slice(max(0, left - margin), left + across + margin)


def _distance_from(point: Point, mask: FrameMask) -> NDArray[np.float32]:
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(np.hypot(x - point[0], y - point[1]), dtype=np.float32)
