"""From the masks of the objects to what the edit changes: filled, steadied, joined, inverted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segmentation import fill_box, fill_holes, invert, smooth_in_time
from web.snapshots import Snapshot


def refined_masks(snapshot: Snapshot, *, number: int, within: range) -> NDArray[np.bool_]:
    """An object's masks, filled and steadied.

    Args:
        snapshot: with the object, and what is to be done to its masks.
        number: of the object.
        within: 0-based frames.

    Returns:
        (frames of `within`, H, W) bool.
    """
    reach = snapshot.refinement.steady
    wide = range(max(0, within.start - reach), min(len(snapshot.video), within.stop + reach))
    shown = range(within.start - wide.start, within.stop - wide.start)
    project, tracks = snapshot.project, snapshot.tracks
    masks = np.stack([tracks.mask(project, number=number, frame_index=index) for index in wide])
    if reach:
        frames = snapshot.video.frames[wide.start : wide.stop]
        masks = smooth_in_time(masks, frames=frames, reach=reach, within=shown)
    masks = masks[shown.start : shown.stop]
    match snapshot.refinement.fill:
        case "none":
            return masks
        case "holes":
            return fill_holes(masks)
        case "box":
            return fill_box(masks)


def edited_masks(snapshot: Snapshot) -> NDArray[np.bool_]:
    """(F, H, W) bool: the chosen objects together, or all but them, before growing and feathering."""
    together = np.zeros(snapshot.video.frames.shape[:3], np.bool_)
    for tracked in snapshot.chosen:
        together |= refined_masks(snapshot, number=tracked.number, within=range(len(snapshot.video)))
    return invert(together) if snapshot.refinement.is_inverted else together
