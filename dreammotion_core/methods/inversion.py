"""DDIM inversion and word swap: up to the noise by the source prompt, down again by the target prompt."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from dreammotion_core.method.prior import Backend
from dreammotion_core.config import EditConfig
from dreammotion_core.method.editing import EditTask
from dreammotion_core.errors import ConfigError
from dreammotion_core.events import StepDone
from dreammotion_core.methods.denoising import Steps, denoised, guided_noise, moved, timesteps_down_to_zero
from dreammotion_core.method.source_cache import SourceCache


def check_inversion(backend: Backend, config: EditConfig) -> None:
    """Refuse fewer than the two steps that lead up and down.

    Raises:
        ConfigError: if so.
    """
    del backend
    if config.num_optimization_steps < 2:
        raise ConfigError("ddim-inversion takes at least 2 steps: one up to the noise and one back")


def inversion_word_swap(
    backend: Backend, task: EditTask, *, source_cache: SourceCache | None = None
) -> Iterator[tuple[StepDone, Tensor]]:
    """Walk up the noise levels with the source prompt, and down with the target prompt.

    Half of the steps go up, without guidance (which would lead away from the clip), and the rest down, with
    it. Arguments, yields and errors as of `Method`; nothing is cached.

    Source: Song et al., DDIM (ICLR 2021), section 4.3; the swap of words as in DreamMotion's comparison on
    Show-1, without attention injection.
    """
    del source_cache
    config, embeds = task.config, task.prompt_embeds
    num_steps, top = config.num_optimization_steps, config.timestep_range[1] - 1
    noisy_latents, steps = task.source_latents, Steps(num_steps, task.source_latents)
    up = timesteps_down_to_zero(top, num_steps=num_steps // 2, device=noisy_latents.device).flip(0)
    for now, then in zip(up[:-1, None], up[1:, None], strict=True):
        # Predicted at the level it leads to, as the step back down will be.
        noise_pred = guided_noise(
            backend,
            noisy_latents,
            timestep=then,
            prompt_embeds=embeds.source,
            negative_embeds=embeds.negative,
            guidance_scale=1.0,
        )
        noisy_latents, signal = moved(backend, noisy_latents, noise_pred=noise_pred, now=now, then=then)
        yield steps.done(signal, then)
    down = timesteps_down_to_zero(top, num_steps=num_steps - num_steps // 2, device=noisy_latents.device)
    for signal, timestep in denoised(
        backend,
        noisy_latents,
        timesteps=down,
        prompt_embeds=embeds.target,
        negative_embeds=embeds.negative,
        guidance_scale=config.guidance_scale,
    ):
        yield steps.done(signal, timestep)
