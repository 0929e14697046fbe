"""How much of the source's fine detail still belongs into an edit: as much as is left of its structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.ssim import structural_likeness


def structure_kept(
    edited: NDArray[np.float32], reconstruction: NDArray[np.float32], *, window: float
) -> NDArray[np.float32]:
    """Likeness of two clips in local structure, whatever their colours.

    A repainted car keeps its windows, so the detail of the source fits; where the car has become a bus,
    it would draw the outlines of the car over it.

    Args:
        edited: (F, H, W, 3) float RGB in [0, 255], the decoded edit.
        reconstruction: likewise, the decoded source.
        window: standard deviation of the Gaussian neighbourhood, in pixels, > 0.

    Returns:
        (F, H, W) in [0, 1]; exactly 1 where both are the same.
    """
    likeness = [
        structural_likeness(a, other=b, window=window) for a, b in zip(edited, reconstruction, strict=True)
    ]
    return np.stack(likeness).clip(0, 1)
