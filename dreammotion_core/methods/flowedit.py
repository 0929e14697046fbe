"""FlowEdit: for flow models, walk from the clip to its edit along the difference of two velocities."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dreammotion_core.method.prior import Backend
from dreammotion_core.config import EditConfig
from dreammotion_core.method.editing import EditTask
from dreammotion_core.errors import ConfigError
from dreammotion_core.events import StepDone
from dreammotion_core.methods.denoising import Steps, guided_noise, timesteps_down_to_zero
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.source_cache import SourceCache

SOURCE_GUIDANCE = 3.5
"""Guidance of the source branch, as the authors chose it with Stable Diffusion 3."""


def check_flow_model(backend: Backend, config: EditConfig) -> None:
    """Refuse a model without straight paths between clip and noise.

    Raises:
        ConfigError: if signal and noise do not add up to 1 at every level.
    """
    del config
    middle = torch.tensor([500], device=backend.device)
    alpha, sigma = backend.signal_and_noise(middle, torch.zeros(1, 1, 1, 1, 1, device=backend.device))
    if abs(float(alpha + sigma) - 1) > 1e-3:
        raise ConfigError(
            f"flowedit needs a flow-matching model, and {backend.spec.label} is none; "
            "choose another method, or a model such as Wan"
        )


def flowedit(
    backend: Backend, task: EditTask, *, source_cache: SourceCache | None = None
) -> Iterator[tuple[StepDone, Tensor]]:
    """Integrate v(target) - v(source) from a noise level down to none, both noised with the same fresh noise.

    ``config.strength`` says at which share of the timestep range it begins; ``config.guidance_scale`` guides
    the target branch. Arguments, yields and errors as of `Method`; nothing is cached.

    Source: Kulikov et al., FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models (ICCV
    2025), algorithm 1 with one noise a step.
    """
    del source_cache
    config, embeds, source = task.config, task.prompt_embeds, task.source_latents
    start = config.strength * (config.timestep_range[1] - 1)
    timesteps = timesteps_down_to_zero(start, num_steps=config.num_optimization_steps, device=source.device)
    generator = torch.Generator().manual_seed(config.seed)
    steps, edited = Steps(config.num_optimization_steps, source), source
    for now, then in zip(timesteps[:-1, None], timesteps[1:, None], strict=True):
        alpha, sigma = backend.signal_and_noise(now, source)
        noise = torch.randn(source.shape, generator=generator).to(source.device)
        noisy_source = add_noise(source, noise, alpha, sigma)
        noisy_edited = noisy_source + (edited - source)
        noise_preds = [
            guided_noise(
                backend,
                noisy,
                timestep=now,
                prompt_embeds=prompt_embeds,
                negative_embeds=embeds.negative,
                guidance_scale=scale,
            )
            for noisy, prompt_embeds, scale in (
                (noisy_edited, embeds.target, config.guidance_scale),
                (noisy_source, embeds.source, min(SOURCE_GUIDANCE, config.guidance_scale)),
            )
        ]
        # A velocity is (noise - noisy) / alpha; what was added to both noisy latents cancels.
        velocity_difference = (noise_preds[0] - noise_preds[1] - (edited - source)) / alpha
        sigma_then = backend.signal_and_noise(then, source)[1]
        edited = edited + (sigma_then - sigma) * velocity_difference
        yield steps.done(edited, now)
