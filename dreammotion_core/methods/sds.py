"""V-SDS: score distillation on the clip as a whole, without a source branch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from dreammotion_core.method.prior import Backend
from dreammotion_core.method.distillation import masked_direction, velocity_direction
from dreammotion_core.method.editing import EditTask, descend, refuse_infinite
from dreammotion_core.events import StepDone
from dreammotion_core.methods.denoising import guided_noise
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.source_cache import SourceCache
from dreammotion_core.values import StepLosses


def score_distillation(
    backend: Backend, task: EditTask, *, source_cache: SourceCache | None = None
) -> Iterator[tuple[StepDone, Tensor]]:
    """Descend along predicted minus added noise: DreamMotion's optimiser with SDS instead of DDS.

    With `direction_weighting` "velocity" it is the predicted minus the true velocity of flow matching.
    What the prediction gets wrong about any clip is part of its direction, which DDS takes away by its
    source branch; so results blur and saturate. There is no matching. Arguments, yields and errors as of
    `Method`; nothing is cached.

    Source: Poole et al., DreamFusion (ICLR 2023), for images; the "V-SDS" of DreamMotion (ECCV 2024).
    """
    del source_cache
    yield from descend(task, partial(_step, backend, task))


@torch.no_grad()
def _step(
    backend: Backend, task: EditTask, latents: Tensor, timestep: Tensor, noise: Tensor
) -> tuple[Tensor, StepLosses]:
    scales = backend.signal_and_noise(timestep, noise)
    noise_pred = guided_noise(
        backend,
        add_noise(latents, noise, *scales),
        timestep=timestep,
        prompt_embeds=task.prompt_embeds.target,
        negative_embeds=task.prompt_embeds.negative,
        guidance_scale=task.config.guidance_scale,
    )
    direction = masked_direction(noise_pred, noise, task.latent_mask)
    if task.config.direction_weighting == "velocity":
        # Both noises are of the same noisy latents, so nothing of a source is to be taken away.
        direction = velocity_direction(direction, torch.zeros_like(direction), *scales)
    refuse_infinite(direction, backend=backend, timestep=timestep)
    losses = StepLosses(float(direction.square().mean().sqrt()), spatial=0.0, temporal=0.0)
    return task.config.appearance_weight * direction, losses
