"""Dense optical flow between two frames: how far each pixel moves, and what it brings along.

Pure functions over arrays. Deliberately absent: masks and any decision about objects.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame

Flow = NDArray[np.float32]
"""(H, W, 2), displacement in pixels, x right then y down."""

FLOW_LONG_SIDE = 480
_SMALLEST_FLOW_SIDE = 16


def optical_flow(source: Frame, target: Frame) -> Flow:
    """Dense displacement of every pixel of `source` towards `target`, by DIS on a reduced copy.

    Args:
        source: (H, W, 3) uint8 RGB.
        target: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 2) float32 in pixels of the frame; zero where a frame is too small to compare.
    """
    return enlarged(reduced_flow(source, target), source.shape[:2])


def reduced_flow(source: Frame, target: Frame) -> Flow:
    """The same on the reduced copy itself: (h, w, 2) float32 in pixels of the copy."""
    height, width = source.shape[:2]
    scale = min(1.0, FLOW_LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if min(size) < _SMALLEST_FLOW_SIDE:
        return np.zeros((size[1], size[0], 2), np.float32)
    grey = [
        cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        for image in (source, target)
    ]
    # Present since OpenCV 4, absent from its type stubs.
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    return np.asarray(estimator.calc(grey[0], grey[1], None), dtype=np.float32)


def enlarged(flow: Flow, size: tuple[int, int]) -> Flow:
    """A flow in pixels of another size of its frames.

    Args:
        flow: (h, w, 2) in pixels of a copy of the frames.
        size: height and width wanted.
    """
    (rows, columns), (height, width) = flow.shape[:2], size
    if (rows, columns) == (height, width):
        return flow
    smaller = height < rows
    resampled = cv2.resize(
        flow, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    return np.asarray(resampled * np.array([width / columns, height / rows], np.float32), dtype=np.float32)


def flow_disagreement(there: Flow, back: Flow) -> NDArray[np.float32]:
    """(H, W) how many pixels away from its start a pixel comes to lie that follows both flows."""
    return lengths(there + sample(back, there))


def lengths(flow: Flow) -> NDArray[np.float32]:
    """(H, W) how far each pixel moves."""
    return np.asarray(cv2.magnitude(*cv2.split(flow)), dtype=np.float32)


def sample(values: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """`values` looked up where the flow points; 0 beyond the frame.

    Args:
        values: (H, W) or (H, W, C) float32 of one frame.
        flow: (H, W, 2) from another frame to that one, as `optical_flow` gives it.

    Returns:
        As `values`, but lying where they are on the other frame.
    """
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    sampled = cv2.remap(values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(sampled, dtype=np.float32).reshape(values.shape)


def chained(first: Flow, then: Flow) -> Flow:
    """The flow over two steps in time; both (H, W, 2), `then` from the frame that `first` leads to."""
    return np.asarray(first + sample(then, first), dtype=np.float32)
