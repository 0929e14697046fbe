"""Frame-LPIPS: how different each edited frame looks from its source frame."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dreammotion_core.errors import MetricError, ModelLoadError, reason_of
from dreammotion_core.evaluation.pixels import check_pair
from dreammotion_core.metrics.loading import LOAD_ERRORS
from dreammotion_core.values import Frames

Backbone = Literal["alex", "squeeze", "vgg"]
_WEIGHTS = {
    "alex": ("AlexNet_Weights", 233),
    "squeeze": ("SqueezeNet1_1_Weights", 5),
    "vgg": ("VGG16_Weights", 528),
}
"""Of the backbones: their entry in torchvision, and their size in MB."""
SMALLEST_SIDE = 64
"""In pixels; the backbones halve smaller frames to nothing."""
BATCH = 4
"""Pairs of frames compared at once."""


class FrameLpips:
    """LPIPS by torchmetrics, on a backbone that torchvision downloads or has downloaded.

    Args:
        backbone: ``"alex"`` (its authors' default), ``"squeeze"`` or ``"vgg"``; figures of different
            backbones must not be compared.
        allow_download: fetch the backbone's weights if they are not on this machine.
        device: where it computes.

    Raises:
        ModelLoadError: if the weights are not here and may not or cannot be downloaded.
    """

    def __init__(
        self,
        backbone: Backbone = "alex",
        *,
        allow_download: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        path = backbone_path(backbone)
        if not path.is_file() and not allow_download:
            raise ModelLoadError(
                f"Frame-LPIPS needs the backbone {backbone!r} ({_WEIGHTS[backbone][1]} MB), which is not on "
                f"this machine: let it be downloaded, or put {path.name} of torchvision into {path.parent}"
            )
        # Imported here because it takes seconds, and only those who measure LPIPS should wait for it.
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        try:
            self._distance = LearnedPerceptualImagePatchSimilarity(backbone, reduction="sum", normalize=True)
        except LOAD_ERRORS as error:
            advice = (
                f"remove {path} and fetch it again" if path.exists() else "check the network and try again"
            )
            raise ModelLoadError(
                f"the LPIPS backbone {backbone} cannot be loaded ({reason_of(error)}); {advice}"
            ) from error
        self._distance.to(device).eval()
        self.name = f"LPIPS {backbone}"

    @torch.inference_mode()
    def __call__(self, source: Frames, *, edited: Frames) -> float:
        """Mean distance between source and edited frames, >= 0; 0 where they are equal.

        Args:
            source: (F, H, W, 3) uint8 RGB.
            edited: of the same shape.

        Raises:
            VideoError: if the clips do not fit one another.
            MetricError: if a side is shorter than `SMALLEST_SIDE`.

        Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (CVPR
        2018); the "Frame-LPIPS" of DreamMotion's tables is its mean over frames.
        """
        check_pair(source, edited=edited)
        if min(source.shape[1:3]) < SMALLEST_SIDE:
            raise MetricError(
                f"the clip is {source.shape[2]}x{source.shape[1]}; LPIPS needs {SMALLEST_SIDE} pixels a side"
            )
        pairs = [torch.from_numpy(np.array(c)).permute(0, 3, 1, 2).float() / 255 for c in (source, edited)]
        self._distance.reset()
        for start in range(0, len(source), BATCH):
            one, other = (pair[start : start + BATCH].to(self._distance.device) for pair in pairs)
            self._distance.update(one, other)
        return float(self._distance.compute()) / len(source)


def backbone_path(backbone: Backbone) -> Path:
    """Where torchvision keeps the weights of a backbone, whether they are there or not."""
    import torchvision

    weights = getattr(torchvision.models, _WEIGHTS[backbone][0]).DEFAULT
    return Path(torch.hub.get_dir()) / "checkpoints" / str(weights.url).rpartition("/")[2]
