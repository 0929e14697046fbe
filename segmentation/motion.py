"""Where a frame moves unlike the rest of it, as a picture that colour models can be fitted to.

What moves together mostly belongs together, whatever its colours. Deliberately absent: any decision
about objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, Frames
from segmentation.flow import flow_disagreement, optical_flow
from segmentation.scaling import reduced

FLOW_SIDE = 480
CLEAR_MOTION = 0.5
"""Pixels (of a frame with a long side of at most 480) by which an object must move to be told by it."""

_LEAST_SCALE = 0.3
_USUAL_RANGE = 100
"""Grey levels given to the motion that only a twentieth of the picture exceeds."""
_BINS = 16
_AGREES = 1.0
"""Pixels by which flow there and back may differ on most of the frame; more is a cut to another scene."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How a frame moves towards its neighbour in time.

    Attributes:
        picture: (H, W, 3) uint8: motion to the right and down against the frame's median, and a faint
            grey picture that has edges where the motion leaves them open.
        strength: how far it can be told what moves, in [0, 1].
    """

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


def motion_of(frames: Frames, index: int, *, image: Frame) -> Motion | None:
    """The motion of a frame towards the next one, or from the one before where it is the last.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        index: 0-based number of the frame.
        image: (h, w, 3) uint8 RGB, the copy of it whose size is wanted.

    Returns:
        None where there is no other frame, or where the flow contradicts itself on most of the frame.
    """
    if len(frames) < 2:
        return None
    neighbour = index + 1 if index + 1 < len(frames) else index - 1
    frame, other = reduced(frames[index], FLOW_SIDE), reduced(frames[neighbour], FLOW_SIDE)
    flow = optical_flow(frame, other)
    if float(np.median(flow_disagreement(flow, optical_flow(other, frame)))) > _AGREES:
        return None
    size = image.shape[1], image.shape[0]
    calm = cv2.resize(cv2.medianBlur(flow, 5), size, interpolation=cv2.INTER_AREA)
    against = calm - np.median(calm.reshape(-1, 2), axis=0)
    usual = float(np.percentile(np.abs(against), 95))
    levels = np.clip(against * (_USUAL_RANGE / max(usual, _LEAST_SCALE)) + 128, 0, 255).astype(np.uint8)
    faint = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 4 + 96
    return Motion(picture=np.dstack([levels, faint]), strength=min(1.0, usual / CLEAR_MOTION))
