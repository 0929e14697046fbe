"""Drawing frames out of noise with a guided U-Net: what all later stages of a cascade share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from dreammotion_core.models.cascade.manifest import SampledSettings
from dreammotion_core.models.cascade.unet import Show1UNet
from dreammotion_core.method.parameterization import add_noise, signal_and_noise_scale

LEARNED_VARIANCE = ("learned", "learned_range")


@dataclass(frozen=True, eq=False)
class Guidance:
    """Classifier-free guidance.

    Attributes:
        prompt_embeds: (1, L, D) of the target prompt.
        negative_embeds: (1, L, D) of the unconditional branch.
        scale: how far beyond the prompt's prediction; up to 1 leaves the unconditional branch out.
    """

    prompt_embeds: Tensor
    negative_embeds: Tensor
    scale: float = 1.0

    @property
    def embeds(self) -> Tensor:
        """(2, L, D), the unconditional branch first, or (1, L, D) without it."""
        if self.scale <= 1:
            return self.prompt_embeds
        return torch.cat([self.negative_embeds, self.prompt_embeds])

    def combine(self, predictions: Tensor) -> Tensor:
        """One prediction out of those for `embeds`, whose first dimension goes."""
        if self.scale <= 1:
            return predictions[0]
        return predictions[0] + self.scale * (predictions[1] - predictions[0])


def denoise(
    predict: Callable[[Tensor, Tensor], Tensor],
    sample: Tensor,
    *,
    scheduler: Any,
    timesteps: Iterable[Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Run a scheduler of diffusers.

    Args:
        predict: (noisy frames, timestep) to what the scheduler expects of a model.
        sample: (F, C, h, w) noisy frames or latents; the scheduler sees a batch of pictures, so that its
            thresholds are those of single frames.
        scheduler: with its timesteps set.
        timesteps: those to run, from noise to picture.
        generator: for schedulers that draw noise; on the CPU.

    Returns:
        (F, C, h, w).
    """
    for timestep in timesteps:
        prediction = predict(scheduler.scale_model_input(sample, timestep), timestep)
        sample = scheduler.step(prediction, timestep, sample, generator=generator, return_dict=False)[0]
    return sample


@dataclass(frozen=True, eq=False)
class PixelStage:
    """A U-Net that predicts the noise of RGB frames, and perhaps its variance, with its scheduler.

    Attributes:
        unet: a `Show1UNet` for clips, or diffusers' `UNet2DConditionModel` for single pictures.
        scheduler: of diffusers.
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
        generator: torch.Generator,
        noise_level: int | None = None,
    ) -> Tensor:
        """Frames out of noise.

        Args:
            noise: (F, 3, h, w) normal noise.
            condition: (F, K, h, w) channels that the U-Net gets behind the noisy ones.
            settings: steps and guidance scale.
            guidance: the prompts; its own scale does not matter.
            generator: for schedulers that draw noise; on the CPU.
            noise_level: of the condition, for a U-Net that wants to know.

        Returns:
            (F, 3, h, w) float32 RGB, roughly in [-1, 1].
        """
        guidance = replace(guidance, scale=settings.guidance_scale)
        self.scheduler.set_timesteps(settings.num_inference_steps, device=noise.device)

        def predict(frames: Tensor, timestep: Tensor) -> Tensor:
            return self._predict(torch.cat([frames, condition], dim=1), timestep, guidance, noise_level)

        return denoise(
            predict,
            noise * self.scheduler.init_noise_sigma,
            scheduler=self.scheduler,
            timesteps=self.scheduler.timesteps,
            generator=generator,
        )

    def noised(self, frames: Tensor, *, noise: Tensor, noise_level: int) -> Tensor:
        """Frames with the noise of a timestep; the published schedules for it are those of the stages."""
        level = torch.tensor([noise_level])
        return add_noise(frames, noise, *signal_and_noise_scale(self.scheduler.alphas_cumprod, level, frames))

    def _predict(
        self, frames: Tensor, timestep: Tensor, guidance: Guidance, noise_level: int | None
    ) -> Tensor:
        """(F, 3, h, w) guided noise, followed by the prompt's own variance where the scheduler reads it."""
        predictions = self._run_unet(frames, timestep, guidance.embeds, noise_level).float()
        noise, variance = predictions[:, :, :3], predictions[-1, :, 3:]
        if self.scheduler.config.get("variance_type") in LEARNED_VARIANCE:
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


def drawn_noise(shape: Sequence[int], *, generator: torch.Generator, like: Tensor) -> Tensor:
    """Normal noise of a shape, drawn by a generator on the CPU, where `like` is."""
    return torch.randn(*shape, generator=generator).to(like)


def windows(num_frames: int, *, longest: int) -> list[range]:
    """Windows over a clip, each beginning with the frame that ended the one before.

    As few as possible and of about the same length; 29 frames in windows of 8 begin at 0, 7, 14 and 21.

    Args:
        num_frames: F, at least 2.
        longest: most frames of a window, at least 2.
    """
    steps = num_frames - 1
    count = math.ceil(steps / (longest - 1))
    ends = [round(steps * index / count) for index in range(count + 1)]
    return [range(start, end + 1) for start, end in pairwise(ends)]
