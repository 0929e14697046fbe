"""U-Nets over latents of frames: ZeroScope, ModelScope, the embedded `toybox-unet`, and AnimateDiff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel, UNetMotionModel
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import TemporalConvLayer
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from dreammotion_core.method.keys import KeySite
from dreammotion_core.method.parameterization import PredictionType
from dreammotion_core.models.adapter import Adapter
from dreammotion_core.models.loading import (
    ModelFiles,
    check_latents,
    check_motion_schedule,
    check_text,
    outer_dtype,
)
from dreammotion_core.models.placement import (
    Checkpointing,
    LoadOptions,
    Placement,
    apply_options,
    unet_layers,
)
from dreammotion_core.models.text import load_text_encoder, token_limit
from dreammotion_core.spec import ModelSpec

KEY_SITES = (KeySite("up_blocks.*.attentions.*.transformer_blocks.*.attn1.to_k"),)
"""Keys of the decoder's spatial self-attention, where earlier work found structure most explicit."""

DENOISERS = {"UNet3DConditionModel": UNet3DConditionModel, "UNetMotionModel": UNetMotionModel}
"""Denoisers that a manifest may name; the second is AnimateDiff's image U-Net with motion modules."""

SUBFOLDERS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


class UNet3DBackend(Adapter):
    """A video U-Net over the latents of an image autoencoder, with a CLIP text encoder.

    All parts are on the CPU; the networks are frozen and set to evaluation mode.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        unet: UNet3DConditionModel | UNetMotionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler: DDIMScheduler,
        options: LoadOptions | None = None,
    ) -> None:
        self.denoiser = unet.eval().requires_grad_(False)
        self.vae = vae.eval().requires_grad_(False)
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.tokenizer, self.scheduler = tokenizer, scheduler
        self.prediction_type: PredictionType = scheduler.config.prediction_type
        self.max_tokens = token_limit(tokenizer, text_encoder=text_encoder)
        self.key_sites: Sequence[KeySite] = KEY_SITES
        vae_stride = 2 ** (len(vae.config.block_out_channels) - 1)
        unet_stride = 2 ** (len(unet.config.block_out_channels) - 1)
        self.spec = replace(
            spec,
            size_multiple=vae_stride * unet_stride,
            # Motion modules have a position for at most this many frames.
            max_frames=min(spec.max_frames, unet.config.get("motion_max_seq_length") or spec.max_frames),
            precision=str(unet.dtype).removeprefix("torch."),
        )
        options, networks = options or LoadOptions(), (self.denoiser, self.vae, self.text_encoder)
        self._placement = Placement(networks, transient=(self.text_encoder,), offload=options.offload)
        layers = unet_layers(self.denoiser)
        self.checkpointing = Checkpointing(layers, options=options, usual=cheap_layers(self.denoiser))
        apply_options(self.denoiser, self.vae, options, layers=layers, key_sites=self.key_sites)

    @classmethod
    def from_pretrained(cls, spec: ModelSpec, *, options: LoadOptions) -> Self:
        """Load all parts from a folder, or at the pinned revision from the hub; errors as in `ModelFiles`."""
        files = ModelFiles(spec, parts=SUBFOLDERS)
        network = files.class_of("unet", DENOISERS)
        scheduler = files.load("scheduler", DDIMScheduler.from_pretrained)
        if network is UNetMotionModel:
            check_motion_schedule(spec.source, scheduler=scheduler)
        tokenizer, text_encoder = load_text_encoder(files, torch_dtype=options.dtype)
        unet = files.load_denoiser("unet", network, torch_dtype=options.dtype)
        check_text(spec.source, width=unet.config.cross_attention_dim, text_encoder=text_encoder)
        vae = files.load_network("vae", AutoencoderKL, torch_dtype=outer_dtype(options.dtype))
        check_latents(spec.source, denoiser=unet, latent_channels=vae.config.latent_channels)
        text = {"text_encoder": text_encoder, "tokenizer": tokenizer}
        return cls(spec, unet=unet, vae=vae, scheduler=scheduler, options=options, **text)

    @torch.no_grad()
    def encode_video(self, frames: Tensor) -> Tensor:
        """(F, 3, H, W) RGB in [-1, 1] to (1, C, F, h, w) scaled latents; `VideoError` for a wrong size."""
        self.spec.check_size((frames.shape[-2], frames.shape[-1]))
        vae = self._placement.fetch(self.vae)
        means = vae.encode(frames.to(self.device, vae.dtype)).latent_dist.mean
        latents: Tensor = (means.float() - self._latent_shift) * vae.config.scaling_factor
        return latents.transpose(0, 1)[None]

    @torch.no_grad()
    def decode_video(self, latents: Tensor) -> Tensor:
        """(1, C, F, h, w) scaled latents to (F, 3, H, W) float32 RGB, roughly in [-1, 1]."""
        vae = self._placement.fetch(self.vae)
        raw = latents[0].transpose(0, 1) / vae.config.scaling_factor + self._latent_shift
        images: Tensor = vae.decode(raw.to(self.device, vae.dtype)).sample.float()
        return images

    @property
    def _latent_shift(self) -> float:
        return self.vae.config.shift_factor or 0.0

    def frame_groups(self, num_frames: int) -> Sequence[range]:
        """One latent frame for each frame."""
        return [range(index, index + 1) for index in range(num_frames)]

    def _predict(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        if isinstance(self.denoiser, UNetMotionModel):
            # It takes the frames of a clip as a batch of images, each with a prompt.
            prompt_embeds = prompt_embeds.repeat_interleave(noisy_latents.shape[2], dim=0)
        return self._ask(noisy_latents, timestep, prompt_embeds)


def cheap_layers(unet: nn.Module) -> Sequence[nn.Module]:
    """The layers of a video U-Net that hold much and cost little to compute again, none inside another.

    These are feed-forward layers, and normalisation, activation and convolution over time. The backward pass
    computes a layer again only up to the last input that it needs, so the last matrix product of the former
    and the convolution of the latter are left out.
    """
    over_time = [m for m in unet.modules() if isinstance(m, TemporalConvLayer)]
    sequences = [part for m in over_time for part in m.children() if isinstance(part, nn.Sequential)]
    return [*(m for m in unet.modules() if isinstance(m, FeedForward)), *sequences]
