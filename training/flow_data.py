"""What `toybox-flow` is trained on: windows of the training clips, as latents of unit variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.models.video_vae import VideoAutoencoder

WINDOW = 9
"""Frames of a training clip seen at once: three latent frames."""
PICTURES, CLIPS = 32, 12
"""In a batch; the clips have three latent frames each, so that both are about the same work."""


def windows(
    latents: NDArray[np.float16], *, rng: np.random.Generator, count: int
) -> tuple[Tensor, NDArray[np.integer]]:
    """Random parts of random clips.

    Args:
        latents: (N, F, C, h, w) image latents of the clips.
        rng: draws clips and first frames.
        count: how many, B.

    Returns:
        (B, C, 9, h, w) float32, and the (B, 2) clips and first frames.
    """
    limits = (len(latents), latents.shape[1] - WINDOW + 1)
    where = np.stack([rng.integers(limit, size=count) for limit in limits], axis=1)
    parts = np.stack([latents[clip, first : first + WINDOW] for clip, first in where])
    return torch.from_numpy(parts).float().transpose(1, 2), where


@dataclass(frozen=True)
class FlowData:
    """What the batches are drawn from.

    Attributes:
        latents: (N, F, C, h, w) float16, of the image autoencoder.
        coverage: (N, F, h, w), how much of each latent the object covers, in [0, 1].
        vae: from image latents to those that are learned; frozen.
    """

    latents: NDArray[np.float16]
    coverage: NDArray[np.float16]
    vae: VideoAutoencoder

    @torch.no_grad()
    def batch(
        self, rng: np.random.Generator, *, whole: bool, scale: int
    ) -> tuple[Tensor, Tensor, NDArray[np.integer]]:
        """(B, C, f, h, w) latents of unit variance, (B, 1, f, h, w) coverage, the seeds of their clips.

        Windows of clips, f = 3, if `whole`; else single pictures, f = 1.
        """
        images, where = windows(self.latents, rng=rng, count=scale * (CLIPS if whole else PICTURES))
        covered = np.stack([self.coverage[clip, first : first + WINDOW] for clip, first in where])
        coverage = torch.from_numpy(covered).float()[:, None]
        if not whole:
            images, coverage = images[:, :, :1], coverage[:, :, :1]
        latents = self.vae.encode_image_latents(images.to(self.vae.device)).mean
        mean, std = latent_statistics(self.vae)
        return (latents - mean) / std, _by_latent_frame(coverage), where[:, 0]


def latent_statistics(vae: VideoAutoencoder) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of an autoencoder, (1, C, 1, 1, 1) each."""
    values = (vae.config.latents_mean, vae.config.latents_std)
    mean, std = (torch.tensor(v, device=vae.device).view(1, -1, 1, 1, 1) for v in values)
    return mean, std


def _by_latent_frame(coverage: Tensor) -> Tensor:
    """(B, 1, 4 k + 1, h, w) averaged over the frames that each of (B, 1, k + 1, h, w) stands for."""
    first, later = coverage[:, :, :1], coverage[:, :, 1:]
    return torch.cat([first, later.unflatten(2, (-1, 4)).mean(dim=3)], dim=2)
