"""The motion of a clip against its background, as a picture and as features to be joined with colours.

The background is what one homography explains; motion against it is measured over several neighbours in time,
and the median counts. `ClipMotion` keeps a limited number of flows, because later steps need the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, Frames
from segmentation.vision import (
    FLOW_LONG_SIDE,
    Flow,
    chained,
    enlarged,
    flow_disagreement,
    lengths,
    pixel_places,
    reduced_flow,
    reduction,
)

KEPT_FLOWS = 256  # Flows between neighbours, either way; at 854x480 one takes 130 KB.
KEPT_DRIFTS = 128
STEPS = (1, 2, 4)  # Neighbours in time either way, in frames, that motion is measured over.
KEPT_SIDE = 240  # Long side, at most, of kept flows: half the size they are computed on.
CLEAR_MOTION = 0.5  # Motion that is told for sure, in pixels a frame (with a long side of at most 480).
FEWEST_FOLLOW = 0.25  # Share of the frame that one homography must explain to be the background.
_HOMOGRAPHY_TOLERANCE = 1.0  # Pixels (long side at most 480) within which it moves a point.
_ROUND_TRIP_TOLERANCE = 1.0  # Median pixels between flow there and back; more is a cut.
_GRID = 16  # Most pixels between the points that the homography is fitted to.
_FEWEST_ACROSS = 12
_SMALLEST_SIDE = 8  # Pixels, of the smallest flow that a background is looked for in.
_LEAST_NOISE = 0.3
_USUAL_RANGE = 100  # Grey levels for the motion that only a twentieth of the picture exceeds.
_BINS = 16


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion of a frame against its background, in the size of a picture.

    Attributes:
        features: (H, W, 3) float32: velocity to the right and down and the distance moved, each as the
            logarithm of 1 plus multiples of the background's noise.
        picture: (H, W, 3) uint8: the velocity in two channels, a faint grey picture in the third, for its
            edges.
        strength: certainty about what moves, in [0, 1].
    """

    features: NDArray[np.float32]
    picture: Frame
    strength: float

    def contrast(self, mask: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        """1 minus the overlap of the motions of two parts, (H, W) uint8 above 0 there, times the strength."""
        ours, others = (self._shares(part) for part in (mask, other))
        return self.strength * (1 - float(np.minimum(ours, others).sum()))

    def _shares(self, part: NDArray[np.uint8]) -> NDArray[np.float32]:
        counts = cv2.calcHist([self.picture], [0, 1], part, [_BINS, _BINS], [0, 256, 0, 256])
        return np.asarray(counts / max(1.0, float(counts.sum())), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Drift:
    """Motion against the background in pixels, before it is brought to the size of a picture.

    Attributes:
        velocity: (h, w, 2) float32, pixels (with a long side of at most 480) a frame to the right and down.
        distance: (h, w) float32, moved towards the neighbours, in the same pixels.
    """

    velocity: NDArray[np.float32]
    distance: NDArray[np.float32]

    def seen_on(self, image: Frame) -> Motion:
        """The motion in the size of a copy of the frame, (H, W, 3) uint8 RGB."""
        size = image.shape[1], image.shape[0]
        velocity, distance = (
            cv2.resize(values, size, interpolation=cv2.INTER_AREA)
            for values in (self.velocity, self.distance)
        )
        noise = max(_LEAST_NOISE, float(np.median(distance)))
        measured = np.dstack([velocity, distance]) / noise
        features = np.asarray(np.sign(measured) * np.log1p(np.abs(measured)), dtype=np.float32)
        usual = float(np.percentile(np.abs(velocity), 95))
        rise = _USUAL_RANGE / max(float(np.percentile(np.abs(features[..., :2]), 95)), 1.0)
        levels = np.clip(features[..., :2] * rise + 128, 0, 255).astype(np.uint8)
        faint = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 4 + 96
        picture = np.asarray(np.dstack([levels, faint]), dtype=np.uint8)
        return Motion(features=features, picture=picture, strength=min(1.0, usual / CLEAR_MOTION))


KeptFlow = NDArray[np.float16]  # (h, w, 2) in pixels of the reduced copy.


class ClipMotion:
    """Flows and drifts of a clip, each computed when it is first asked for."""

    def __init__(self, frames: Frames) -> None:
        self._size = frames.shape[1:3]
        self._kept = lru_cache(maxsize=KEPT_FLOWS)(partial(_kept_flow, frames))
        # Pixels of the copy that flow is computed on, in one pixel of the kept flow.
        scale = max(1.0, min(FLOW_LONG_SIDE, max(self._size)) / KEPT_SIDE)
        self._drifts = lru_cache(maxsize=KEPT_DRIFTS)(partial(_drift, self._kept, len(frames), scale))

    def flow(self, source: int, target: int) -> Flow:
        """(H, W, 2) pixels from one frame to its neighbour."""
        return enlarged(self._kept(source, target).astype(np.float32), self._size)

    def drift(self, index: int) -> Drift | None:
        """The motion of a frame against its background; None if no neighbour shows the same one."""
        return self._drifts(index)

    def seen_on(self, image: Frame, index: int) -> Motion | None:
        """The drift in the size of a copy of the frame, (h, w, 3) uint8 RGB."""
        drift = self.drift(index)
        return None if drift is None else drift.seen_on(image)


def _kept_flow(frames: Frames, source: int, target: int) -> KeptFlow:
    flow = reduced_flow(frames[source], frames[target])
    share = reduction(flow, KEPT_SIDE)
    height, width = (max(1, int(side * share)) for side in flow.shape[:2])
    return enlarged(flow, (height, width)).astype(np.float16)


def _drift(kept: Callable[[int, int], KeptFlow], num_frames: int, scale: float, index: int) -> Drift | None:
    """The median over the neighbours in time; None if there is no flow, or none shows a background."""
    velocities, distances = [], []
    for direction in (-1, 1):
        for step, flow in _towards(kept, num_frames, index, direction, _ROUND_TRIP_TOLERANCE / scale):
            against = _against_background(flow, tolerance=_HOMOGRAPHY_TOLERANCE / scale)
            if against is not None:
                velocities.append(against * (scale / step))
                distances.append(lengths(against) * scale)
    if not velocities:
        return None
    velocity = np.median(velocities, axis=0).astype(np.float32)
    distance = np.median(distances, axis=0).astype(np.float32)
    calm = (np.asarray(cv2.medianBlur(values, 5), dtype=np.float32) for values in (velocity, distance))
    return Drift(*calm)


def _towards(
    kept: Callable[[int, int], KeptFlow], num_frames: int, index: int, direction: int, tolerance: float
) -> Iterator[tuple[int, Flow]]:
    """Signed steps in frames, and the flow over them, within the scene."""
    total: Flow | None = None
    for step in range(1, max(STEPS) + 1):
        source, target = index + direction * (step - 1), index + direction * step
        if not 0 <= target < num_frames:
            return
        there, back = (kept(*ends).astype(np.float32) for ends in ((source, target), (target, source)))
        if float(np.median(flow_disagreement(there, back))) > tolerance:
            return
        total = there if total is None else chained(total, there)
        if step in STEPS:
            yield direction * step, total


def _against_background(flow: Flow, *, tolerance: float) -> Flow | None:
    """(H, W, 2) a flow minus that of the background; None if no background is found."""
    height, width = flow.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        return None
    places = np.dstack(pixel_places(height, width))
    step = max(1, min(_GRID, min(height, width) // _FEWEST_ACROSS))
    grid = slice(step // 2, None, step)
    start, moved = places[grid, grid].reshape(-1, 2), flow[grid, grid].reshape(-1, 2)
    homography, follows = cv2.findHomography(start, start + moved, cv2.RANSAC, tolerance)
    if homography is None or float(follows.mean()) < FEWEST_FOLLOW:
        return None
    background = cv2.perspectiveTransform(places.reshape(-1, 1, 2), homography).reshape(places.shape) - places
    return np.asarray(flow - background, dtype=np.float32)
