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
from safetensors import SafetensorError
from transformers import CLIPModel, CLIPTokenizer

from dreammotion_core import ModelLoadError
from training.judge import picture_features, text_features
from training.judge_data import CLOSE_UP_MARGIN, WHOLE_FRAME, cut_out, square_around, views

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "toybox-clip"
FILES = ("config.json", "model.safetensors", "tokenizer.json")


class Judge:
    """Compares pictures with pictures and with texts.

    Frames are (N, H, W, 3) uint8 RGB throughout, whole ones or close-ups from `crop`.
    """

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer) -> None:
        self.model = model.float().eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, folder: Path = FOLDER, *, device: str | torch.device = "cpu") -> Judge:
        """The judge of a folder that the training wrote."""
        advice = "Train it with: python -m training.run toybox-clip"
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise ModelLoadError(f"The judge needs {', '.join(missing)} in {folder}. {advice}")
        try:
            model = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise ModelLoadError(
                f"The judge in {folder} cannot be read: {error} Its files are incomplete or damaged. {advice}"
            ) from error
        return cls(model.to(device), tokenizer)

    @torch.inference_mode()
    def image_features(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors of frames, (N, D)."""
        whole = torch.tensor(WHOLE_FRAME).expand(len(frames), 3)
        pictures = views(torch.from_numpy(np.array(frames)), whole)
        return picture_features(self.model, pictures.to(self.model.device)).cpu().numpy()

    @torch.inference_mode()
    def text_features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, (N, D)."""
        return text_features(self.model, self.tokenizer, texts).cpu().numpy()

    def choose(self, frames: NDArray[np.uint8], *, captions: Sequence[str]) -> int:
        """Which caption fits the frames best on average."""
        similarity = self.image_features(frames) @ self.text_features(captions).T
        return int(similarity.mean(axis=0).argmax())

    def text_alignment(self, frames: NDArray[np.uint8], *, prompt: str) -> float:
        """Mean cosine between the frames and a prompt, in [-1, 1]."""
        return float((self.image_features(frames) @ self.text_features([prompt])[0]).mean())

    def frame_consistency(self, frames: NDArray[np.uint8]) -> float:
        """Mean cosine between consecutive frames (two at least), in [-1, 1]."""
        features = self.image_features(frames)
        return float((features[:-1] * features[1:]).sum(axis=1).mean())

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
