"""What surrounds a video autoencoder: the scale of its latents, its strides, and which frames it packs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan
from torch import Tensor

from dreammotion_core.models.video_vae import VideoAutoencoder

AUTOENCODERS = {
    "AutoencoderKLWan": AutoencoderKLWan,
    "AutoencoderKLCogVideoX": AutoencoderKLCogVideoX,
    "VideoAutoencoder": VideoAutoencoder,
}
"""The classes that a manifest may name."""


class VideoCodec:
    """A video autoencoder whose latents have about unit variance.

    The first latent frame stands for the first frame alone, every other one for the next `frame_step`
    frames.

    Args:
        vae: one of `AUTOENCODERS`; it is frozen and set to evaluation mode.
    """

    def __init__(self, vae: Any) -> None:
        self.vae = vae.eval().requires_grad_(False)
        config = vae.config
        self._decodes_pairs = isinstance(vae, AutoencoderKLCogVideoX)
        if self._decodes_pairs:
            self.frame_step = int(config.temporal_compression_ratio)
            self.stride = 2 ** (len(config.block_out_channels) - 1)
            mean, std = [0.0], [1 / config.scaling_factor]
        else:
            self.frame_step, self.stride = config.scale_factor_temporal, config.scale_factor_spatial
            mean, std = config.latents_mean, config.latents_std
        self._mean, self._std = (torch.tensor(values).reshape(1, -1, 1, 1, 1) for values in (mean, std))

    def frame_groups(self, num_frames: int) -> Sequence[range]:
        """For every latent frame, the frames of a clip of `num_frames` that it stands for."""
        step = self.frame_step
        return [range(1), *(range(first, first + step) for first in range(1, num_frames, step))]

    @torch.no_grad()
    def encode(self, frames: Tensor, *, device: torch.device) -> Tensor:
        """Mean latents of a clip.

        Args:
            frames: (F, 3, H, W) RGB in [-1, 1]; F is k * frame_step + 1, H and W are multiples of the stride.
            device: where the autoencoder is.

        Returns:
            (1, C, k + 1, H / stride, W / stride) float32.
        """
        video = frames.transpose(0, 1)[None].to(device, self.vae.dtype)
        latents: Tensor = self.vae.encode(video).latent_dist.mean.float()
        return (latents - self._mean.to(device)) / self._std.to(device)

    @torch.no_grad()
    def decode(self, latents: Tensor, *, device: torch.device) -> Tensor:
        """The clip of (1, C, f, h, w) latents: (F, 3, H, W) float32 RGB, roughly in [-1, 1].

        Args:
            latents: f latent frames of about unit variance.
            device: where the autoencoder is.
        """
        num_frames = (latents.shape[2] - 1) * self.frame_step + 1
        raw = latents.to(device) * self._std.to(device) + self._mean.to(device)
        if self._decodes_pairs and raw.shape[2] % 2 == 0:
            # CogVideoX's decoder takes the first latent frame for a single one only if pairs follow it. Its
            # convolutions never look ahead, so that a repeated last frame can be cut off again.
            raw = torch.cat([raw, raw[:, :, -1:]], dim=2)
        video: Tensor = self.vae.decode(raw.to(self.vae.dtype)).sample.float()
        return video[0, :, :num_frames].transpose(0, 1)
