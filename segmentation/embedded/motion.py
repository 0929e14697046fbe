"""How a frame moves against its background, as a picture and as features that colours can be joined with.

What moves together mostly belongs together, whatever its colours. The background is what one homography
explains; what moves against it is measured over several neighbours in time, of which the median counts, so
that one bad flow does no harm. Deliberately absent: any decision about objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame
from segmentation.vision import Flow, lengths

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
