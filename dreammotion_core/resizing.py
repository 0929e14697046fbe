"""Between a clip's pixels and the tensors that a model reads and writes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.values import Frames


def to_model(frames: Frames, size: tuple[int, int]) -> Tensor:
    """Frames as a model reads them.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        size: (h, w) of the model's grid.

    Returns:
        (F, 3, h, w) float32 RGB in [-1, 1].
    """
    images = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1)


def to_pixels(images: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """What a model wrote, at the clip's size.

    Args:
        images: (F, 3, h, w) RGB, roughly in [-1, 1].
        size: (H, W) of the clip.

    Returns:
        (F, H, W, 3) float32 RGB in [0, 255].
    """
    if images.shape[-2:] != size:
        images = F.interpolate(images, size, mode="bicubic", antialias=True)
    return ((images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).cpu().numpy()
