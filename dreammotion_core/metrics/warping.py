"""Warping error: does the edit flicker where the source only moves?"""

from __future__ import annotations

import numpy as np

from dreammotion_core.errors import MetricError
from dreammotion_core.evaluation.pixels import check_mask, check_pair
from dreammotion_core.metrics.flow import Motion, pixel_grid, sample
from dreammotion_core.values import Frames, Mask


def warping_error(
    edited: Frames, *, source: Frames, mask: Mask | None = None, motion: Motion | None = None
) -> float:
    """Mean squared difference between each frame and the next one warped back onto it.

    Flow and visibility are those of the source, so that an edit cannot hide its flicker in its own flow.

    Args:
        edited: (F, H, W, 3) uint8 RGB, at least two frames; the source itself gives the error that flow
            and noise leave anyway.
        source: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W), where to look; None looks everywhere.
        motion: of the source, if it is known already.

    Returns:
        A number >= 0, of RGB in [0, 1]; 0 where nothing flickers.

    Raises:
        VideoError: if the clips do not fit one another.
        MetricError: if no pixel can be followed from one frame to the next.

    Source: Lai et al., Learning Blind Video Temporal Consistency (ECCV 2018), section 4.
    """
    check_pair(source, edited=edited, fewest=2)
    where = np.ones(source.shape[:3], bool) if mask is None else check_mask(mask, frames=source)
    motion = Motion.of(source) if motion is None else motion
    pixels = pixel_grid(source.shape[1:3])
    colours = edited.astype(np.float32) / 255
    errors = []
    for index, ((there, _), believed) in enumerate(zip(motion.flows, motion.followed, strict=True)):
        followed = believed & where[index]
        if followed.any():
            warped = sample(colours[index + 1], points=pixels + there)
            errors.append(((colours[index] - warped) ** 2).sum(axis=-1)[followed].mean())
    if not errors:
        raise MetricError("no pixel can be followed from one frame to the next, so nothing can be compared")
    return float(np.mean(errors))
