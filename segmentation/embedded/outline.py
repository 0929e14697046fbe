"""Cuts along colour edges, and the outline of a carried mask drawn back to its object by them.

Close to the outline, and farther away where the motion contradicts itself, the object's learned look decides.
Works on small images only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.embedded.appearance import Appearance, PixelFeatures, describe_pixels
from segmentation.vision import signed_depth, window_round

Point = tuple[int, int]  # x and y in pixels of the image.
REACH = 0.07  # Distance that the outline may move at most, as a share of the root of the object's area.
LEAST_REACH = 0.4  # Share of that distance where the flow agrees with itself.
SURROUNDINGS = 0.35  # Width that is learned, as a share of the root of the object's area.
LOOK_WEIGHT = 2.0  # Log odds of a pixel that looks just like the object.
SMALLEST_PART = 0.05  # Share of the largest part, below which a part is a scrap left behind.
_SETTLED = 3  # Distance in pixels up to which the outline may be wrong, so that nothing is learned there.
_SHORTEST_REACH = 1.5  # Pixels; below 1 no pixel would be open.
_FIRST_SAMPLES, _LATER_SAMPLES = 4000, 1000
_FULL_DISAGREEMENT = 1.2  # Pixels after a round trip from which the flow is not trusted at all.
_MOST_ODDS = 6.0
_CUT_SHARPNESS = 3.0  # Weight of log odds against the cost of an outline in `cv2.grabCut`.
_FEWEST_PIXELS = 8
_GRABCUT_ROUNDS = 2
_NO_BOX = (0, 0, 0, 0)


class OutlineTracker:
    """Follows the look of one object from frame to frame, from its (H, W) bool mask on the first image."""

    def __init__(self, image: Frame, mask: FrameMask) -> None:
        self._rng = np.random.default_rng(0)
        self._first_breadth = _breadth(mask)
        samples = self._samples(describe_pixels(image), mask, count=_FIRST_SAMPLES, settled=0)
        self._appearance = None if samples is None else Appearance(*samples)

    def refine(self, image: Frame, mask: FrameMask, *, disagreement: NDArray[np.float32]) -> FrameMask:
        """The object on the next frame, (H, W) bool, from the carried mask; learns from the answer.

        `disagreement` is the (H, W) pixels by which the motion there and back differ. The mask itself if
        nothing can be learned.
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
        odds[near] += LOOK_WEIGHT * self._appearance.resemblance(features[near])
        found = without_scraps(cut_by_odds(image, odds, undecided=near))
        samples = self._samples(features, found, count=_LATER_SAMPLES, settled=_SETTLED)
        if samples is not None:
            self._appearance.add(*samples)
        return found

    def _samples(
        self, features: PixelFeatures, mask: FrameMask, *, count: int, settled: int
    ) -> tuple[PixelFeatures, PixelFeatures] | None:
        """Features of the object and of its surroundings; None if either is too small to learn from."""
        distance = signed_depth(mask)
        ring = max(1.0, SURROUNDINGS * _breadth(mask))
        sides = np.flatnonzero(distance > settled), np.flatnonzero((distance < -settled) & (distance > -ring))
        if min(len(side) for side in sides) < _FEWEST_PIXELS:
            return None
        flat = features.reshape(-1, features.shape[-1])
        chosen = [self._rng.choice(side, min(count, len(side)), replace=False) for side in sides]
        return flat[chosen[0]], flat[chosen[1]]


def _doubt(disagreement: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of the reach that is open at each pixel, from the disagreement in its neighbourhood."""
    known = np.minimum(disagreement, 10 * _FULL_DISAGREEMENT)
    widest = cv2.dilate(known, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    smooth = cv2.GaussianBlur(widest, (0, 0), 2)
    rise = (1 - LEAST_REACH) / _FULL_DISAGREEMENT
    return np.asarray(np.clip(LEAST_REACH + rise * smooth, LEAST_REACH, 1), dtype=np.float32)


def _breadth(mask: FrameMask) -> float:
    return max(1.0, float(np.sqrt(mask.sum())))


def cut_by_odds(image: Frame, odds: NDArray[np.float32], *, undecided: FrameMask) -> FrameMask:
    """The cut that agrees with the (H, W) log odds of each pixel and runs along the edges of the image.

    Where `undecided` is False, the sign of the odds decides.
    """
    marked = odds > 0
    if not undecided.any() or marked.all() or not marked.any():
        return np.asarray(marked, dtype=np.bool_)
    # The cut weighs edges against the mean contrast of its window, which should show the surroundings too.
    window = window_round(undecided, margin=max(2, int(undecided.any(axis=0).sum()) // 8))
    labels = np.where(marked, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[~undecided] &= 1
    part = labels[window].copy()
    models = _step_model(0.0), _step_model(255.0)
    pixels = _with_odds(image, odds)[window].copy()
    cv2.grabCut(pixels, part, _NO_BOX, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    result = marked.copy()
    result[window] = (part & 1) > 0
    return np.asarray(result, dtype=np.bool_)


def _with_odds(image: Frame, odds: NDArray[np.float32]) -> Frame:
    """The odds as a colour, since `cv2.grabCut` takes no odds, beside two that say where edges are."""
    level = np.clip(odds, -_MOST_ODDS, _MOST_ODDS) * (127.5 / _MOST_ODDS) + 127.5
    red_or_blue = cv2.addWeighted(image[..., 0], 0.5, 255 - image[..., 2], 0.5, 0)
    return np.dstack([level.astype(np.uint8), image[..., 1], red_or_blue])


def _step_model(level: float) -> NDArray[np.float64]:
    """A colour model of `cv2.grabCut` in which only the first colour counts.

    The difference between two of them is linear in that colour, which stands for the log odds.
    """
    model = np.zeros((1, 65))
    variance = 255 * (127.5 / _MOST_ODDS) / _CUT_SHARPNESS
    model[0, 0] = 1
    model[0, 5:8] = level, 128, 128
    model[0, 20:29] = np.diag([variance, 1e6, 1e6]).ravel()
    return model


def without_scraps(mask: FrameMask) -> FrameMask:
    """A mask without the parts that are small against its largest."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.isin(parts, np.flatnonzero((areas > 0) & (areas >= SMALLEST_PART * areas.max(initial=0))))


def filled_component(mask: FrameMask, point: Point) -> FrameMask:
    """The connected part of a mask round a point, without holes; empty if the point is outside."""
    x, y = point
    if not mask[y, x]:
        return np.zeros_like(mask)
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    part = (labels == labels[y, x]).astype(np.uint8)
    outer, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(part, outer, -1, 1, cv2.FILLED) > 0, dtype=np.bool_)


def refine_outline(image: Frame, mask: FrameMask, *, reach: int) -> FrameMask:
    """Draw the outline of a mask to the colour edges near it, by at most `reach` pixels either way."""
    if mask.all() or not mask.any():
        return mask
    window = window_round(mask, margin=4 * reach)
    inside = mask[window].astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    labels = np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.dilate(inside, kernel) == 0] = cv2.GC_BGD
    labels[cv2.erode(inside, kernel) > 0] = cv2.GC_FGD
    refined = np.zeros_like(mask)
    refined[window] = cut(np.ascontiguousarray(image[window]), labels)
    return refined


def cut(image: Frame, labels: NDArray[np.uint8], *, rounds: int = _GRABCUT_ROUNDS) -> FrameMask:
    """GrabCut from given (H, W) labels of `cv2.GC_BGD` and so on, with the same result every time.

    (H, W) bool; the labels themselves if one side is empty, because nothing can be learned.
    """
    marked = (labels & 1) > 0
    if marked.all() or not marked.any():
        return np.asarray(marked, dtype=np.bool_)
    cv2.setRNGSeed(0)
    result = labels.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, result, _NO_BOX, *models, rounds, cv2.GC_INIT_WITH_MASK)
    return np.asarray((result & 1) > 0, dtype=np.bool_)
