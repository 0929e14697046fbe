"""What the families of video transformers share: everything except the call of the denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan
from torch import Tensor

from dreammotion_core.method.keys import KeyLayout, KeySite
from dreammotion_core.models.adapter import Adapter
from dreammotion_core.models.frame_vae import FrameAutoencoder
from dreammotion_core.models.loading import ModelFiles, check_latents, check_text, outer_dtype
from dreammotion_core.models.placement import Checkpointing, LoadOptions, Placement, apply_options
from dreammotion_core.models.text import load_text_encoder
from dreammotion_core.models.video_vae import VideoAutoencoder
from dreammotion_core.spec import ModelSpec

_KINDS = (AutoencoderKLWan, AutoencoderKLCogVideoX, VideoAutoencoder, FrameAutoencoder)
AUTOENCODERS: dict[str, Any] = {kind.__name__: kind for kind in _KINDS}
"""Autoencoders that a manifest may name."""


class VideoCodec:
    """A video autoencoder whose latents have about unit variance, frozen and in evaluation mode.

    The first latent frame stands for the first frame, every other one for the next `frame_step` frames.
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
        """The frames of a clip that each latent frame stands for."""
        step = self.frame_step
        return [range(1), *(range(first, first + step) for first in range(1, num_frames, step))]

    @torch.no_grad()
    def encode(self, frames: Tensor, *, device: torch.device) -> Tensor:
        """Mean latents of a clip, (1, C, k + 1, H / stride, W / stride) float32.

        Frames are (k * frame_step + 1, 3, H, W) RGB in [-1, 1]; H and W are multiples of the stride.
        """
        video = frames.transpose(0, 1)[None].to(device, self.vae.dtype)
        latents: Tensor = self.vae.encode(video).latent_dist.mean.float()
        return (latents - self._mean.to(device)) / self._std.to(device)

    @torch.no_grad()
    def decode(self, latents: Tensor, *, device: torch.device) -> Tensor:
        """The clip of (1, C, f, h, w) latents: (F, 3, H, W) float32 RGB, roughly in [-1, 1]."""
        num_frames = (latents.shape[2] - 1) * self.frame_step + 1
        raw = latents.to(device) * self._std.to(device) + self._mean.to(device)
        if self._decodes_pairs and raw.shape[2] % 2 == 0:
            # CogVideoX's decoder treats the first latent frame as a single one only if pairs follow it. Its
            # convolutions never look ahead, so a repeated last frame can be cut off again.
            raw = torch.cat([raw, raw[:, :, -1:]], dim=2)
        video: Tensor = self.vae.decode(raw.to(self.vae.dtype)).sample.float()
        return video[0, :, :num_frames].transpose(0, 1)


def load_parts(files: ModelFiles, transformer: Any, *, options: LoadOptions) -> dict[str, Any]:
    """The parts that all families have and the options, as arguments of a backend; see `ModelFiles`."""
    autoencoder = files.class_of("vae", AUTOENCODERS)
    dtype = options.dtype
    tokenizer, text_encoder = load_text_encoder(files, torch_dtype=dtype)
    denoiser = files.load_denoiser("transformer", transformer, torch_dtype=dtype)
    vae = files.load_network("vae", autoencoder, torch_dtype=outer_dtype(dtype))
    source, config = files.spec.source, denoiser.config
    width = config.get("text_dim") or config.get("text_embed_dim")
    check_text(source, width=width, text_encoder=text_encoder)
    channels = vae.config.get("z_dim") or vae.config.get("latent_channels")
    check_latents(source, denoiser=denoiser, latent_channels=channels)
    parts = {"transformer": denoiser, "vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer}
    return {**parts, "options": options}


def middle_key_sites(blocks: str, *, num_layers: int, num_text_tokens: int = 0) -> tuple[KeySite, ...]:
    """The self-attention keys of the middle third of the layers.

    The first layers see little more than patches, and the last ones prepare the output. Studies of such
    transformers found the correspondence between frames in a few layers around the middle. Layers after these
    need no memory for the backward pass. `EditConfig.key_sites` names others.
    """
    margin = num_layers // 3
    return tuple(
        KeySite(f"{blocks}.{layer}.attn1.to_k", KeyLayout.JOINT_TOKENS, num_text_tokens)
        for layer in range(margin, num_layers - margin)
    )


class VideoTransformerBackend(Adapter):
    """A denoiser over a video autoencoder, with a text encoder; the families add how it is asked.

    All parts are on the CPU; the networks are frozen and set to evaluation mode.

    Args:
        blocks: name of the list of layers within the transformer.
        patch_size: latents that a token covers, along either side.
        num_text_tokens: of `max_tokens`, those in front of the frames' tokens, in joint attention.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        transformer: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        options: LoadOptions | None = None,
        blocks: str,
        patch_size: int,
        max_tokens: int,
        num_text_tokens: int = 0,
    ) -> None:
        options, layers = options or LoadOptions(), getattr(transformer, blocks)
        self.denoiser = transformer.eval().requires_grad_(False)
        self.codec = VideoCodec(vae)
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.key_sites: Sequence[KeySite] = middle_key_sites(
            blocks, num_layers=len(layers), num_text_tokens=num_text_tokens
        )
        self.spec = replace(
            spec,
            size_multiple=self.codec.stride * patch_size,
            frame_step=self.codec.frame_step,
            precision=str(transformer.dtype).removeprefix("torch."),
        )
        networks = (self.denoiser, self.codec.vae, self.text_encoder)
        self._placement = Placement(networks, transient=(self.text_encoder,), offload=options.offload)
        self.checkpointing = Checkpointing(layers, options=options)
        apply_options(self.denoiser, self.codec.vae, options, layers=layers, key_sites=self.key_sites)

    def encode_video(self, frames: Tensor) -> Tensor:
        """(F, 3, H, W) RGB in [-1, 1] to (1, C, f, h, w) float32; `VideoError` for a wrong F or size."""
        self.spec.check_length(len(frames))
        self.spec.check_size((frames.shape[-2], frames.shape[-1]))
        self._placement.fetch(self.codec.vae)
        return self.codec.encode(frames, device=self.device)

    def decode_video(self, latents: Tensor) -> Tensor:
        """(1, C, f, h, w) latents to (F, 3, H, W) float32 RGB, roughly in [-1, 1]."""
        self._placement.fetch(self.codec.vae)
        return self.codec.decode(latents, device=self.device)

    def frame_groups(self, num_frames: int) -> Sequence[range]:
        """The first frame alone, then groups of `frame_step` frames."""
        return self.codec.frame_groups(num_frames)
