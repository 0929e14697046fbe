"""Asks the judge `toybox-clip` what a clip shows, and how steady it is.

The judge never shares weights with the models it judges; `training.judge` trains it. Its answers hold
for the procedural world's words and pictures only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dreammotion_core import ModelLoadError
from dreammotion_core.evaluation.judges import EMBEDDED_JUDGE, ClipJudge
from dreammotion_core.models.catalog import ASSETS
from training.judge import CLOSE_UP_MARGIN, cut_out, square_around

FOLDER = ASSETS / EMBEDDED_JUDGE


class Judge(ClipJudge):
    """Compares pictures with pictures and with texts.

    Frames are (N, H, W, 3) uint8 RGB throughout, whole ones or close-ups from `crop`.
    """

    @classmethod
    def from_folder(cls, folder: Path = FOLDER) -> Judge:
        """The judge of a folder that the training wrote."""
        try:
            return cls.from_pretrained(str(folder))
        except ModelLoadError as error:
            raise ModelLoadError(f"{error}. Train it with: python -m training.run toybox-clip") from error

    def choose(self, frames: NDArray[np.uint8], *, captions: Sequence[str]) -> int:
        """Which caption fits the frames best on average."""
        similarity = self.image_features(frames) @ self.text_features(captions).T
        return int(similarity.mean(axis=0).argmax())

    def crop(self, frames: NDArray[np.uint8], *, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Close-ups of the object as in training, for captions without a place ("a striped red car").

        Args:
            frames: (N, H, W, 3) uint8 RGB.
            mask: (N, H, W), where the object is; frames without it are left out.

        Returns:
            (M, 128, 128, 3) uint8 RGB.
        """
        shown = mask.any(axis=(1, 2))
        squares = square_around(torch.from_numpy(mask[shown]))
        squares[:, 2] *= CLOSE_UP_MARGIN
        pictures = cut_out(torch.from_numpy(frames[shown]), squares)
        return ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
