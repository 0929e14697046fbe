"""How much a region looks like an object, by its outline and its surroundings; and cuts along colour edges.

Works on small images only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.embedded.motion import Motion

_GRABCUT_ROUNDS = 2
_NO_BOX = (0, 0, 0, 0)
_HISTOGRAM_BINS = 6
_STRONG_EDGE = 40.0
_TYPICAL_AREA = 0.07


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


def describe_region(image: Frame, mask: FrameMask) -> NDArray[np.float64]:
    """What tells an object from a patch: edge, frame contact, size, colour contrast.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, not empty.

    Returns:
        (4,): mean edge strength along the outline in [0, 1]; share of the outline on the frame's rim;
        squared log of the area against a typical one; colour difference to a ring round it in [0, 1].
    """
    region = mask.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    padded = np.pad(region, 1)
    rim = (region - cv2.erode(padded, kernel)[1:-1, 1:-1]) > 0
    at_frame = np.zeros_like(mask)
    at_frame[[0, -1], :] = at_frame[:, [0, -1]] = True
    outline = rim & ~at_frame
    edges = np.minimum(_edge_strength(image), _STRONG_EDGE) / _STRONG_EDGE
    edge = float(edges[outline].mean()) if outline.any() else 0.0
    contact = float((rim & at_frame).sum() / rim.sum())
    size = float(np.log(mask.mean() / _TYPICAL_AREA) ** 2)
    return np.array([edge, contact, size, _contrast(image, region)])


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


def _edge_strength(image: Frame) -> NDArray[np.float32]:
    """(H, W) colour step across each pixel, in 8-bit Lab levels."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    kernel = np.ones((3, 3), np.uint8)
    step = cv2.dilate(lab, kernel).astype(np.float32) - cv2.erode(lab, kernel)
    return np.asarray(np.linalg.norm(step, axis=-1), dtype=np.float32)


def _contrast(image: Frame, region: NDArray[np.uint8]) -> float:
    """1 minus the overlap of the colour histograms of a region and of the ring round it."""
    ring = _ring(region)
    if not ring.any():
        return 0.0
    return 1 - likeness(colour_histogram(image, region), colour_histogram(image, ring))


def _ring(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) 1 on what lies round a region, about a third of its breadth wide."""
    reach = max(2, round(0.35 * float(region.sum()) ** 0.5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(region, kernel) - region, dtype=np.uint8)


def colour_histogram(image: Frame, mask: NDArray[np.generic]) -> NDArray[np.float32]:
    """The colours of a part of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W), true or above 0 on the part.

    Returns:
        (6, 6, 6) shares that add up to 1; all 0 where the part is empty.
    """
    bins, ranges = [_HISTOGRAM_BINS] * 3, [0, 256] * 3
    counts = cv2.calcHist([image], [0, 1, 2], mask.astype(np.uint8), bins, ranges)
    return np.asarray(counts / max(1.0, float(counts.sum())), dtype=np.float32)


def likeness(histogram: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Overlap of two colour histograms, from 0 to 1."""
    return float(np.minimum(histogram, other).sum())
