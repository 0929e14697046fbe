"""Where one scene ends and another begins, so that no object is followed from one into the other.

A cut is where colours and edges fail together: a flash keeps the edges, a whip of the camera keeps the
colours. Slow fades are not found.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, Frames
from segmentation.vision import colour_histogram, likeness, optical_flow, reduced, sample

LONG_SIDE = 128
EDGE_WEIGHT = 2.0
LOWEST_CONTINUITY = 1.5
"""Least likeness of colours plus weighted persistence of edges within one scene. Measured on real footage:
above 2.6 within scenes, below 1.2 across cuts."""
LOWEST_LIKENESS = 0.5  # Least likeness of colours within one scene, for frames without edges.
_FLAT = 1.0  # Deviation of the edge strength, in 8-bit levels, below which there are no edges.


def find_cuts(frames: Frames) -> tuple[int, ...]:
    """The first frame of every scene but the first, 0-based, ascending; frames are (F, H, W, 3) uint8 RGB."""
    return tuple(index for index in range(1, len(frames)) if is_cut(frames[index - 1], frame=frames[index]))


def is_cut(previous: Frame, *, frame: Frame) -> bool:
    """Whether a frame shows another scene than the one before it."""
    before, after = reduced(previous, LONG_SIDE), reduced(frame, LONG_SIDE)
    everywhere = np.ones(before.shape[:2], np.bool_)
    colours = likeness(colour_histogram(before, everywhere), colour_histogram(after, everywhere))
    persistence = _edge_persistence(before, after)
    if persistence is None:
        return colours < LOWEST_LIKENESS
    return colours + EDGE_WEIGHT * persistence < LOWEST_CONTINUITY


def _edge_persistence(before: Frame, after: Frame) -> float | None:
    """Correlation, in [-1, 1], of a frame's edges with those that motion brings there; None without edges."""
    old, new = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (before, after))
    brought, found = _edges(sample(old, optical_flow(after, before))), _edges(new)
    spreads = float(brought.std()), float(found.std())
    if min(spreads) < _FLAT:
        return None if max(spreads) < _FLAT else 0.0
    together = float(((brought - brought.mean()) * (found - found.mean())).mean())
    return together / (spreads[0] * spreads[1])


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return np.asarray(np.hypot(across, down), dtype=np.float32)
