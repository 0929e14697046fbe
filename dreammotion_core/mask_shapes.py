"""What every mask must be, wherever it comes from: as long and as large as its clip, and not empty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError


def check_mask_shape(shape: tuple[int, ...], *, num_frames: int, size: tuple[int, int]) -> None:
    """Refuse a mask of another clip. Only its shape is needed, so that a file can be asked before it is read.

    Args:
        shape: of the mask: (F, H, W), or (H, W) for all frames.
        num_frames: frames F of the clip.
        size: (H, W) of the clip in pixels.

    Raises:
        MaskError: if shape, size or frame count do not fit.
    """
    if len(shape) not in (2, 3):
        raise MaskError(f"the mask has shape {shape}; pass (frames, height, width) or (height, width)")
    if shape[-2:] != size:
        raise MaskError(
            f"the mask is {shape[-1]}x{shape[-2]} pixels but the clip is {size[1]}x{size[0]}; "
            "make the mask at the clip's own size"
        )
    if len(shape) == 3 and shape[0] != num_frames:
        raise MaskError(
            f"the mask has {shape[0]} frames but the clip has {num_frames}; "
            "pass one mask per frame, or a single (height, width) mask for all"
        )


def check_selects_something(mask: NDArray[np.generic]) -> None:
    """Refuse a mask without an object.

    Raises:
        MaskError: if every value is 0.
    """
    if not mask.any():
        raise MaskError(
            "the mask selects nothing; click the object, or switch the mask off to edit the whole frame"
        )
