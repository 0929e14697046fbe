"""A mask that is nearly right, made right, on small images only.

After a click, `corrected` doubts the mask near it and learns from the rest how far the error goes. On the
next frame, `Regrower` grows a carried mask anew, by what the first frame and the carried mask show.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.embedded.appearance import (
    SMOOTH_KERNEL_WIDTH,
    Appearance,
    PixelFeatures,
    describe_frame,
    resemblance_to,
)
from segmentation.embedded.motion import Motion
from segmentation.embedded.outline import Point, cut_by_odds, without_scraps
from segmentation.vision import pixel_places, resized, signed_depth

CLICK_CERTAIN = (0.6, 0.3)
"""Radius round a click within which all is wrong: share of its distance to the outline, and at most this
share of the root of the area."""
CLICK_REACH = 2.0  # The mask is doubted so far round a click, in its distances to the outline.
CLICK_DOUBTED = 0.2  # Weight of the doubted mask as an example, against 1 elsewhere.
CLICK_SHARE = 0.3  # Weight of the disc round the click among the examples of its side.
CLICK_LOOK = 6.0  # Log odds of a pixel that looks just like the object.
CLICK_PLACE = (0.3, 2.0)  # Log odds of a pixel deep inside the mask, next to the click and far from it.
CLICK_DEEP = 0.3  # Depth, as a share of the root of the area, from which a pixel counts as deep inside.
CLICK_FARTHEST = 1.0  # From here, in roots of the area, a click means another part.
SHARE_LEFT = (0.4, 3.0)  # Least and most area after a click, in areas before it.
CARRIED_WAVES = 96
CARRIED_NEWS_SHARE = 0.5  # Weight of the present frame against the first.
CARRIED_SAMPLES = 600  # Pixels learned of the object, and of the rest, in a frame.
CARRIED_SURROUNDINGS = 0.7  # Half of the rest's samples are so near, in roots of the object's area.
CARRIED_LOOK = 4.0  # Log odds of a pixel that looks and moves just like the object.
CARRIED_PLACE = 1.0  # Log odds of a pixel deep inside the carried mask.
CARRIED_DEEP = 0.5  # Depth, as a share of the root of the area, from which a pixel counts as deep inside.
_SHORTEST = 3.0
_SPARED = 1.5  # Pixels round an earlier click within which it stays right.
_CERTAIN_ODDS = 6.0
_FEWEST_PIXELS = 5


def corrected(
    mask: FrameMask,
    *,
    image: Frame,
    features: PixelFeatures,
    point: Point,
    is_positive: bool,
    alike: Sequence[Point] = (),
    opposite: Sequence[Point] = (),
) -> FrameMask | None:
    """The (H, W) bool mask after a click that it contradicts; None if the click means another part.

    `mask` is without the point of a positive click, with that of a negative one; `alike` and `opposite` are
    the other clicks of its sign and of the other one.
    """
    # A mask without an outline is infinitely deep.
    depth = np.clip(signed_depth(mask), -max(mask.shape), max(mask.shape))
    breadth = max(1.0, float(mask.sum()) ** 0.5)
    distance = abs(float(depth[point[1], point[0]]))
    if not mask.any() or (is_positive and distance > max(_SHORTEST, CLICK_FARTHEST * breadth)):
        return None
    away = _distance_from(point, mask)
    spared = _discs(opposite, mask, _SPARED)
    certain = (away <= max(_SPARED, min(CLICK_CERTAIN[0] * distance, CLICK_CERTAIN[1] * breadth))) & ~spared
    # 1 next to the click, 0 where nothing is doubted.
    doubt = np.clip(1.5 - away / (CLICK_REACH * max(distance, _SHORTEST)), 0, 1)
    start: FrameMask = mask | certain if is_positive else mask & ~certain
    look = resemblance_to(features, *_examples(start, certain, doubt > 0, is_positive=is_positive))
    place = CLICK_PLACE[0] * doubt + CLICK_PLACE[1] * (1 - doubt)
    odds = CLICK_LOOK * look + place * np.clip(depth / (CLICK_DEEP * breadth), -1, 1)
    sign = 1 if is_positive else -1
    odds[_discs(alike, mask, _SPARED) | certain] = sign * _CERTAIN_ODDS
    odds[spared] = -sign * _CERTAIN_ODDS
    found = cut_by_odds(image, odds.astype(np.float32), undecided=np.ones_like(mask))
    # The part of the change that lies under the click and has its sign.
    change = (found | certain if is_positive else ~found | certain) & (mask != is_positive)
    _, parts = cv2.connectedComponents(change.astype(np.uint8), connectivity=4)
    clicked = change & (parts == parts[point[1], point[0]])
    changed = np.asarray(mask | clicked if is_positive else mask & ~clicked, dtype=np.bool_)
    if not SHARE_LEFT[0] * mask.sum() < changed.sum() < SHARE_LEFT[1] * mask.sum():
        return start
    return changed if is_positive else without_scraps(changed)


def _examples(
    start: FrameMask, certain: FrameMask, doubted: FrameMask, *, is_positive: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights of each pixel as an example of the object, and of the rest: near and far alike."""
    inside, outside = start.astype(np.float32), (~start).astype(np.float32)
    ring = ~start & (signed_depth(start) > -(float(start.sum()) ** 0.5))
    outside[ring] *= outside.sum() / max(1.0, float(ring.sum()))
    side, other = (inside, outside) if is_positive else (outside, inside)
    for weights in (side, other):
        weights[doubted & ~certain] *= CLICK_DOUBTED
    side[certain] *= max(1.0, CLICK_SHARE * float((side > 0).sum()) / max(1.0, float(certain.sum())))
    return inside, outside


def _discs(points: Sequence[Point], mask: FrameMask, radius: float) -> FrameMask:
    covered = np.zeros_like(mask)
    for point in points:
        covered |= _distance_from(point, mask) <= radius
    return covered


def _distance_from(point: Point, mask: FrameMask) -> NDArray[np.float32]:
    x, y = pixel_places(*mask.shape)
    return np.asarray(np.hypot(x - point[0], y - point[1]), dtype=np.float32)


class Regrower:
    """Grows carried masks anew, by what an (H, W) bool mask on the first frame shows of the object.

    Without motion of the first image, motion is ignored on the other frames too.
    """

    def __init__(self, image: Frame, mask: FrameMask, *, motion: Motion | None) -> None:
        self._sees_motion = motion is not None
        samples = _samples(describe_frame(image, motion=motion), mask)
        self._appearance = (
            None
            if samples is None
            else Appearance(
                *samples,
                num_waves=CARRIED_WAVES,
                kernel_width=SMOOTH_KERNEL_WIDTH,
                news_share=CARRIED_NEWS_SHARE,
                memory=0.0,
            )
        )

    def regrown(self, image: Frame, carried: FrameMask, *, motion: Motion | None) -> FrameMask:
        """The object on another frame, (H, W) bool; `carried` may be larger than the image.

        The carried mask to the pixel where only an outline would change, and everywhere if nothing can be
        learned.
        """
        if self._appearance is None or (self._sees_motion and motion is None):
            return carried
        features = describe_frame(image, motion=motion if self._sees_motion else None)
        guess = resized(carried, image)
        samples = _samples(features, guess)
        if samples is None:
            return carried
        self._appearance.add(*samples)
        look = self._appearance.resemblance(features.reshape(-1, features.shape[-1])).reshape(guess.shape)
        deep = CARRIED_DEEP * float(guess.sum()) ** 0.5
        odds = CARRIED_LOOK * look + CARRIED_PLACE * np.clip(signed_depth(guess) / deep, -1, 1)
        grown = without_scraps(cut_by_odds(image, odds, undecided=np.ones_like(guess)))
        differing = (grown ^ guess).astype(np.uint8)
        thick = cv2.morphologyEx(differing, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return np.where(resized(thick > 0, carried), resized(grown, carried), carried)


def _samples(features: PixelFeatures, mask: FrameMask) -> tuple[PixelFeatures, PixelFeatures] | None:
    """Features of the object and of the rest, half of it near; None if either is too small."""
    rng = np.random.default_rng(0)
    depth = signed_depth(mask)
    inside, outside = np.flatnonzero(depth > 0), np.flatnonzero(depth < 0)
    if min(len(inside), len(outside)) < _FEWEST_PIXELS:
        return None
    near = np.flatnonzero((depth < 0) & (depth > -CARRIED_SURROUNDINGS * float(mask.sum()) ** 0.5))
    flat = features.reshape(-1, features.shape[-1])
    around = [
        rng.choice(part, min(CARRIED_SAMPLES // 2, len(part)), replace=False) for part in (near, outside)
    ]
    ours = rng.choice(inside, min(CARRIED_SAMPLES, len(inside)), replace=False)
    return flat[ours], flat[np.concatenate(around)]
