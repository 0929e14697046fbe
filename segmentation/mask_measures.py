"""Numbers about a mask, and about how it differs from that of the next frame. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from segmentation.base import FrameMask


@dataclass(frozen=True)
class MaskMeasures:
    """One mask in numbers.

    Attributes:
        area: share of the frame, in [0, 1]; 0 where there is no object.
        x, y: centre of the object in pixels; 0 where there is none.
        scattered: share of the object outside its largest connected part, in [0, 1].
        is_at_border: whether it touches the rim of the frame.
    """

    area: float
    x: float
    y: float
    scattered: float
    is_at_border: bool


@dataclass(frozen=True)
class MaskChange:
    """How two masks differ.

    Attributes:
        outline: 1 minus the overlap (IoU) after laying centre on centre, in [0, 1].
        distance: between the centres, in breadths of the smaller object (roots of its area).
    """

    outline: float
    distance: float


def measure_masks(masks: Iterable[FrameMask]) -> tuple[tuple[MaskMeasures, ...], tuple[MaskChange, ...]]:
    """Measure the masks of a clip; only two of them are in memory at a time if they come from a generator.

    Args:
        masks: (H, W) bool each, in the order of the frames.

    Returns:
        The measures of each mask, and the changes from each to the next, one fewer.
    """
    measures: list[MaskMeasures] = []
    changes: list[MaskChange] = []
    previous: FrameMask | None = None
    for mask in masks:
        measures.append(measure_mask(mask))
        if previous is not None:
            changes.append(_compare(previous, mask, measures[-2], measures[-1]))
        previous = mask
    return tuple(measures), tuple(changes)


def measure_mask(mask: FrameMask) -> MaskMeasures:
    """Measure one (H, W) bool mask."""
    if not mask.any():
        return MaskMeasures(0.0, 0.0, 0.0, 0.0, False)
    pixels = mask.astype(np.uint8)
    _, _, statistics, centres = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA].astype(np.float64)
    x, y = (areas[:, None] * centres[1:]).sum(axis=0) / areas.sum()
    return MaskMeasures(
        area=float(areas.sum() / mask.size),
        x=float(x),
        y=float(y),
        scattered=float(1 - areas.max() / areas.sum()),
        is_at_border=bool(mask[[0, -1]].any() or mask[:, [0, -1]].any()),
    )


def _compare(mask: FrameMask, other: FrameMask, first: MaskMeasures, second: MaskMeasures) -> MaskChange:
    if not (first.area and second.area):
        return MaskChange(outline=float(first.area != second.area), distance=0.0)
    height, width = mask.shape
    across, down = second.x - first.x, second.y - first.y
    shift = np.array([[1, 0, round(across)], [0, 1, round(down)]], dtype=np.float32)
    moved = cv2.warpAffine(mask.astype(np.uint8), shift, (width, height), flags=cv2.INTER_NEAREST) > 0
    union = int((moved | other).sum())
    breadth = math.sqrt(min(first.area, second.area) * mask.size)
    return MaskChange(
        outline=1 - float((moved & other).sum()) / union, distance=math.hypot(across, down) / breadth
    )
