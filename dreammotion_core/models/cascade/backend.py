"""Cascades of the Show-1 kind: key frames in pixels are edited, and later stages make the clip from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreammotion_core.method.keys import KeySite
from dreammotion_core.method.parameterization import PredictionType
from dreammotion_core.method.prior import RenderedStage, SamplingJournal
from dreammotion_core.models.adapter import Adapter
from dreammotion_core.models.cascade.manifest import (
    INTERPOLATION,
    LATENT_SUPER_RESOLUTION,
    SUPER_RESOLUTION,
    CascadeManifest,
    spec_of,
)
from dreammotion_core.models.cascade.stages import (
    KEY_FRAME_STEP,
    CascadeStages,
    Draws,
    Guidance,
    PixelStage,
    blended,
    interpolate,
    key_frame_size,
    load_stages,
    networks,
    quick_look_size,
    read_manifest,
    redraw,
    super_resolve,
    super_resolve_first,
)
from dreammotion_core.models.loading import ModelFiles, check_text
from dreammotion_core.models.placement import (
    Checkpointing,
    LoadOptions,
    Placement,
    compile_around,
    lay_channels_last,
    unet_layers,
)
from dreammotion_core.models.text import load_text_encoder, token_limit
from dreammotion_core.spec import ModelSpec

KEY_SITES = (KeySite("up_blocks.*.attentions.*.to_k"),)
"""Keys of the decoder's attention within a frame; the text has a projection of its own."""

NUM_CHANNELS = 3
"""RGB. The U-Net predicts three channels of noise, then three of its variance."""


class CascadeBackend(Adapter):
    """A pixel U-Net over key frames, with the stages that make a clip from them.

    All parts are on the CPU; the networks are frozen and set to evaluation mode. The stages in pixels share
    the text encoder.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        manifest: CascadeManifest,
        tokenizer: Any,
        text_encoder: Any,
        stages: CascadeStages,
        options: LoadOptions | None = None,
    ) -> None:
        self.manifest, self.stages, self.tokenizer = manifest, stages, tokenizer
        self.text_encoder = text_encoder
        for network in (text_encoder, *networks(stages)):
            network.eval().requires_grad_(False)
        self.denoiser = stages.key_frames.unet
        self.scheduler = stages.key_frames.scheduler
        self.prediction_type: PredictionType = self.scheduler.config.prediction_type
        self.key_sites: Sequence[KeySite] = KEY_SITES
        self.mask_padding = manifest.text.mask_padding
        self.max_tokens = token_limit(tokenizer, text_encoder=text_encoder, trained=manifest.text.max_tokens)
        self.spec = replace(
            spec,
            stages=manifest.stages,
            frame_step=KEY_FRAME_STEP,
            keeps_detail=False,
            size_multiple=stages.latent.spec.size_multiple if stages.latent else spec.size_multiple,
            precision=str(self.denoiser.dtype).removeprefix("torch."),
        )
        options, parts = options or LoadOptions(), (text_encoder, *networks(stages))
        self._placement = Placement(parts, transient=(text_encoder,), offload=options.offload)
        layers = unet_layers(self.denoiser)
        self.checkpointing = Checkpointing(layers, options=options)
        if options.channels_last:
            lay_channels_last(*networks(stages))
        if options.compile:
            compile_around(self.denoiser, layers, key_sites=self.key_sites)

    @classmethod
    def from_pretrained(cls, spec: ModelSpec, *, options: LoadOptions) -> Self:
        """Load all parts that the manifest of a folder names, or Show-1's from the hub; see `ModelFiles`."""
        manifest = read_manifest(spec)
        files = ModelFiles(spec_of(manifest.text, spec), parts=("text_encoder", "tokenizer"))
        tokenizer, text_encoder = load_text_encoder(files, torch_dtype=options.dtype)
        stages = load_stages(spec, manifest, options=options)
        for unet in networks(stages):
            config: Any = unet.config
            width = config.encoder_hid_dim or config.cross_attention_dim
            check_text(spec.source, width=width, text_encoder=text_encoder)
        parts = {"tokenizer": tokenizer, "text_encoder": text_encoder, "stages": stages}
        return cls(spec, manifest=manifest, options=options, **parts)

    @property
    def networks(self) -> Sequence[nn.Module]:
        """All networks on whose weights a result depends."""
        return (*self._placement.parts, *(self.stages.latent.networks if self.stages.latent else ()))

    def to(self, device: torch.device | str) -> None:
        """Choose the device; see `LoadOptions.offload`."""
        super().to(device)
        if self.stages.latent is not None:
            self.stages.latent.to(device)

    def encode_prompt(self, prompt: str) -> Tensor:
        """(1, L, D) hidden states of the text encoder for the prompt in lower case, as Show-1 was trained."""
        return super().encode_prompt(prompt.lower().strip())

    def encode_video(self, frames: Tensor) -> Tensor:
        """(F, 3, H, W) RGB in [-1, 1] to (1, 3, f, h, w), every fourth frame; `VideoError` if not taken."""
        size = (frames.shape[-2], frames.shape[-1])
        self.spec.check_length(len(frames))
        self.spec.check_size(size)
        key_frames = frames[::KEY_FRAME_STEP].to(self.device, torch.float32)
        trained, multiple = self.manifest.key_frames.size, self.stages.size_multiple(self.manifest)
        small_size = key_frame_size(size, spec=self.spec, trained=trained, multiple=multiple)
        small = F.interpolate(key_frames, small_size, mode="bilinear", antialias=True)
        return small.transpose(0, 1)[None]

    def decode_video(self, latents: Tensor) -> Tensor:
        """(1, 3, f, h, w) to (4 (f - 1) + 1, 3, H, W), a quick look: the key frames, blended in between."""
        frames = blended(latents[0].transpose(0, 1))
        small = (latents.shape[-2], latents.shape[-1])
        size = quick_look_size(small, spec=self.spec, trained=self.manifest.key_frames.size)
        return F.interpolate(frames, size, mode="bicubic", align_corners=False)

    def frame_groups(self, num_frames: int) -> Sequence[range]:
        """Each latent frame stands for its key frame alone."""
        return [range(index, index + 1) for index in range(0, num_frames, KEY_FRAME_STEP)]

    def _predict(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        return self._ask(noisy_latents, timestep, prompt_embeds)[:, :NUM_CHANNELS]

    @torch.no_grad()
    def render(
        self,
        latents: Tensor,
        *,
        size: tuple[int, int],
        prompt: str,
        negative_prompt: str,
        generator: torch.Generator,
        journal: SamplingJournal | None = None,
    ) -> Iterator[RenderedStage]:
        """Run the stages after the key frames; see `RendersInStages`. `latents` are (1, 3, f, h, w)."""
        manifest, stages = self.manifest, self.stages
        guidance = Guidance(self.encode_prompt(prompt), self.encode_prompt(negative_prompt))
        draws = Draws(generator, journal)
        frames = latents[0].transpose(0, 1).clamp(-1, 1)
        if (settings := manifest.interpolation) and stages.interpolation:
            stage = self._fetch(stages.interpolation)
            frames = interpolate(stage, frames, settings=settings, guidance=guidance, draws=draws)
            yield RenderedStage(INTERPOLATION, frames)
        if (larger := manifest.super_resolution) and stages.super_resolution:
            shared: dict[str, Any] = {"settings": larger, "guidance": guidance, "draws": draws}
            of_pictures, of_clips = stages.super_resolution
            first = super_resolve_first(self._fetch(of_pictures), frames[:1], **shared)
            frames = super_resolve(self._fetch(of_clips), frames, first, **shared)
            yield RenderedStage(SUPER_RESOLUTION, frames)
        if (last := manifest.latent_super_resolution) and stages.latent:
            prompts = (prompt, negative_prompt)
            frames = redraw(stages.latent, frames, size=size, settings=last, prompts=prompts, draws=draws)
            yield RenderedStage(LATENT_SUPER_RESOLUTION, frames)

    def _fetch(self, stage: PixelStage) -> PixelStage:
        self._placement.fetch(stage.unet)
        return stage
