"""A step as a plain port of the paper would do it: the measure that the real one is held against.

Every prediction is a pass of its own, the keys are taken in two more, the self-similarities are maps of
tokens by tokens, the parameters are left to gather gradients that nobody reads, and every activation is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarks.cost.models import StepInputs
from dreammotion_core.method.distillation import classifier_free_guidance, masked_direction
from dreammotion_core.method.keys import KeyCapture
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.prior import Backend
from dreammotion_core.method.similarity import spatial_matching_direct, temporal_matching
from dreammotion_core.models.placement import Checkpointing, LoadOptions


def naive_step(backend: Backend, inputs: StepInputs) -> Tensor:
    """(1, C, f, h, w) gradient on the latents: the same as `distill_step` gives, at a higher price.

    Args:
        backend: the video prior. Its parameters hold gradients until the step is over.
        inputs: of the step.
    """
    usual, backend.checkpointing = backend.checkpointing, Checkpointing((), options=LoadOptions())
    try:
        return _gradient(backend, inputs)
    finally:
        backend.checkpointing = usual


def _gradient(backend: Backend, inputs: StepInputs) -> Tensor:
    task, timestep = inputs.task, inputs.timestep
    scales = backend.signal_and_noise(timestep, inputs.noise)
    noisy_source = add_noise(task.source_latents, inputs.noise, *scales)
    noisy = add_noise(inputs.latents, inputs.noise, *scales)
    direction = masked_direction(
        _guided(backend, inputs, noisy, task.prompt_embeds.target),
        _guided(backend, inputs, noisy_source, task.prompt_embeds.source),
        task.latent_mask,
    )

    variable = inputs.latents.detach().clone().requires_grad_()
    backend.denoiser.requires_grad_(True)
    try:
        with torch.no_grad():
            source_keys = _keys(backend, inputs, noisy_source, task.prompt_embeds.source)
        keys = _keys(backend, inputs, add_noise(variable, inputs.noise, *scales), task.prompt_embeds.target)
        spatial = torch.stack([spatial_matching_direct(keys[site], source_keys[site]) for site in keys])
        temporal = torch.stack([temporal_matching(keys[site], source_keys[site]) for site in keys])
        loss = task.config.spatial_weight * spatial.mean() + task.config.temporal_weight * temporal.mean()
        loss.backward()
        matching = variable.grad
    finally:
        backend.denoiser.requires_grad_(False)
        backend.denoiser.zero_grad(set_to_none=True)
    if task.latent_mask is not None:
        matching = matching * task.latent_mask
    return task.config.appearance_weight * direction + matching


@torch.no_grad()
def _guided(backend: Backend, inputs: StepInputs, noisy: Tensor, prompt_embeds: Tensor) -> Tensor:
    negative = inputs.task.prompt_embeds.negative
    return classifier_free_guidance(
        backend.predict_noise(noisy, inputs.timestep, negative),
        backend.predict_noise(noisy, inputs.timestep, prompt_embeds),
        inputs.task.config.guidance_scale,
    )


def _keys(backend: Backend, inputs: StepInputs, noisy: Tensor, prompt_embeds: Tensor) -> Mapping[str, Tensor]:
    capture = KeyCapture(backend.denoiser, inputs.task.key_sites, batch_size=1, num_frames=noisy.shape[2])
    with capture:
        backend.predict_noise(noisy, inputs.timestep, prompt_embeds)
    return capture.keys()
