"""Grow a carried mask anew on each frame, from what the object looks like and how it moves against the rest.

What a first mask leaves out, or a motion loses, looks and moves like the object and comes back; what it
wrongly holds looks and moves like the rest and falls away. Half of what is learned is the first frame, half
the present one, where the carried mask is the guess: smooth enough not to learn the guess's errors. Works
on small images only.
"""

from __future__ import annotations

import cv2
import numpy as np

from segmentation.embedded.appearance import Appearance, PixelFeatures
from segmentation.base import Frame, FrameMask
from segmentation.blending import signed_depth
from segmentation.embedded.growing import KERNEL_WIDTH, describe_frame
from segmentation.embedded.motion import Motion
from segmentation.embedded.outline import cut_by_odds, without_scraps
from segmentation.scaling import resized

NUM_WAVES = 96
NEWS_SHARE = 0.5
"""Of the present frame against the first."""
LOOK_WEIGHT = 4.0
"""Log odds of a pixel that looks and moves just like the object."""
PLACE_WEIGHT = 1.0
"""Log odds of a pixel deep inside the carried mask."""
SURROUNDINGS = 0.7
"""Half of what the object is told from lies nearer to it than this share of the root of its area."""
SAMPLES = 600
"""Of the object, and of the rest, in a frame."""

_DEEP = 0.5
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
        deep = _DEEP * float(guess.sum()) ** 0.5
        odds = LOOK_WEIGHT * look + PLACE_WEIGHT * np.clip(signed_depth(guess) / deep, -1, 1)
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
