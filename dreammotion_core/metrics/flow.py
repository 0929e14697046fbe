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

WORKING_SIDE = 192
"""Smaller clips are enlarged to this longer side first: patches of 8 pixels must fit into small objects."""
LARGEST_SIDE = 320
"""Larger ones are reduced to it."""
WINDOW = 9
"""Side of the square, in pixels, in which colours are compared to tell which plane's flow is right."""
FAR = 100
"""A difference of colour, summed over the channels, beyond which a pixel is just wrong: one that is hidden
later must not outweigh those round it."""


def consecutive_flows(frames: Frames) -> list[FlowPair]:
    """Flow there and back between each frame and the next, F - 1 pairs of (F, H, W, 3) frames.

    The flow is worked out in the red, the green and the blue plane, since an object may stand out in one of
    them only. Each pixel takes it from a plane in which it returns to where it was, if there is one, and
    among those from the one that leads to the likest colours.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search (ECCV 2016), by OpenCV; the choice
    between the planes is ours.
    """
    working, estimator, size = [_working_frame(frame) for frame in frames], _estimator(), frames.shape[1:3]
    planes = [cv2.split(frame) for frame in working]
    pairs = []
    for now, after in pairwise(range(len(frames))):
        there, back = (
            [np.asarray(estimator.calc(one, two, None), np.float32) for one, two in zip(*of, strict=True)]
            for of in ((planes[now], planes[after]), (planes[after], planes[now]))
        )
        pairs.append(
            (
                _sized(_likeliest(there, back=back, frame=working[now], towards=working[after]), size),
                _sized(_likeliest(back, back=there, frame=working[after], towards=working[now]), size),
            )
        )
    return pairs


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


def _working_frame(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame as flow is worked out on it."""
    height, width = frame.shape[:2]
    side = max(height, width)
    scale = min(max(side, WORKING_SIDE), LARGEST_SIDE) / side
    size = max(16, round(width * scale)), max(16, round(height * scale))
    if size != (width, height):
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return frame


def _estimator() -> Any:
    # Present since OpenCV 4, absent from its type stubs.
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]


def _likeliest(
    flows: Sequence[Flow], *, back: Sequence[Flow], frame: NDArray[np.uint8], towards: NDArray[np.uint8]
) -> Flow:
    """For each pixel of a frame one of several flows towards another, each with the flow back."""
    points = pixel_grid(frame.shape[:2])
    # `FAR` is the largest difference of colours, so a flow that does not return comes after all that do.
    costs = [
        _colour_difference(frame, towards, flow=flow, points=points)
        + (FAR + 1) * ~is_consistent(flow, back=returning, points=points)
        for flow, returning in zip(flows, back, strict=True)
    ]
    chosen = np.argmin(costs, axis=0)
    return np.asarray(np.choose(chosen[..., None], flows), np.float32)


def _colour_difference(
    frame: NDArray[np.uint8], towards: NDArray[np.uint8], *, flow: Flow, points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(H, W), how much the colours round each pixel differ from those that the flow leads to."""
    x, y = cv2.split(points + flow)
    led_to = cv2.remap(towards, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    red, green, blue = cv2.split(cv2.absdiff(frame, led_to).astype(np.float32))
    difference = red + green + blue
    return np.asarray(cv2.blur(np.minimum(difference, FAR), (WINDOW, WINDOW)), np.float32)


def _sized(flow: Flow, size: tuple[int, ...]) -> Flow:
    """A flow in pixels of a frame of `size`, (H, W)."""
    height, width = flow.shape[:2]
    if (height, width) == size:
        return flow
    flow = np.asarray(cv2.resize(flow, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return flow * np.array([size[1] / width, size[0] / height], np.float32)


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
    error = _squared_length(forward + backward)
    length = _squared_length(forward) + _squared_length(backward)
    limit = np.array(there.shape[1::-1]) - 1
    x, y = landed[..., 0], landed[..., 1]
    inside = (x >= 0) & (x <= limit[0]) & (y >= 0) & (y <= limit[1])
    return np.asarray((error < 0.01 * length + 0.5) & inside)


def _squared_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    # Many times faster than a sum along so short an axis.
    return np.asarray(np.einsum("...c,...c->...", vectors, vectors))
