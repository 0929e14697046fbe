"""What every measure asks of its clips, so that each of them says the same of bad input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError, VideoError
from dreammotion_core.mask_shapes import check_mask_shape
from dreammotion_core.values import Frames, Mask


def check_frames(frames: Frames, *, fewest: int = 1) -> None:
    """Refuse what is no clip.

    Args:
        frames: should be (F, H, W, 3) uint8 RGB.
        fewest: frames that the measure needs.

    Raises:
        VideoError: for another shape or type (floats may hide NaN), or too few frames.
    """
    shape, dtype = np.shape(frames), getattr(frames, "dtype", type(frames))
    if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8 or 0 in shape:
        raise VideoError(
            f"frames have shape {shape} and type {dtype}; "
            "pass a non-empty (frames, height, width, 3) uint8 RGB array"
        )
    if shape[0] < fewest:
        raise VideoError(f"the clip has {shape[0]} frames; this measure needs at least {fewest}")


def check_pair(source: Frames, *, edited: Frames, fewest: int = 1) -> None:
    """Refuse two clips that cannot be compared frame by frame.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        edited: of the same shape.
        fewest: frames that the measure needs.

    Raises:
        VideoError: if one is no clip, or length or size differ.
    """
    check_frames(source, fewest=fewest)
    check_frames(edited, fewest=fewest)
    if source.shape != edited.shape:
        one, other = (f"{c.shape[0]} frames of {c.shape[2]}x{c.shape[1]}" for c in (source, edited))
        raise VideoError(
            f"the source has {one} and the edit {other}; cut and scale both to the same frames and size first"
        )


def check_mask(mask: NDArray[np.generic], *, frames: Frames) -> Mask:
    """The mask as yes and no for every frame of its clip.

    Args:
        mask: (F, H, W) or (H, W) bool.
        frames: (F, H, W, 3), its clip.

    Raises:
        MaskError: if it is not bool, or does not fit.
    """
    mask = np.asarray(mask)
    check_mask_shape(mask.shape, num_frames=len(frames), size=frames.shape[1:3])
    if mask.dtype != np.bool_:
        raise MaskError(f"the mask has type {mask.dtype}; pass bool, True where the object is")
    return np.broadcast_to(mask, frames.shape[:3])
