"""How large the key frames of a clip are, and how large they are shown."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from dreammotion_core.method.prior import ModelSpec

Size = tuple[int, int]
"""(height, width) in pixels."""


def key_frame_size(size: Size, *, spec: ModelSpec, trained: Size, multiple: int) -> Size:
    """Size of the key frames of a clip: its shape, at the area that they were trained at.

    Args:
        size: of the clip on the model's grid; where that is smaller or larger than the trained grid, the
            key frames are so too.
        spec: the cascade's.
        trained: size of the key frames that the U-Net was trained at.
        multiple: of their sides.
    """
    of_key_frames = replace(spec, resolution=trained, size_multiple=multiple)
    return of_key_frames.fit_size(size, scale=_relative_side(size, spec.resolution))


def quick_look_size(size: Size, *, spec: ModelSpec, trained: Size) -> Size:
    """The model's grid for key frames of a size: about what `key_frame_size` began with."""
    return spec.fit_size(size, scale=_relative_side(size, trained))


def size_multiple(unet: Any) -> int:
    """Of the sides of what a U-Net reads: it halves them at every level but the last."""
    num_levels = len(unet.config.block_out_channels)
    return 1 << (num_levels - 1)


def _relative_side(size: Size, trained: Size) -> float:
    """By how much a side is longer than the trained one, judged by the areas."""
    return math.sqrt(math.prod(size) / math.prod(trained))
