"""Dense optical flow between two frames, and where it can be believed.

`segmentation.flow` has its own, because the two packages stand alone; this one works at a finer scale, as
measures of small clips need, and judges visibility in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreammotion_core.values import Frames

Flow = NDArray[np.float32]
"""(H, W, 2) displacement in pixels, x right then y down."""
Positions = NDArray[np.float32] | NDArray[np.float64]
"""(..., 2) places in pixels, x right then y down."""
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
    return _flow(_working_grey(frame), _working_grey(towards), _estimator(), frame.shape[:2])


def consecutive_flows(frames: Frames) -> list[FlowPair]:
    """Flow there and back between each frame and the next, F - 1 pairs of (F, H, W, 3) frames."""
    grey, estimator, size = [_working_grey(frame) for frame in frames], _estimator(), frames.shape[1:3]
    return [
        (_flow(one, two, estimator, size), _flow(two, one, estimator, size)) for one, two in pairwise(grey)
    ]


@dataclass(frozen=True, eq=False)
class Motion:
    """How a clip moves: what several measures of it share.

    Attributes:
        flows: F - 1 pairs, of each frame and the next.
    """

    flows: Sequence[FlowPair]

    @classmethod
    def of(cls, frames: Frames) -> Motion:
        """The motion of (F, H, W, 3) uint8 RGB frames."""
        return cls(consecutive_flows(frames))

    @cached_property
    def followed(self) -> list[NDArray[np.bool_]]:
        """(H, W) for each pair: where the flow there and back can be believed."""
        return [
            is_consistent(there, back=back, points=pixel_grid(there.shape[:2])) for there, back in self.flows
        ]

    def part(self, first: int, end: int | None) -> Motion:
        """The motion of the frames from `first` to before `end`."""
        return Motion(self.flows[first : None if end is None else end - 1])


def _working_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame as flow is worked out on it."""
    height, width = frame.shape[:2]
    side = max(height, width)
    scale = min(max(side, WORKING_SIDE), LARGEST_SIDE) / side
    size = max(16, round(width * scale)), max(16, round(height * scale))
    if size != (width, height):
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _estimator() -> Any:
    # Present since OpenCV 4, absent from its type stubs.
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]


def _flow(grey: NDArray[np.uint8], towards: NDArray[np.uint8], estimator: Any, size: tuple[int, ...]) -> Flow:
    """Flow between two working greys, in pixels of a frame of `size`, (H, W)."""
    flow = np.asarray(estimator.calc(grey, towards, None), np.float32)
    if grey.shape == size:
        return flow
    flow = np.asarray(cv2.resize(flow, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return flow * np.array([size[1] / grey.shape[1], size[0] / grey.shape[0]], np.float32)


def sample(values: NDArray[np.float32], *, points: Positions) -> NDArray[np.float32]:
    """Values between pixels; beyond the frame those of its rim.

    Args:
        values: (H, W, C) float32.
        points: (H', W', 2) or (T, 2) positions (x, y).

    Returns:
        (H', W', C) or (T, C).
    """
    x, y = np.moveaxis(points.astype(np.float32, copy=False).reshape(len(points), -1, 2), -1, 0)
    found = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(*points.shape[:-1], -1)


def pixel_grid(size: tuple[int, ...]) -> NDArray[np.float32]:
    """(H, W, 2) positions (x, y) of all pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def is_consistent(there: Flow, *, back: Flow, points: Positions) -> NDArray[np.bool_]:
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
