"""The motion of one clip: flow between neighbours, and what moves against the background, worked out once.

Following a clip, following it again after a correction, and the clicks between need the same flows. Flow to
frames farther away is chained from them, which is as good as asking anew and costs next to nothing. Only so
many are kept, so that memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, Frames
from segmentation.vision import FLOW_LONG_SIDE, Flow, chained, enlarged, flow_disagreement, reduced_flow
from segmentation.embedded.motion import Drift, Motion, drift_from

KEPT_FLOWS = 256
"""Of neighbours, either way; at 854x480 one takes 130 KB."""
KEPT_DRIFTS = 128
STEPS = (1, 2, 4)
"""Neighbours in time either way, in frames, that motion is measured over."""

KEPT_SIDE = 240
"""Long side, at most, at which a flow is kept: at half the size that it is worked out on it loses nothing."""
_AGREES = 1.0
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
    agrees = _AGREES / scale
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
