"""The last step of every edit: only the selected object changes, and that is measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.values import Frames, Mask


def blend(source: Frames, edited: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """The edit over the source, not yet rounded.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        edited: (F, H, W, 3) float RGB in [0, 255].
        alpha: (F, H, W) opacity in [0, 1].

    Returns:
        (F, H, W, 3) float RGB.
    """
    base = source.astype(np.float32)
    return base + alpha[..., None] * (edited - base)


def composite(source: Frames, blended: NDArray[np.float32], alpha: NDArray[np.float32]) -> Frames:
    """What `blend` made, in 8 bits; where alpha is 0 the source's bytes are kept as they are.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        blended: (F, H, W, 3) float RGB; values outside [0, 255] are cut off.
        alpha: (F, H, W) opacity in [0, 1].

    Returns:
        (F, H, W, 3) uint8 RGB.
    """
    return np.where(alpha[..., None] > 0, np.rint(blended).clip(0, 255).astype(np.uint8), source)


def max_difference_outside(source: Frames, result: Frames, mask: Mask) -> int | None:
    """Largest absolute difference in 8-bit levels outside the mask, or None if nothing is outside.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        result: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W) bool.
    """
    outside = ~mask
    if not outside.any():
        return None
    return int((np.maximum(source, result) - np.minimum(source, result))[outside].max())
