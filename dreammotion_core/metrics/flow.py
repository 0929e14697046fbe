"""Dense optical flow between two frames, and where it can be believed.

`segmentation.flow` has its own, because the two packages stand alone; this one works at a finer scale, as
measures of small clips need, and judges visibility in both directions.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from dreammotion_core.values import Frames

Flow = NDArray[np.float32]
"""(H, W, 2) displacement in pixels, x right then y down."""
FlowPair = tuple[Flow, Flow]
"""Between a frame and the next: there, and back."""

WORKING_SIDE = 256
"""Smaller clips are enlarged to this longer side first: patches of 8 pixels must fit into small objects."""
LARGEST_SIDE = 640
"""Larger ones are reduced to it."""


def dense_flow(frame: NDArray[np.uint8], *, towards: NDArray[np.uint8]) -> Flow:
    """How far each pixel of a frame moves until another frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        towards: (H, W, 3) uint8 RGB.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search (ECCV 2016), by OpenCV.
    """
    height, width = frame.shape[:2]
    side = max(height, width)
    scale = min(max(side, WORKING_SIDE), LARGEST_SIDE) / side
    size = max(16, round(width * scale)), max(16, round(height * scale))
    grey = [
        cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_RGB2GRAY)
        for image in (frame, towards)
    ]
    # Present since OpenCV 4, absent from its type stubs.
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    flow = cv2.resize(estimator.calc(*grey, None), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(flow * (width / size[0], height / size[1]), np.float32)


def consecutive_flows(frames: Frames) -> list[FlowPair]:
    """Flow there and back between each frame and the next, F - 1 pairs of (F, H, W, 3) frames."""
    return [(dense_flow(one, towards=two), dense_flow(two, towards=one)) for one, two in pairwise(frames)]


def sample(values: NDArray[np.float32], *, points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values between pixels; beyond the frame those of its rim.

    Args:
        values: (H, W, C) float32.
        points: (H', W', 2) or (T, 2) positions (x, y).

    Returns:
        (H', W', C) or (T, C).
    """
    x, y = np.moveaxis(points.astype(np.float32).reshape(len(points), -1, 2), -1, 0)
    found = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(*points.shape[:-1], -1)


def pixel_grid(size: tuple[int, int]) -> NDArray[np.float64]:
    """(H, W, 2) positions (x, y) of all pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return np.stack([columns, rows], axis=-1)


def is_consistent(there: Flow, *, back: Flow, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points that follow the flow there and back return to about where they were.

    Args:
        there: (H, W, 2) flow to the next frame.
        back: (H, W, 2) flow back.
        points: (..., 2) positions on the first of the two.

    Returns:
        (...,) bool; False also for points that leave the frame.

    Source: Sundaram et al., Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow
    (ECCV 2010), equation 5: |w + w'|^2 < 0.01 (|w|^2 + |w'|^2) + 0.5.
    """
    forward = sample(there, points=points)
    landed = points + forward
    backward = sample(back, points=landed)
    error = ((forward + backward) ** 2).sum(axis=-1)
    length = (forward**2).sum(axis=-1) + (backward**2).sum(axis=-1)
    limit = np.array(there.shape[1::-1]) - 1
    inside = ((landed >= 0) & (landed <= limit)).all(axis=-1)
    return np.asarray((error < 0.01 * length + 0.5) & inside)
