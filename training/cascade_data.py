"""What the stages of the cascade are trained on: the training clips at the stages' sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dreammotion_core.finishing import to_model
from dreammotion_core.media.atomic import written_atomically
from training.data import as_pictures, kept_array
from training.world.scene import WORLD_VERSION


def smaller_clips(folder: Path, clips: NDArray[np.uint8], *, size: int) -> NDArray[np.uint8]:
    """The clips at `size` x `size` pixels, made small as an edit makes its clip small; kept in `folder`.

    Args:
        folder: of the file that keeps them.
        clips: (N, F, H, W, 3) uint8 RGB.
        size: new height and width.

    Returns:
        (N, F, size, size, 3) uint8 RGB.
    """
    num_clips, num_frames = clips.shape[:2]
    path = folder / f"clips-v{WORLD_VERSION}-{num_clips}x{num_frames}x{size}.npy"
    if not path.exists():
        shape = (num_clips, num_frames, size, size, 3)
        with written_atomically(path) as part:
            small = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for index, clip in enumerate(tqdm(clips, desc=f"{size}x{size}", mininterval=10)):
                pictures = (to_model(clip, (size, size)) + 1) * 127.5
                small[index] = pictures.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            small.flush()
    return kept_array(path, in_memory=False)


@dataclass(frozen=True)
class Sizes:
    """The training clips at every size that a stage works at, and where their objects are.

    Attributes:
        clips: size -> (N, F, size, size, 3) uint8 RGB.
        coverage: (N, F, c, c) in [0, 1], how much of each cell of a coarse grid the object covers.
    """

    clips: dict[int, NDArray[np.uint8]]
    coverage: NDArray[np.float16]

    def pictures(self, size: int, *, clip: NDArray[np.integer], frame: NDArray[np.integer]) -> Tensor:
        """(B, 3, F, size, size) in [-1, 1] of clips (B,) at frames (B, F)."""
        chosen = torch.from_numpy(self.clips[size][clip[:, None], frame])
        return as_pictures(chosen.flatten(0, 1)).unflatten(0, frame.shape).transpose(1, 2)

    def covered(self, size: int, *, clip: NDArray[np.integer], frame: NDArray[np.integer]) -> Tensor:
        """(B, 1, F, size, size), how much of each pixel the object covers, roughly."""
        chosen = torch.from_numpy(self.coverage[clip[:, None], frame]).float()
        resized = F.interpolate(chosen, (size, size), mode="bilinear")
        return resized[:, None]
