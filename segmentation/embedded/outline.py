"""Bring the outline of a carried mask back to the object, by its look and the colour edges.

The mask is believed as far as the motion that carried it; close to the outline, and farther away where
the motion contradicts itself, the object's learned look decides, with the cut along edges.

How much a region looks like an object, by its outline and its surroundings; and cuts along colour edges.

Works on small images only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.embedded.appearance import Appearance, PixelFeatures, describe_pixels
from segmentation.embedded.motion import Motion
from segmentation.vision import _NO_BOX, _ring, describe_region, signed_depth

REACH = 0.07
"""How far the outline may move at most, as a share of the root of the object's area."""
LEAST_REACH = 0.4
"""The same where the flow agrees with itself, as a share of the reach elsewhere."""
SURROUNDINGS = 0.35
"""How far round the object its surroundings are learned, as a share of the root of its area."""
LOOK_WEIGHT = 2.0
"""Log odds of a pixel that looks just like the object; its place gives as much at the rim of the reach."""
SMALLEST_PART = 0.05
"""Parts of a mask below this share of its largest are what the object left behind."""

_SETTLED = 3
"""Pixels this near to the outline teach nothing: it may be wrong there."""
_SHORTEST_REACH = 1.5
"""Pixels; below 1 no pixel would be open, and the outline of a small object could never be corrected."""
_FIRST_SAMPLES, _LATER_SAMPLES = 4000, 1000
_FULL_DISAGREEMENT = 1.2
"""Pixels by which the flow contradicts itself where it is worth nothing."""
_MOST_ODDS = 6.0
_CUT_SHARPNESS = 3.0
"""How much log odds count against the cost of an outline in `cv2.grabCut`."""
_FEWEST_PIXELS = 8


class OutlineTracker:
    """Follows the look of one object from frame to frame.

    Args:
        image: (H, W, 3) uint8 RGB, a side of at most some hundred pixels.
        mask: (H, W) bool, the object on it.
    """

    def __init__(self, image: Frame, mask: FrameMask) -> None:
        self._rng = np.random.default_rng(0)
        self._first_breadth = _breadth(mask)
        samples = self._samples(describe_pixels(image), mask, count=_FIRST_SAMPLES, settled=0)
        self._appearance = None if samples is None else Appearance(*samples)

    def refine(self, image: Frame, mask: FrameMask, *, disagreement: NDArray[np.float32]) -> FrameMask:
        """The object on the next frame; learns from the answer.

        Args:
            image: (H, W, 3) uint8 RGB.
            mask: (H, W) bool, as the motion carried it.
            disagreement: (H, W) by how many pixels the motion there and back differ.

        Returns:
            (H, W) bool; the mask itself where nothing can be learned.
        """
        if self._appearance is None or not mask.any() or mask.all():
            return mask
        breadth = _breadth(mask)
        scale = float(np.clip(breadth / self._first_breadth, 0.3, 2.0))
        features = describe_pixels(image, scale=scale)
        distance = signed_depth(mask)
        reach = np.maximum(_SHORTEST_REACH, REACH * breadth * _doubt(disagreement))
        near = np.abs(distance) <= reach
        if not near.any():
            return mask
        odds = 2 * distance / reach
        odds[near] += LOOK_WEIGHT * self._appearance.lean(features[near])
        found = without_scraps(cut_by_odds(image, odds, undecided=near))
        samples = self._samples(features, found, count=_LATER_SAMPLES, settled=_SETTLED)
        if samples is not None:
            self._appearance.add(*samples)
        return found

    def _samples(
        self, features: PixelFeatures, mask: FrameMask, *, count: int, settled: int
    ) -> tuple[PixelFeatures, PixelFeatures] | None:
        """Features of the object and of its surroundings; None where either is too small to learn from."""
        distance = signed_depth(mask)
        ring = max(1.0, SURROUNDINGS * _breadth(mask))
        sides = np.flatnonzero(distance > settled), np.flatnonzero((distance < -settled) & (distance > -ring))
        if min(len(side) for side in sides) < _FEWEST_PIXELS:
            return None
        flat = features.reshape(-1, features.shape[-1])
        chosen = [self._rng.choice(side, min(count, len(side)), replace=False) for side in sides]
        return flat[chosen[0]], flat[chosen[1]]


def cut_by_odds(image: Frame, odds: NDArray[np.float32], *, undecided: FrameMask) -> FrameMask:
    """The cut that agrees with what is believed of each pixel and runs along the edges of the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        odds: (H, W) log odds that a pixel belongs to the object.
        undecided: (H, W) bool; elsewhere the sign of the odds stands.

    Returns:
        (H, W) bool.
    """
    marked = odds > 0
    if not undecided.any() or marked.all() or not marked.any():
        return np.asarray(marked, dtype=np.bool_)
    rows, columns = np.flatnonzero(undecided.any(axis=1)), np.flatnonzero(undecided.any(axis=0))
    # The cut weighs edges against the usual contrast of its window, which should show the surroundings too.
    margin = max(2, len(columns) // 8)
    window = (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )
    labels = np.where(marked, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[~undecided] &= 1
    part = labels[window].copy()
    models = _step_model(0.0), _step_model(255.0)
    cv2.grabCut(
        _with_odds(image, odds)[window].copy(), part, (0, 0, 0, 0), *models, 1, cv2.GC_EVAL_FREEZE_MODEL
    )
    result = marked.copy()
    result[window] = (part & 1) > 0
    return np.asarray(result, dtype=np.bool_)


def without_scraps(mask: FrameMask) -> FrameMask:
    """A mask without the parts that are small against its largest."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.isin(parts, np.flatnonzero((areas > 0) & (areas >= SMALLEST_PART * areas.max(initial=0))))


def _with_odds(image: Frame, odds: NDArray[np.float32]) -> Frame:
    """The odds as a colour, beside two that say where edges are: green, and what is red rather than blue.

    `cv2.grabCut` knows no other way to be told what is believed of a pixel than its colour.
    """
    level = np.clip(odds, -_MOST_ODDS, _MOST_ODDS) * (127.5 / _MOST_ODDS) + 127.5
    red_or_blue = cv2.addWeighted(image[..., 0], 0.5, 255 - image[..., 2], 0.5, 0)
    return np.dstack([level.astype(np.uint8), image[..., 1], red_or_blue])


def _step_model(level: float) -> NDArray[np.float64]:
    """A colour model (as `cv2.grabCut` lays it out) of which only the first colour's distance counts.

    The difference between two of them is a straight line in that colour: the log odds it stands for.
    """
    model = np.zeros((1, 65))
    variance = 255 * (127.5 / _MOST_ODDS) / _CUT_SHARPNESS
    model[0, 0] = 1
    model[0, 5:8] = level, 128, 128
    model[0, 20:29] = np.diag([variance, 1e6, 1e6]).ravel()
    return model


def _doubt(disagreement: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of the reach is open at each pixel, from the disagreement in its neighbourhood."""
    known = np.minimum(disagreement, 10 * _FULL_DISAGREEMENT)
    widest = cv2.dilate(known, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    smooth = cv2.GaussianBlur(widest, (0, 0), 2)
    rise = (1 - LEAST_REACH) / _FULL_DISAGREEMENT
    return np.asarray(np.clip(LEAST_REACH + rise * smooth, LEAST_REACH, 1), dtype=np.float32)


def _breadth(mask: FrameMask) -> float:
    return max(1.0, float(np.sqrt(mask.sum())))


_GRABCUT_ROUNDS = 2


def score_region(image: Frame, mask: FrameMask, *, motion: Motion | None, any_size: bool = False) -> float:
    """How much a region looks like a whole object; comparable within one image.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, not empty.
        motion: of the image; None where it is unknown.
        any_size: the size says nothing, because the user gave it, and with it that the object may touch
            the frame.
    """
    counts = (1, 0, 0, 1) if any_size else (1, 1, 1, 1)
    look = float(np.dot(SCORE_WEIGHTS * counts, describe_region(image, mask)))
    if motion is None:
        return look
    region = mask.astype(np.uint8)
    ring = _ring(region)
    return look + MOTION_WEIGHT * motion.contrast(region, ring) if ring.any() else look


MOTION_WEIGHT = 0.6
"""Of the motion contrast between a region and the ring round it, in the same units."""

SCORE_WEIGHTS = np.array([1.0, -6.0, -0.06, 0.06])
"""Of the numbers from `describe_region`, fitted to their overlap with true objects."""


def filled_component(mask: FrameMask, point: tuple[int, int]) -> FrameMask:
    """The connected part of a mask round a point, without holes; empty where the point is outside."""
    x, y = point
    if not mask[y, x]:
        return np.zeros_like(mask)
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    part = (labels == labels[y, x]).astype(np.uint8)
    outer, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(part, outer, -1, 1, cv2.FILLED) > 0, dtype=np.bool_)


def refine_outline(image: Frame, mask: FrameMask, *, reach: int) -> FrameMask:
    """Draw the outline of a mask to the colour edges near it; what lies deeper inside stays.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        reach: how many pixels the outline may move either way.

    Returns:
        (H, W) bool.
    """
    if mask.all() or not mask.any():
        return mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = 4 * reach
    window = (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )
    inside = mask[window].astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    labels = np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.dilate(inside, kernel) == 0] = cv2.GC_BGD
    labels[cv2.erode(inside, kernel) > 0] = cv2.GC_FGD
    refined = np.zeros_like(mask)
    refined[window] = cut(np.ascontiguousarray(image[window]), labels)
    return refined


def cut(image: Frame, labels: NDArray[np.uint8], *, rounds: int = _GRABCUT_ROUNDS) -> FrameMask:
    """GrabCut from given labels, repeatable and quiet about hopeless input.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) of `cv2.GC_BGD`, `GC_FGD`, `GC_PR_BGD`, `GC_PR_FGD`.
        rounds: alternations between colour models and cut.

    Returns:
        (H, W) bool; the labels themselves where one side is empty, because nothing can be learned.
    """
    marked = (labels & 1) > 0
    if marked.all() or not marked.any():
        return np.asarray(marked, dtype=np.bool_)
    cv2.setRNGSeed(0)
    result = labels.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, result, _NO_BOX, *models, rounds, cv2.GC_INIT_WITH_MASK)
    return np.asarray((result & 1) > 0, dtype=np.bool_)
