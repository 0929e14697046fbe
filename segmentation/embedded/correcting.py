"""What one more click changes of a mask that is there: the part round the click, and nothing else.

The mask is believed but for what lies near the click; from what is left of it, and from a disc round the
click, the look of the object and of the rest is learned, and a cut tells how far the error goes. Works on
small images only.

Grow a carried mask anew on each frame, from what the object looks like and how it moves against the rest.

What a first mask leaves out, or a motion loses, looks and moves like the object and comes back; what it
wrongly holds looks and moves like the rest and falls away. Half of what is learned is the first frame, half
the present one, where the carried mask is the guess: smooth enough not to learn the guess's errors. Works
on small images only.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.embedded.appearance import Appearance, PixelFeatures
from segmentation.embedded.growing import KERNEL_WIDTH, describe_frame, likeness_to
from segmentation.embedded.motion import Motion
from segmentation.embedded.outline import cut_by_odds, without_scraps
from segmentation.vision import resized, signed_depth

CERTAIN = (0.6, 0.3)
"""Radius round the click within which all is wrong: share of its distance to the outline, and at most this
share of the root of the area."""
REACH = 2.0
"""How far from the click the mask is doubted, in distances from the click to the outline."""
DOUBTED = 0.2
"""What the mask counts as an example there, against 1 elsewhere."""
CLICK_WEIGHT = 0.3
"""Of the disc round the click among the examples of its side."""
LOOK_WEIGHT = 6.0
"""Log odds of a pixel that looks just like the object."""
PLACE_WEIGHTS = (0.3, 2.0)
"""Log odds of a pixel deep inside the mask, next to the click and far from it."""
SHARE_LEFT = (0.4, 3.0)
"""Least and most area after a click, in areas before it: who meant more would have selected anew."""
FARTHEST = 1.0
"""Distance of a click from the mask, as a share of the root of its area, from which it is something else."""

_DEEP = 0.3
"""Depth, as a share of the root of the area, from which a pixel counts as deep inside."""
_SHORTEST = 3.0
_SPARED = 1.5
"""Pixels round an earlier click within which it stays right."""
_CERTAIN_ODDS = 6.0

Point = tuple[int, int]
"""x and y in pixels of the image."""


def retouched(
    mask: FrameMask,
    *,
    image: Frame,
    features: PixelFeatures,
    point: Point,
    is_positive: bool,
    alike: Sequence[Point] = (),
    opposite: Sequence[Point] = (),
) -> FrameMask | None:
    """The mask with what a click adds, or without what it takes away.

    Args:
        mask: (H, W) bool, on which the click is wrong: outside where it is positive, inside else.
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        features: (H, W, C) of the image, from `looks.describe_frame`.
        point: the click.
        is_positive: whether the object is missing there.
        alike: the other clicks of its sign.
        opposite: the clicks of the other sign.

    Returns:
        (H, W) bool; None where the click is so far from the mask that it points at something else.
    """
    # A mask without an outline is infinitely deep.
    depth = np.clip(signed_depth(mask), -max(mask.shape), max(mask.shape))
    breadth = max(1.0, float(mask.sum()) ** 0.5)
    distance = abs(float(depth[point[1], point[0]]))
    if not mask.any() or (is_positive and distance > max(_SHORTEST, FARTHEST * breadth)):
        return None
    away = _distance_from(point, mask)
    spared = _discs(opposite, mask, _SPARED)
    certain = (away <= max(_SPARED, min(CERTAIN[0] * distance, CERTAIN[1] * breadth))) & ~spared
    # 1 next to the click, 0 where nothing is doubted.
    doubt = np.clip(1.5 - away / (REACH * max(distance, _SHORTEST)), 0, 1)
    start: FrameMask = mask | certain if is_positive else mask & ~certain
    look = likeness_to(features, *_examples(start, certain, doubt > 0, is_positive=is_positive))
    place = PLACE_WEIGHTS[0] * doubt + PLACE_WEIGHTS[1] * (1 - doubt)
    odds = LOOK_WEIGHT * look + place * np.clip(depth / (_DEEP * breadth), -1, 1)
    sign = 1 if is_positive else -1
    odds[_discs(alike, mask, _SPARED) | certain] = sign * _CERTAIN_ODDS
    odds[spared] = -sign * _CERTAIN_ODDS
    found = cut_by_odds(image, odds.astype(np.float32), undecided=np.ones_like(mask))
    changed = _changed(mask, found, certain, point, is_positive=is_positive)
    if not SHARE_LEFT[0] * mask.sum() < changed.sum() < SHARE_LEFT[1] * mask.sum():
        return start
    return changed if is_positive else without_scraps(changed)


def _examples(
    start: FrameMask, certain: FrameMask, doubted: FrameMask, *, is_positive: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How much each pixel counts as an example of the object, and of the rest.

    Of the rest, the surroundings of the object count as much as all that lies farther away.
    """
    inside, outside = start.astype(np.float32), (~start).astype(np.float32)
    ring = ~start & (signed_depth(start) > -(float(start.sum()) ** 0.5))
    outside[ring] *= outside.sum() / max(1.0, float(ring.sum()))
    side, other = (inside, outside) if is_positive else (outside, inside)
    for weights in (side, other):
        weights[doubted & ~certain] *= DOUBTED
    side[certain] *= max(1.0, CLICK_WEIGHT * float((side > 0).sum()) / max(1.0, float(certain.sum())))
    return inside, outside


def _changed(
    mask: FrameMask, found: FrameMask, certain: FrameMask, point: Point, *, is_positive: bool
) -> FrameMask:
    """The mask with that part of a change that lies under the click and has its sign."""
    wanted = found | certain if is_positive else ~found | certain
    change = wanted & (mask != is_positive)
    _, parts = cv2.connectedComponents(change.astype(np.uint8), connectivity=4)
    clicked = change & (parts == parts[point[1], point[0]])
    return np.asarray(mask | clicked if is_positive else mask & ~clicked, dtype=np.bool_)


def _discs(points: Sequence[Point], mask: FrameMask, radius: float) -> FrameMask:
    covered = np.zeros_like(mask)
    for point in points:
        covered |= _distance_from(point, mask) <= radius
    return covered


def _distance_from(point: Point, mask: FrameMask) -> NDArray[np.float32]:
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(np.hypot(x - point[0], y - point[1]), dtype=np.float32)


NUM_WAVES = 96
NEWS_SHARE = 0.5
"""Of the present frame against the first."""
REGROWN_LOOK_WEIGHT = 4.0
"""Log odds of a pixel that looks and moves just like the object."""
PLACE_WEIGHT = 1.0
"""Log odds of a pixel deep inside the carried mask."""
SURROUNDINGS = 0.7
"""Half of what the object is told from lies nearer to it than this share of the root of its area."""
SAMPLES = 600
"""Of the object, and of the rest, in a frame."""

_REGROWN_DEEP = 0.5
"""Depth, as a share of the root of the area, from which a pixel counts as deep inside."""
_FEWEST_PIXELS = 5


class Regrower:
    """What the first mask of a walk says of the object.

    Args:
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        mask: (H, W) bool, the object on it.
        motion: of the image; None where it is unknown, and then motion tells nothing on other frames either.
    """

    def __init__(self, image: Frame, mask: FrameMask, *, motion: Motion | None) -> None:
        self._sees_motion = motion is not None
        samples = _samples(describe_frame(image, motion=motion), mask)
        self._appearance = (
            None
            if samples is None
            else Appearance(
                *samples, num_waves=NUM_WAVES, kernel_width=KERNEL_WIDTH, news_share=NEWS_SHARE, memory=0.0
            )
        )

    def regrown(self, image: Frame, carried: FrameMask, *, motion: Motion | None) -> FrameMask:
        """The object on another frame.

        Args:
            image: (h, w, 3) uint8 RGB, of the size of the first one.
            carried: (H, W) bool on the frame itself, which may be larger.
            motion: of the image.

        Returns:
            (H, W) bool; the carried mask to the pixel where no more than an outline changes, and everywhere
            where nothing can be learned.
        """
        if self._appearance is None or (self._sees_motion and motion is None):
            return carried
        features = describe_frame(image, motion=motion if self._sees_motion else None)
        guess = resized(carried, image)
        samples = _samples(features, guess)
        if samples is None:
            return carried
        self._appearance.add(*samples)
        look = self._appearance.lean(features.reshape(-1, features.shape[-1])).reshape(guess.shape)
        deep = _REGROWN_DEEP * float(guess.sum()) ** 0.5
        odds = REGROWN_LOOK_WEIGHT * look + PLACE_WEIGHT * np.clip(signed_depth(guess) / deep, -1, 1)
        grown = without_scraps(cut_by_odds(image, odds, undecided=np.ones_like(guess)))
        differing = (grown ^ guess).astype(np.uint8)
        thick = cv2.morphologyEx(differing, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return np.where(resized(thick > 0, carried), resized(grown, carried), carried)


def _samples(features: PixelFeatures, mask: FrameMask) -> tuple[PixelFeatures, PixelFeatures] | None:
    """Features of the object and of the rest, half of it near; None where either is too small."""
    rng = np.random.default_rng(0)
    depth = signed_depth(mask)
    inside, outside = np.flatnonzero(depth > 0), np.flatnonzero(depth < 0)
    if min(len(inside), len(outside)) < _FEWEST_PIXELS:
        return None
    near = np.flatnonzero((depth < 0) & (depth > -SURROUNDINGS * float(mask.sum()) ** 0.5))
    flat = features.reshape(-1, features.shape[-1])
    around = [rng.choice(part, min(SAMPLES // 2, len(part)), replace=False) for part in (near, outside)]
    ours = rng.choice(inside, min(SAMPLES, len(inside)), replace=False)
    return flat[ours], flat[np.concatenate(around)]
