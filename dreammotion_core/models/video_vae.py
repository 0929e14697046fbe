"""A small video autoencoder: temporal compression over the latents of an image autoencoder.

It has the interface of diffusers' `AutoencoderKLWan`: frame 0 has a latent frame of its own, every later
latent frame stands for four frames, and none depends on later pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn

TILE_SIZE = 256
"""Side in pixels of the tiles that larger pictures are cut into on demand."""


class VideoAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pictures to image latents one by one, then groups of image latents to latent frames, and back.

    Frame 0 counts as a group of equal frames, so that a still picture and a clip without motion have the same
    latents.

    Args:
        block_out_channels, layers_per_block, norm_num_groups, image_latent_channels: settings of the image
            autoencoder, an `AutoencoderKL` without attention.
        z_dim: channels of a latent frame.
        hidden_channels, num_layers: width and residual blocks of each temporal network.
        scale_factor_temporal: frames in a group.
        scale_factor_spatial: pixels to one latent in each direction. It follows from `block_out_channels`;
            the configuration repeats it for its readers.
        latents_mean, latents_std: mean and deviation of each of `z_dim` channels over the training clips;
            ``(latents - mean) / std`` has unit variance. None means zeros and ones.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        block_out_channels: Sequence[int] = (8, 24, 64, 128),
        layers_per_block: int = 1,
        norm_num_groups: int = 4,
        image_latent_channels: int = 8,
        z_dim: int = 16,
        hidden_channels: int = 64,
        num_layers: int = 2,
        scale_factor_temporal: int = 4,
        scale_factor_spatial: int = 8,
        latents_mean: Sequence[float] | None = None,
        latents_std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.register_to_config(
            latents_mean=list(latents_mean or [0.0] * z_dim), latents_std=list(latents_std or [1.0] * z_dim)
        )
        if scale_factor_spatial != 2 ** ((levels := len(block_out_channels)) - 1):
            raise ValueError(
                f"scale_factor_spatial is {scale_factor_spatial}, and {levels} levels of an image "
                f"autoencoder make {2 ** (levels - 1)}; change one of the two"
            )
        self.image_vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            latent_channels=image_latent_channels,
            norm_num_groups=norm_num_groups,
            mid_block_add_attention=False,
            sample_size=TILE_SIZE,
        )
        group_channels = scale_factor_temporal * image_latent_channels
        # The encoder also sees the frame before the group, the decoder the previous latent frame.
        size = {"hidden_channels": hidden_channels, "num_layers": num_layers}
        self.temporal_encoder = ResidualNetwork(
            group_channels + image_latent_channels, out_channels=2 * z_dim, **size
        )
        self.temporal_decoder = ResidualNetwork(2 * z_dim, out_channels=group_channels, **size)

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """`latent_dist` over (B, z_dim, k + 1, H / 8, W / 8), not yet of unit variance.

        Args:
            x: (B, 3, F, H, W) RGB in [-1, 1]; F is 4 k + 1, H and W are multiples of 8.
        """
        return AutoencoderKLOutput(latent_dist=self.encode_image_latents(self.image_latents(x)))

    def decode(self, z: Tensor) -> DecoderOutput:
        """Latents (B, z_dim, k + 1, h, w) to clips (B, 3, 4 k + 1, 8 h, 8 w), RGB clamped to [-1, 1]."""
        latents = self.decode_image_latents(z)
        # One picture at a time, because the image decoder takes most of the memory.
        pictures = [
            torch.stack([self.image_vae.decode(frame[None]).sample[0] for frame in clip], dim=1)
            for clip in latents.transpose(1, 2)
        ]
        return DecoderOutput(sample=torch.stack(pictures).clamp(-1, 1))

    def enable_tiling(self) -> None:
        """Cut pictures of more than `TILE_SIZE` pixels a side into tiles, whose seams are blended."""
        self.image_vae.enable_tiling()

    def image_latents(self, x: Tensor) -> Tensor:
        """Image latents (B, C, F, h, w) of clips (B, 3, F, H, W) in [-1, 1], picture by picture."""
        clips = [
            torch.cat([self.image_vae.encode(frame[None]).latent_dist.mean for frame in clip])
            for clip in x.transpose(1, 2)
        ]
        return torch.stack(clips).transpose(1, 2)

    def encode_image_latents(self, latents: Tensor) -> DiagonalGaussianDistribution:
        """The distribution over (B, z_dim, k + 1, h, w) of image latents (B, C, 4 k + 1, h, w)."""
        group, num_frames = self.config.scale_factor_temporal, latents.shape[2]
        if num_frames % group != 1:
            raise ValueError(
                f"got {num_frames} frames; pass {group} k + 1, such as {num_frames // group * group + 1}"
            )
        first = latents[:, :, :1]
        padded = torch.cat([first.expand(-1, -1, group, -1, -1), latents], dim=2)
        # Windows of the frame before a group and the group, (B, C, k + 1, h, w, group + 1).
        windows = padded.unfold(2, group + 1, group)
        batch, channels, count, height, width, frames = windows.shape
        stacked = windows.permute(0, 2, 5, 1, 3, 4).reshape(-1, frames * channels, height, width)
        parameters = self.temporal_encoder(stacked).unflatten(0, (batch, count)).transpose(1, 2)
        return DiagonalGaussianDistribution(parameters)

    def decode_image_latents(self, z: Tensor) -> Tensor:
        """Image latents (B, C, 4 k + 1, h, w) of latents (B, z_dim, k + 1, h, w)."""
        group = self.config.scale_factor_temporal
        before = torch.cat([z[:, :, :1], z[:, :, :-1]], dim=2)
        stacked = torch.cat([before, z], dim=1).transpose(1, 2)
        groups = self.temporal_decoder(stacked.flatten(0, 1)).unflatten(0, stacked.shape[:2])
        frames: Tensor = groups.unflatten(2, (group, -1)).flatten(1, 2).transpose(1, 2)
        return frames[:, :, group - 1 :]


class ResidualNetwork(nn.Module):
    """A linear map of every position plus residual blocks of convolutions, a multiple of 8 channels wide."""

    def __init__(self, in_channels: int, *, out_channels: int, hidden_channels: int, num_layers: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(in_channels, out_channels, 1)
        self.conv_in = nn.Conv2d(in_channels, hidden_channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(8, hidden_channels),
                nn.SiLU(),
                nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1),
            )
            for _ in range(num_layers)
        )
        self.conv_out = nn.Conv2d(hidden_channels, out_channels, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, h, w) to (N, out_channels, h, w)."""
        hidden = self.conv_in(x)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        out: Tensor = self.linear(x) + self.conv_out(nn.functional.silu(hidden))
        return out
