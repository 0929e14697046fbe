"""A small autoencoder of single frames whose linear part alone is already a good code.

It has the interface of diffusers' `AutoencoderKLWan`, with one frame to a latent frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn

CELL = 8
"""Height and width in pixels of the part of a picture that one latent stands for."""
GROUPS = 8


class FrameAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Cells of 8 x 8 pixels to latents by a linear map and a network beside it, and back.

    No layer runs at the full resolution of the picture: the networks see cells of 4 x 4 pixels as channels.

    Args:
        z_dim: channels of a latent.
        encoder_channels, decoder_channels: widths of the two networks where a position is 4 and 8 pixels
            wide; multiples of 8.
        latents_mean, latents_std: of each channel, `z_dim` numbers each; ``(latents - mean) / std`` is what a
            denoiser sees. None stands for zeros and ones.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        z_dim: int = 32,
        encoder_channels: tuple[int, int] = (64, 128),
        decoder_channels: tuple[int, int] = (96, 192),
        scale_factor_spatial: int = CELL,
        scale_factor_temporal: int = 1,
        latents_mean: Sequence[float] | None = None,
        latents_std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.register_to_config(
            latents_mean=list(latents_mean or [0.0] * z_dim), latents_std=list(latents_std or [1.0] * z_dim)
        )
        cell, part = 3 * CELL**2, 3 * (CELL // 2) ** 2
        self.project, self.unproject = nn.Conv2d(cell, z_dim, 1), nn.Conv2d(z_dim, cell, 1)
        fine, coarse = encoder_channels
        self.encoder = nn.Sequential(
            nn.Conv2d(part, fine, 3, padding=1),
            ResidualBlock(fine),
            nn.Conv2d(fine, coarse, 2, stride=2),
            ResidualBlock(coarse),
            ResidualBlock(coarse),
            nn.GroupNorm(GROUPS, coarse),
            nn.SiLU(),
            zeroed(nn.Conv2d(coarse, z_dim, 1)),
        )
        fine, coarse = decoder_channels
        self.decoder = nn.Sequential(
            nn.Conv2d(z_dim, coarse, 3, padding=1),
            ResidualBlock(coarse),
            ResidualBlock(coarse),
            ResidualBlock(coarse),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            ResidualBlock(fine),
            ResidualBlock(fine),
            nn.GroupNorm(GROUPS, fine),
            nn.SiLU(),
            zeroed(nn.Conv2d(fine, part, 3, padding=1)),
        )

    def encode_pictures(self, pictures: Tensor) -> Tensor:
        """Latents (N, z_dim, H / 8, W / 8) of pictures (N, 3, H, W) in [-1, 1]."""
        linear = self.project(F.pixel_unshuffle(pictures, CELL))
        latents: Tensor = linear + self.encoder(F.pixel_unshuffle(pictures, CELL // 2))
        return latents

    def decode_pictures(self, latents: Tensor) -> Tensor:
        """Pictures (N, 3, 8 h, 8 w), roughly in [-1, 1], of latents (N, z_dim, h, w)."""
        linear = F.pixel_shuffle(self.unproject(latents), CELL)
        return linear + F.pixel_shuffle(self.decoder(latents), CELL // 2)

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """The latents of clips, as a distribution without spread over (B, z_dim, F, H / 8, W / 8).

        Clips are (B, 3, F, H, W) RGB in [-1, 1]; H and W are multiples of 8.
        """
        mean = self.encode_pictures(x.transpose(1, 2).flatten(0, 1))
        mean = mean.reshape(x.shape[0], x.shape[2], *mean.shape[1:]).transpose(1, 2)
        parameters = torch.cat([mean, torch.zeros_like(mean)], dim=1)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(parameters, deterministic=True))

    def decode(self, z: Tensor) -> DecoderOutput:
        """Latents (B, z_dim, F, h, w) to clips (B, 3, F, 8 h, 8 w), RGB clamped to [-1, 1]."""
        pictures = self.decode_pictures(z.transpose(1, 2).flatten(0, 1)).clamp(-1, 1)
        clips = pictures.reshape(z.shape[0], z.shape[2], *pictures.shape[1:])
        return DecoderOutput(sample=clips.transpose(1, 2))


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity, which begin by adding nothing; a multiple of 8 channels wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) of that shape."""
        out: Tensor = x + self.last(F.silu(self.first(self.norm(x))))
        return out


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with all weights at zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
