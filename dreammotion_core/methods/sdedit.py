"""SDEdit: noise the clip up to some level, then denoise it towards the target prompt."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dreammotion_core.method.prior import Backend
from dreammotion_core.method.editing import EditTask
from dreammotion_core.events import StepDone
from dreammotion_core.methods.denoising import Steps, denoised, timesteps_down_to_zero
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.method.source_cache import SourceCache


def sdedit(
    backend: Backend, task: EditTask, *, source_cache: SourceCache | None = None
) -> Iterator[tuple[StepDone, Tensor]]:
    """Forget the fine parts of the clip in noise and draw them anew.

    ``config.strength`` says how far up the timestep range the noise goes: little changes at 0.3, little is
    left of the source at 0.9. Arguments, yields and errors as of `Method`; nothing is cached.

    Source: Meng et al., SDEdit (ICLR 2022).
    """
    del source_cache
    config, embeds, source = task.config, task.prompt_embeds, task.source_latents
    start = config.strength * (config.timestep_range[1] - 1)
    timesteps = timesteps_down_to_zero(start, num_steps=config.num_optimization_steps, device=source.device)
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(source.shape, generator=generator).to(source.device)
    steps = Steps(config.num_optimization_steps, source)
    for signal, timestep in denoised(
        backend,
        add_noise(source, noise, *backend.signal_and_noise(timesteps[:1], source)),
        timesteps=timesteps,
        prompt_embeds=embeds.target,
        negative_embeds=embeds.negative,
        guidance_scale=config.guidance_scale,
    ):
        yield steps.done(signal, timestep)
