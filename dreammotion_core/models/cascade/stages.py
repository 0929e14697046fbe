"""The stages of a cascade: loading, interpolation, super-resolution, and redrawing by a latent model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from torch import Generator, Tensor, nn

from dreammotion_core.errors import ModelLoadError
from dreammotion_core.method.parameterization import add_noise, signal_and_noise_scale
from dreammotion_core.method.prior import SamplingJournal
from dreammotion_core.models.cascade.manifest import (
    SHOW_1_MANIFEST,
    CascadeManifest,
    LatentSuperResolutionSettings,
    Part,
    SampledSettings,
    SuperResolutionSettings,
    spec_of,
)
from dreammotion_core.models.cascade.unet import Show1UNet
from dreammotion_core.models.loading import ModelFiles
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.spec import ModelSpec

KEY_FRAME_STEP = 4

SCHEDULERS = {kind.__name__: kind for kind in (DPMSolverMultistepScheduler, DDPMScheduler, DDIMScheduler)}
"""Schedulers that the manifest of a stage may name."""

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, eq=False)
class CascadeStages:
    """The networks of a cascade; None for a later stage that it does not have.

    An edit optimises the key frames. Super-resolution enlarges one picture, and a clip whose first frame is
    enlarged already.
    """

    key_frames: PixelStage
    interpolation: PixelStage | None = None
    super_resolution: tuple[PixelStage, PixelStage] | None = None
    latent: UNet3DBackend | None = None

    def size_multiple(self, manifest: CascadeManifest) -> int:
        """The sides of key frames are multiples of this, so that all U-Nets in pixels can halve them."""
        multiple = size_multiple(self.key_frames.unet)
        if self.super_resolution is None or manifest.super_resolution is None:
            return multiple
        return max(multiple, size_multiple(self.super_resolution[-1].unet) // manifest.super_resolution.scale)


def read_manifest(spec: ModelSpec) -> CascadeManifest:
    """The manifest of a folder, or that of the published Show-1; `ModelLoadError` if it cannot be used."""
    if spec.is_local:
        return CascadeManifest.read(ModelFiles(spec, parts=()).manifest)
    if spec.source == SHOW_1_MANIFEST.key_frames.source:
        return SHOW_1_MANIFEST
    raise ModelLoadError(
        f"{spec.source} is one stage of a cascade; pass 'show-1', or a folder whose model_index.json "
        "names all stages"
    )


def load_stages(spec: ModelSpec, manifest: CascadeManifest, *, options: LoadOptions) -> CascadeStages:
    """Load all networks, except the text encoder that the stages in pixels share."""

    def load(part: Part, kind: Any, channels: int) -> PixelStage:
        return load_pixel_stage(spec_of(part, spec), kind, in_channels=channels, torch_dtype=options.dtype)

    stages = CascadeStages(load(manifest.key_frames, Show1UNet, 3))
    if between := manifest.interpolation:
        stages = replace(stages, interpolation=load(between, Show1UNet, 7))
    if larger := manifest.super_resolution:
        both = load(larger.first_frame, UNet2DConditionModel, 6), load(larger, Show1UNet, 6)
        stages = replace(stages, super_resolution=both)
    if last := manifest.latent_super_resolution:
        stages = replace(stages, latent=load_latent_stage(spec_of(last, spec), options=options))
    return stages


def load_pixel_stage(spec: ModelSpec, kind: Any, *, in_channels: int, torch_dtype: torch.dtype) -> PixelStage:
    """A U-Net in pixels and its scheduler; `ModelLoadError` for wrong weights or channels."""
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
    """The latent U-Net3D, not compiled: nothing is optimised here, so compiling would not pay."""
    backend = UNet3DBackend.from_pretrained(spec, options=replace(options, compile=False))
    library = ModelFiles(spec, parts=("unet",)).manifest.get("unet", [""])[0]
    if str(library).startswith("showone"):
        count_heads_as_show1(backend.denoiser)
    return backend


def count_heads_as_show1(unet: UNet3DConditionModel) -> None:
    """Split the attention of a U-Net3D, in place, into `attention_head_dim` heads.

    Show-1's class takes that number as the count of heads, diffusers' as their width. The weights have the
    same shapes either way.
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
    """The U-Nets in pixels of all stages that the cascade has."""
    found = (stages.key_frames, stages.interpolation, *(stages.super_resolution or ()))
    return [stage.unet for stage in found if stage is not None]


def interpolate(
    stage: PixelStage,
    key_frames: Tensor,
    *,
    settings: SampledSettings,
    guidance: Guidance,
    draws: Draws,
) -> Tensor:
    """Draw the frames between key frames, one pair after the other: (4 (f - 1) + 1, 3, h, w).

    The U-Net sees the pair, blended over the window, and a mask that is 1 at a key frame. It also redraws the
    pair, so that all frames are equally sharp. All windows begin with the same noise.

    Frames here and below are RGB, roughly in [-1, 1]; the generator is on the CPU. The stage has 3 + 3 + 1
    channels in, those below 3 + 3.
    """
    length = KEY_FRAME_STEP + 1
    noise = drawn_noise((length, *key_frames.shape[1:]), draws=draws, like=key_frames)
    is_key_frame = torch.zeros_like(noise[:, :1])
    is_key_frame[[0, -1]] = 1
    frames = blended(key_frames)
    result = frames.clone()
    for window in windows(len(frames), longest=length):
        part = slice(window.start, window.stop)
        condition = torch.cat([frames[part], is_key_frame], dim=1)
        result[part] = stage.sample(
            noise, condition=condition, settings=settings, guidance=guidance, draws=draws
        )
    return result


def super_resolve_first(
    stage: PixelStage,
    frame: Tensor,
    *,
    settings: SuperResolutionSettings,
    guidance: Guidance,
    draws: Draws,
) -> Tensor:
    """Enlarge the first frame by an image model, which sees it interpolated and noised."""
    coarse = enlarged(frame, scale=settings.scale)
    noise, condition_noise = (drawn_noise(coarse.shape, draws=draws, like=coarse) for _ in range(2))
    first = settings.first_frame
    return stage.sample(
        noise,
        condition=stage.noised(coarse, noise=condition_noise, noise_level=first.noise_level),
        settings=first,
        guidance=guidance,
        draws=draws,
        noise_level=first.noise_level,
    )


def super_resolve(
    stage: PixelStage,
    frames: Tensor,
    first_frame: Tensor,
    *,
    settings: SuperResolutionSettings,
    guidance: Guidance,
    draws: Draws,
) -> Tensor:
    """Enlarge a clip window by window: (F, 3, scale h, scale w).

    The U-Net sees a window interpolated and noised, except its first frame, which it sees as already drawn.
    All windows begin with the same noise. `super_resolve_first` gives the first frame.
    """
    coarse = enlarged(frames, scale=settings.scale)
    shape = (min(settings.window, len(frames)), *coarse.shape[1:])
    noise, condition_noise = (drawn_noise(shape, draws=draws, like=coarse) for _ in range(2))
    result = torch.cat([first_frame, coarse[1:]])
    for window in windows(len(frames), longest=settings.window):
        part = slice(window.start, window.stop)
        condition = stage.noised(
            coarse[part], noise=condition_noise[: len(window)], noise_level=settings.noise_level
        )
        condition[:1] = result[part][:1]
        result[part] = stage.sample(
            noise[: len(window)],
            condition=condition,
            settings=settings,
            guidance=guidance,
            draws=draws,
            noise_level=settings.noise_level,
        )
    return result


@torch.no_grad()
def redraw(
    backend: UNet3DBackend,
    frames: Tensor,
    *,
    size: tuple[int, int],
    settings: LatentSuperResolutionSettings,
    prompts: tuple[str, str],
    draws: Draws,
) -> Tensor:
    """Enlarge a clip to (H, W) and redraw it from partial noise by a latent model: (F, 3, H, W) float32.

    The prompts are the target and the negative one; both sides are multiples of the model's strides.
    """
    # The model's own words come first, because a prompt that is too long is cut at its end.
    negative = ", ".join(filter(None, (settings.negative_prompt, prompts[1])))
    guidance = Guidance(
        backend.encode_prompt(prompts[0]), backend.encode_prompt(negative), settings.guidance_scale
    )
    # A scheduler for few steps on the model's noise schedule; the adapter answers in noise.
    scheduler = DPMSolverMultistepScheduler.from_config(
        backend.scheduler.config,
        algorithm_type="dpmsolver++",
        prediction_type="epsilon",
        # Repeated, because diffusers replaces a value that no file named by its class's default.
        timestep_spacing=backend.scheduler.config.timestep_spacing,
    )
    scheduler.set_timesteps(settings.num_inference_steps, device=backend.device)
    num_run = max(1, round(settings.strength * settings.num_inference_steps))
    timesteps = scheduler.timesteps[-num_run:]
    scheduler.set_begin_index(len(scheduler.timesteps) - num_run)
    latents = backend.encode_video(F.interpolate(frames, size, mode="bicubic", antialias=True).clamp(-1, 1))
    noise = drawn_noise(latents.shape, draws=draws, like=latents)
    noisy = add_noise(latents, noise, *backend.signal_and_noise(timesteps[:1], latents))

    def predict(sample: Tensor, timestep: Tensor) -> Tensor:
        clip, embeds = sample.transpose(0, 1)[None], guidance.embeds
        batch = clip.expand(len(embeds), *clip.shape[1:])
        predictions = backend.predict_noise(batch, timestep.expand(len(embeds)), embeds)
        return guidance.combine(predictions).transpose(0, 1)

    redrawn = denoise(
        predict, noisy[0].transpose(0, 1), scheduler=scheduler, timesteps=timesteps, draws=draws
    )
    return backend.decode_video(redrawn.transpose(0, 1)[None])


def enlarged(frames: Tensor, *, scale: int) -> Tensor:
    """(F, 3, h, w) frames, `scale` times as high and wide; corner pixels keep their place, as in training."""
    return F.interpolate(frames, scale_factor=scale, mode="bilinear", align_corners=True)


def blended(key_frames: Tensor) -> Tensor:
    """(f, 3, h, w) key frames with linear blends between them, (4 (f - 1) + 1, 3, h, w)."""
    clip = key_frames.transpose(0, 1)[None]
    size = (KEY_FRAME_STEP * (len(key_frames) - 1) + 1, *key_frames.shape[-2:])
    return F.interpolate(clip, size, mode="trilinear", align_corners=True)[0].transpose(0, 1)


def windows(num_frames: int, *, longest: int) -> list[range]:
    """Windows of at most `longest` frames over a clip; each begins with the last frame of the one before.

    They are as few as possible and about equally long: 29 frames in windows of 8 begin at 0, 7, 14 and 21.
    Both numbers are at least 2.
    """
    steps = num_frames - 1
    count = math.ceil(steps / (longest - 1))
    ends = [round(steps * index / count) for index in range(count + 1)]
    return [range(start, end + 1) for start, end in pairwise(ends)]


@dataclass(frozen=True, eq=False)
class Draws:
    """The generator of all noise, on the CPU, and where what is drawn is kept, if anywhere."""

    generator: Generator
    journal: SamplingJournal | None = None


def drawn_noise(shape: Sequence[int], *, draws: Draws, like: Tensor) -> Tensor:
    """Normal noise on the device of `like`."""
    return torch.randn(*shape, generator=draws.generator).to(like)


@dataclass(frozen=True, eq=False)
class PixelStage:
    """A U-Net that predicts the noise of RGB frames, and perhaps its variance, with its scheduler.

    The U-Net is a `Show1UNet` for clips, or diffusers' `UNet2DConditionModel` for single pictures.
    """

    unet: Any
    scheduler: Any

    @torch.no_grad()
    def sample(
        self,
        noise: Tensor,
        *,
        condition: Tensor,
        settings: SampledSettings,
        guidance: Guidance,
        draws: Draws,
        noise_level: int | None = None,
    ) -> Tensor:
        """Frames from (F, 3, h, w) normal noise, float32 RGB, roughly in [-1, 1].

        The condition is (F, K, h, w) channels behind the noisy ones, perhaps with a noise level of its own;
        the guidance scale comes from the settings.
        """
        guidance = replace(guidance, scale=settings.guidance_scale)
        self.scheduler.set_timesteps(settings.num_inference_steps, device=noise.device)

        def predict(frames: Tensor, timestep: Tensor) -> Tensor:
            return self._predict(torch.cat([frames, condition], dim=1), timestep, guidance, noise_level)

        noise, timesteps = noise * self.scheduler.init_noise_sigma, self.scheduler.timesteps
        return denoise(predict, noise, scheduler=self.scheduler, timesteps=timesteps, draws=draws)

    def noised(self, frames: Tensor, *, noise: Tensor, noise_level: int) -> Tensor:
        """Frames with the noise of a timestep of the stage's own schedule."""
        level = torch.tensor([noise_level])
        return add_noise(frames, noise, *signal_and_noise_scale(self.scheduler.alphas_cumprod, level, frames))

    def _predict(
        self, frames: Tensor, timestep: Tensor, guidance: Guidance, noise_level: int | None
    ) -> Tensor:
        """(F, 3, h, w) guided noise, followed by the prompt's variance if the scheduler reads it."""
        predictions = self._run_unet(frames, timestep, guidance.embeds, noise_level).float()
        noise, variance = predictions[:, :, :3], predictions[-1, :, 3:]
        if self.scheduler.config.get("variance_type") in ("learned", "learned_range"):
            return torch.cat([guidance.combine(noise), variance], dim=1)
        return guidance.combine(noise)

    def _run_unet(self, frames: Tensor, timestep: Tensor, embeds: Tensor, noise_level: int | None) -> Tensor:
        """(B, F, C, h, w) predictions for frames (F, C, h, w) and embeddings (B, L, D)."""
        dtype, num_branches = next(self.unet.parameters()).dtype, len(embeds)
        is_clip = isinstance(self.unet, Show1UNet)
        batch = (frames.transpose(0, 1)[None] if is_clip else frames).to(dtype)
        labels = None if noise_level is None else timestep.new_full((num_branches,), noise_level)
        output: Tensor = self.unet(
            batch.expand(num_branches, *batch.shape[1:]),
            timestep.expand(num_branches),
            encoder_hidden_states=embeds.to(dtype),
            class_labels=labels,
        ).sample
        return output.transpose(1, 2) if is_clip else output[:, None]


@dataclass(frozen=True, eq=False)
class Guidance:
    """Classifier-free guidance by (1, L, D) embeddings; a scale up to 1 has no unconditional branch."""

    prompt_embeds: Tensor
    negative_embeds: Tensor
    scale: float = 1.0

    @property
    def embeds(self) -> Tensor:
        """(2, L, D), the unconditional branch first, or (1, L, D) without it."""
        both = (self.negative_embeds, self.prompt_embeds)
        return self.prompt_embeds if self.scale <= 1 else torch.cat(both)

    def combine(self, predictions: Tensor) -> Tensor:
        """The guided prediction, without the first dimension of the predictions for `embeds`."""
        if self.scale <= 1:
            return predictions[0]
        return predictions[0] + self.scale * (predictions[1] - predictions[0])


def denoise(
    predict: Callable[[Tensor, Tensor], Tensor],
    sample: Tensor,
    *,
    scheduler: Any,
    timesteps: Sequence[Tensor] | Tensor,
    draws: Draws,
) -> Tensor:
    """Run a scheduler of diffusers from (F, C, h, w) noise to pictures, so that its thresholds are per frame.

    `predict` takes noisy frames and a timestep. A sampling that was kept goes on after the steps it has.
    """
    generator, journal = draws.generator, draws.journal
    done, kept = journal.next_sampling() if journal else (0, {})
    if kept:
        sample = kept["sample"].to(sample)
        generator.set_state(kept["generator"])
        restore_history(scheduler, kept, like=sample)
    for step, timestep in enumerate(timesteps[done:], start=done + 1):
        prediction = predict(scheduler.scale_model_input(sample, timestep), timestep)
        sample = scheduler.step(prediction, timestep, sample, generator=generator, return_dict=False)[0]
        if journal:
            tensors = {"sample": sample, "generator": generator.get_state()}
            journal.keep(step, tensors | history(scheduler), is_last=step == len(timesteps))
    return sample


COUNTERS = ("_step_index", "lower_order_nums")
"""Attributes in which a scheduler that looks back on earlier steps counts them."""


def history(scheduler: Any) -> dict[str, Tensor]:
    """What a scheduler of diffusers remembers of its steps, as tensors."""
    found = {
        name: torch.tensor(value)
        for name in COUNTERS
        if (value := getattr(scheduler, name, None)) is not None
    }
    outputs = enumerate(getattr(scheduler, "model_outputs", ()))
    return found | {f"output.{index}": output for index, output in outputs if output is not None}


def restore_history(scheduler: Any, kept: Mapping[str, Tensor], *, like: Tensor) -> None:
    """Give a scheduler, whose timesteps are set, what `history` found."""
    for name in COUNTERS:
        if name in kept:
            setattr(scheduler, name, int(kept[name]))
    for index in range(len(getattr(scheduler, "model_outputs", ()))):
        if (output := kept.get(f"output.{index}")) is not None:
            scheduler.model_outputs[index] = output.to(like)


def key_frame_size(size: Size, *, spec: ModelSpec, trained: Size, multiple: int) -> Size:
    """Size of the key frames of a clip, multiples of `multiple`: the clip's shape, at the trained area.

    If the clip's size on the model's grid differs from the trained grid, the key frames differ from their
    trained size in proportion.
    """
    of_key_frames = replace(spec, resolution=trained, size_multiple=multiple)
    return of_key_frames.fit_size(size, scale=_relative_side(size, spec.resolution))


def quick_look_size(size: Size, *, spec: ModelSpec, trained: Size) -> Size:
    """The model's grid for key frames of some size: about the inverse of `key_frame_size`."""
    return spec.fit_size(size, scale=_relative_side(size, trained))


def _relative_side(size: Size, trained: Size) -> float:
    return math.sqrt(math.prod(size) / math.prod(trained))


def size_multiple(unet: Any) -> int:
    """The sides of a U-Net's input are multiples of this: all levels except the last halve them."""
    return 1 << (len(unet.config.block_out_channels) - 1)
