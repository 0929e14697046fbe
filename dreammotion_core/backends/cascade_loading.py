"""Loading the stages of a cascade, each from a folder or repository of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from torch import nn

from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.models.cascade.manifest import CascadeManifest, Part, spec_of
from dreammotion_core.backends.cascade_sampling import PixelStage
from dreammotion_core.backends.cascade_show1 import SHOW_1_MANIFEST
from dreammotion_core.backends.cascade_sizes import size_multiple
from dreammotion_core.models.loading import ModelFiles
from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.models.cascade.unet import Show1UNet
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.errors import ModelLoadError

SCHEDULERS = {
    "DPMSolverMultistepScheduler": DPMSolverMultistepScheduler,
    "DDPMScheduler": DDPMScheduler,
    "DDIMScheduler": DDIMScheduler,
}
"""The classes that the manifest of a stage may name."""

SHOW1_PACKAGE = "showone"
"""Where the published manifests say that their U-Nets come from."""


@dataclass(frozen=True, eq=False)
class CascadeStages:
    """The networks of a cascade; None for those of a later stage that it does not have.

    Attributes:
        key_frames: predicts noise of key frames; the stage that an edit optimises.
        interpolation: draws the frames between them.
        super_resolution: the first enlarges one picture, the second a clip whose first frame is enlarged.
        latent: draws the clip at full size.
    """

    key_frames: PixelStage
    interpolation: PixelStage | None = None
    super_resolution: tuple[PixelStage, PixelStage] | None = None
    latent: UNet3DBackend | None = None

    def size_multiple(self, manifest: CascadeManifest) -> int:
        """Of the sides of key frames, so that all U-Nets in pixels can halve what they read."""
        multiple = size_multiple(self.key_frames.unet)
        if self.super_resolution is None or manifest.super_resolution is None:
            return multiple
        return max(multiple, size_multiple(self.super_resolution[-1].unet) // manifest.super_resolution.scale)


def read_manifest(spec: ModelSpec) -> CascadeManifest:
    """What a cascade is made of: by the manifest of a folder, or Show-1 as it is published.

    Args:
        spec: the cascade's.

    Raises:
        ModelLoadError: if the manifest cannot be used, or the repository is not the first one of Show-1.
    """
    if spec.is_local:
        return CascadeManifest.read(ModelFiles(spec, parts=()).manifest)
    if spec.source == SHOW_1_MANIFEST.key_frames.source:
        return SHOW_1_MANIFEST
    raise ModelLoadError(
        f"{spec.source} is one stage of a cascade; pass 'show-1', or a folder whose model_index.json "
        "names all stages"
    )


def load_stages(spec: ModelSpec, manifest: CascadeManifest, *, options: LoadOptions) -> CascadeStages:
    """Load all networks but the text encoder that the stages in pixels share.

    Args:
        spec: the cascade's.
        manifest: says where its parts lie.
        options: how to load them.

    Raises:
        ModelLoadError: if a part is missing, incomplete, damaged, unreachable, gated or another model.
    """

    def load(part: Part, kind: Any, *, in_channels: int) -> PixelStage:
        place = spec_of(part, spec)
        return load_pixel_stage(place, kind, in_channels=in_channels, torch_dtype=options.dtype)

    stages = CascadeStages(load(manifest.key_frames, Show1UNet, in_channels=3))
    if between := manifest.interpolation:
        stages = replace(stages, interpolation=load(between, Show1UNet, in_channels=7))
    if larger := manifest.super_resolution:
        of_pictures = load(larger.first_frame, UNet2DConditionModel, in_channels=6)
        of_clips = load(larger, Show1UNet, in_channels=6)
        stages = replace(stages, super_resolution=(of_pictures, of_clips))
    if last := manifest.latent_super_resolution:
        stages = replace(stages, latent=load_latent_stage(spec_of(last, spec), options=options))
    return stages


def load_pixel_stage(spec: ModelSpec, kind: Any, *, in_channels: int, torch_dtype: torch.dtype) -> PixelStage:
    """A U-Net in pixels with its scheduler, all weights present and none left over.

    Args:
        spec: where they lie.
        kind: class of the U-Net.
        in_channels: that this stage of a cascade has.
        torch_dtype: precision of the U-Net.

    Raises:
        ModelLoadError: if a part cannot be loaded, or is not of that architecture.
    """
    files = ModelFiles(spec, parts=("unet", "scheduler"))
    scheduler = files.load("scheduler", files.class_of("scheduler", SCHEDULERS).from_pretrained)
    unet = files.load_denoiser("unet", kind, strict=True, torch_dtype=torch_dtype)
    if unet.config.in_channels != in_channels:
        raise ModelLoadError(
            f"the unet of {spec.source} has {unet.config.in_channels} channels in; this stage of a cascade "
            f"has {in_channels}: the manifest names the wrong folder or repository for it"
        )
    return PixelStage(unet, scheduler)


def load_latent_stage(spec: ModelSpec, *, options: LoadOptions) -> UNet3DBackend:
    """The latent U-Net3D with its autoencoder and text encoder.

    Args:
        spec: where they lie.
        options: how to load it; nothing is optimised here, so that compiling would not pay.

    Raises:
        ModelLoadError: as `UNet3DBackend.from_pretrained`.
    """
    backend = UNet3DBackend.from_pretrained(spec, options=replace(options, compile=False))
    library = ModelFiles(spec, parts=("unet",)).manifest.get("unet", [""])[0]
    if str(library).startswith(SHOW1_PACKAGE):
        count_heads_as_show1(backend.denoiser)
    return backend


def count_heads_as_show1(unet: UNet3DConditionModel) -> None:
    """Split the attention of a U-Net3D into as many heads as its `attention_head_dim` says.

    Show-1's own class takes that number as the count of heads and diffusers' takes it as their width; the
    weights have the same shapes either way.

    Args:
        unet: changed in place.
    """
    numbers = unet.config.attention_head_dim
    counts = list(numbers) if isinstance(numbers, list | tuple) else [numbers] * len(unet.down_blocks)
    levels = [*zip(unet.down_blocks, counts, strict=True), (unet.mid_block, counts[-1])]
    levels += list(zip(unet.up_blocks, reversed(counts), strict=True))
    for block, count in levels:
        for name, attention in block.named_modules():
            if name.endswith((".attn1", ".attn2")):
                attention.heads = count


def networks(stages: CascadeStages) -> list[nn.Module]:
    """The U-Nets in pixels of the stages that there are."""
    found = (stages.key_frames, stages.interpolation, *(stages.super_resolution or ()))
    return [stage.unet for stage in found if stage is not None]
