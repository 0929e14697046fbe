"""How a frame moves against its background, as a picture and as features that colours can be joined with.

What moves together mostly belongs together, whatever its colours. The background is what one homography
explains; what moves against it is measured over several neighbours in time, of which the median counts, so
that one bad flow does no harm. Deliberately absent: any decision about objects.

The motion of one clip: flow between neighbours, and what moves against the background, worked out once.

Following a clip, following it again after a correction, and the clicks between need the same flows. Flow to
frames farther away is chained from them, which is as good as asking anew and costs next to nothing. Only so
many are kept, so that memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    reduced_flow,
)

CLEAR_MOTION = 0.5
"""Pixels a frame (with a long side of at most 480) by which an object must move to be told by it."""
FEWEST_FOLLOW = 0.25
"""Share of the frame that one homography must explain; less is no background, or another scene."""

_AGREES = 1.0
"""Pixels (with a long side of at most 480) within which a point counts as moved by the homography."""
_GRID = 16
"""Pixels between the points that it is fitted to, at most: a small frame has closer ones."""
_FEWEST_ACROSS = 12
_SMALLEST_SIDE = 8
"""Pixels; a smaller flow is none."""
_LEAST_NOISE = 0.3
_USUAL_RANGE = 100
"""Grey levels given to the motion that only a twentieth of the picture exceeds."""
_BINS = 16


@dataclass(frozen=True, eq=False)
class Motion:
    """How a frame moves against its background.

    Attributes:
        features: (H, W, 3) float32: velocity to the right and down and the distance moved, each as the
            logarithm of 1 plus multiples of what the background is off.
        picture: (H, W, 3) uint8: the velocity, and a faint grey picture that has edges where it leaves
            them open.
        strength: how far it can be told what moves, in [0, 1].
    """

    features: NDArray[np.float32]
    picture: Frame
    strength: float

    def contrast(self, mask: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        """1 minus the overlap of the motions of two parts, times the strength.

        Args:
            mask: (H, W), above 0 on one part.
            other: (H, W), above 0 on the other.
        """
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
        distance: (h, w) float32, such pixels moved towards the neighbours.
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


def drift_from(displacements: Sequence[tuple[int, Flow]], *, scale: float) -> Drift | None:
    """The motion of a frame against its background, from the flow to its neighbours in time.

    Args:
        displacements: steps in frames, negative to earlier ones, and the flow over so many.
        scale: pixels of a copy with a long side of at most 480 in one of the flows' own.

    Returns:
        None where there is no flow, or none shows the same background.
    """
    velocities, distances = [], []
    for step, flow in displacements:
        against = _against_background(flow, tolerance=_AGREES / scale)
        if against is not None:
            velocities.append(against * (scale / step))
            distances.append(lengths(against) * scale)
    if not velocities:
        return None
    velocity = np.median(velocities, axis=0).astype(np.float32)
    distance = np.median(distances, axis=0).astype(np.float32)
    calm = (np.asarray(cv2.medianBlur(values, 5), dtype=np.float32) for values in (velocity, distance))
    return Drift(*calm)


def _against_background(flow: Flow, *, tolerance: float) -> Flow | None:
    """(H, W, 2) what is left of a flow without that of the background; None where there is none."""
    height, width = flow.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        return None
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = np.dstack([x, y])
    step = max(1, min(_GRID, min(height, width) // _FEWEST_ACROSS))
    grid = slice(step // 2, None, step)
    start, moved = places[grid, grid].reshape(-1, 2), flow[grid, grid].reshape(-1, 2)
    homography, follows = cv2.findHomography(start, start + moved, cv2.RANSAC, tolerance)
    if homography is None or float(follows.mean()) < FEWEST_FOLLOW:
        return None
    background = cv2.perspectiveTransform(places.reshape(-1, 1, 2), homography).reshape(places.shape) - places
    return np.asarray(flow - background, dtype=np.float32)


KEPT_FLOWS = 256
"""Of neighbours, either way; at 854x480 one takes 130 KB."""
KEPT_DRIFTS = 128
STEPS = (1, 2, 4)
"""Neighbours in time either way, in frames, that motion is measured over."""

KEPT_SIDE = 240
"""Long side, at most, at which a flow is kept: at half the size that it is worked out on it loses nothing."""
_FLOWS_AGREE = 1.0
"""Pixels by which flow there and back may differ on half of the frame; more is a cut to another scene."""

KeptFlow = NDArray[np.float16]
"""(h, w, 2) in pixels of the reduced copy."""


class ClipMotion:
    """Flows and drifts of a clip, each worked out when it is first asked for.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
    """

    def __init__(self, frames: Frames) -> None:
        self._size = frames.shape[1:3]
        self._kept = lru_cache(maxsize=KEPT_FLOWS)(partial(_kept_flow, frames))
        # Pixels of the copy that flow is worked out on, in one of those at which it is kept.
        scale = max(1.0, min(FLOW_LONG_SIDE, max(self._size)) / KEPT_SIDE)
        self._drifts = lru_cache(maxsize=KEPT_DRIFTS)(partial(_drift, self._kept, len(frames), scale))

    def flow(self, source: int, target: int) -> Flow:
        """(H, W, 2) pixels from one frame to its neighbour."""
        return enlarged(self._kept(source, target).astype(np.float32), self._size)

    def drift(self, index: int) -> Drift | None:
        """How a frame moves against its background; None where no neighbour shows the same one."""
        return self._drifts(index)

    def seen_on(self, image: Frame, index: int) -> Motion | None:
        """The same in the size of a copy of the frame, (h, w, 3) uint8 RGB."""
        drift = self.drift(index)
        return None if drift is None else drift.seen_on(image)


def _kept_flow(frames: Frames, source: int, target: int) -> KeptFlow:
    flow = reduced_flow(frames[source], frames[target])
    share = min(1.0, KEPT_SIDE / max(flow.shape[:2]))
    height, width = (max(1, int(side * share)) for side in flow.shape[:2])
    return enlarged(flow, (height, width)).astype(np.float16)


def _drift(kept: Callable[[int, int], KeptFlow], num_frames: int, scale: float, index: int) -> Drift | None:
    agrees = _FLOWS_AGREE / scale
    ways = (_towards(kept, num_frames, index, direction, agrees) for direction in (-1, 1))
    return drift_from([each for way in ways for each in way], scale=scale)


def _towards(
    kept: Callable[[int, int], KeptFlow], num_frames: int, index: int, direction: int, agrees: float
) -> Iterator[tuple[int, Flow]]:
    """Steps in frames, and the flow over them, as far as the same scene is shown."""
    total: Flow | None = None
    for step in range(1, max(STEPS) + 1):
        source, target = index + direction * (step - 1), index + direction * step
        if not 0 <= target < num_frames:
            return
        there, back = (kept(*ends).astype(np.float32) for ends in ((source, target), (target, source)))
        if float(np.median(flow_disagreement(there, back))) > agrees:
            return
        total = there if total is None else chained(total, there)
        if step in STEPS:
            yield direction * step, total
