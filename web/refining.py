"""From the masks of the objects to what the edit changes: filled, steadied, joined, inverted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segmentation import fill_box, fill_holes, invert, smooth_in_time
from web.clip import Clip


def refined_masks(clip: Clip, *, number: int, within: range) -> NDArray[np.bool_]:
    """An object's masks, filled and steadied.

    Args:
        clip: with the object, and what is to be done to its masks.
        number: of the object.
        within: 0-based frames.

    Returns:
        (frames of `within`, H, W) bool.
    """
    reach = clip.refinement.steady
    wide = range(max(0, within.start - reach), min(len(clip.video), within.stop + reach))
    shown = range(within.start - wide.start, within.stop - wide.start)
    masks = np.stack([clip.tracks.mask(clip.project, number=number, frame_index=index) for index in wide])
    if reach:
        frames = clip.video.frames[wide.start : wide.stop]
        masks = smooth_in_time(masks, frames=frames, reach=reach, within=shown)
    masks = masks[shown.start : shown.stop]
    match clip.refinement.fill:
        case "none":
            return masks
        case "holes":
            return fill_holes(masks)
        case "box":
            return fill_box(masks)


def edited_masks(clip: Clip) -> NDArray[np.bool_]:
    """(F, H, W) bool: the chosen objects together, or all but them, before growing and feathering."""
    together = np.zeros(clip.video.frames.shape[:3], np.bool_)
    for tracked in clip.chosen:
        together |= refined_masks(clip, number=tracked.number, within=range(len(clip.video)))
    return invert(together) if clip.refinement.is_inverted else together
