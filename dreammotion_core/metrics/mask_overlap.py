"""How alike two masks are: of a segmenter and the truth, or of an object before and after an edit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import MaskError


def region_similarity(mask: NDArray[np.bool_], *, truth: NDArray[np.bool_]) -> float:
    """Intersection over union, in [0, 1]; 1 where both are empty.

    Args:
        mask: bool, (H, W), or (F, H, W) for a clip as a whole.
        truth: bool, of the same shape.

    Raises:
        MaskError: if the shapes differ.

    Source: J of Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object
    Segmentation (CVPR 2016).
    """
    if mask.shape != truth.shape:
        raise MaskError(
            f"the masks have shapes {mask.shape} and {truth.shape}; pass two masks of the same frames"
        )
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0
