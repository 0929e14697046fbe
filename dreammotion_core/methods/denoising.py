"""Deterministic steps along the noise levels, the same few lines for every model family.

With a variance-preserving schedule this is DDIM, with flow matching it is Euler's method.

Source: Song et al., Denoising Diffusion Implicit Models (ICLR 2021), equation 12 without noise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from dreammotion_core.method.prior import Backend
from dreammotion_core.method.distillation import classifier_free_guidance
from dreammotion_core.errors import NumericsError
from dreammotion_core.events import StepDone
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.method.parameterization import add_noise
from dreammotion_core.values import StepLosses


def timesteps_down_to_zero(start: float, *, num_steps: int, device: torch.device) -> Tensor:
    """(num_steps + 1,) whole timesteps from `start` to 0, evenly spaced."""
    return torch.linspace(start, 0, num_steps + 1).round().long().to(device)


@device_failures_explained()
@torch.no_grad()
def guided_noise(
    backend: Backend,
    noisy_latents: Tensor,
    *,
    timestep: Tensor,
    prompt_embeds: Tensor,
    negative_embeds: Tensor,
    guidance_scale: float,
) -> Tensor:
    """The noise prediction under classifier-free guidance.

    Args:
        backend: the video prior.
        noisy_latents: (1, C, f, h, w).
        timestep: (1,).
        prompt_embeds: (1, L, D).
        negative_embeds: (1, L, D) of the unconditional prompt.
        guidance_scale: s in ``uncond + s * (text - uncond)``; 1 costs a single prediction.
    """
    with_text = backend.predict_noise(noisy_latents, timestep, prompt_embeds)
    if guidance_scale == 1:
        return with_text
    without_text = backend.predict_noise(noisy_latents, timestep, negative_embeds)
    return classifier_free_guidance(without_text, with_text, guidance_scale)


def moved(
    backend: Backend, noisy_latents: Tensor, *, noise_pred: Tensor, now: Tensor, then: Tensor
) -> tuple[Tensor, Tensor]:
    """Latents carried from one noise level to another along a noise prediction.

    Args:
        backend: knows its schedule.
        noisy_latents: (1, C, f, h, w) at timestep `now`.
        noise_pred: of the same shape.
        now: (1,).
        then: (1,), lower or higher.

    Returns:
        The latents at `then`, and the clean signal that the prediction implies.
    """
    alpha, sigma = backend.signal_and_noise(now, noisy_latents)
    signal = (noisy_latents - sigma * noise_pred) / alpha
    return add_noise(signal, noise_pred, *backend.signal_and_noise(then, noisy_latents)), signal


class Steps:
    """Counts the steps of a method and reports each.

    Args:
        num_steps: of them in all.
        latents: clean latents before the first.
    """

    def __init__(self, num_steps: int, latents: Tensor) -> None:
        self._num_steps, self._latents = num_steps, latents
        self._step, self._started = 0, time.perf_counter()

    def done(self, latents: Tensor, timestep: Tensor) -> tuple[StepDone, Tensor]:
        """What a method yields after a step that has led to these clean latents.

        Raises:
            NumericsError: if they are not finite.
        """
        if not torch.isfinite(latents).all():
            raise NumericsError(
                f"the latents are not finite at timestep {int(timestep)}; "
                "lower the guidance scale, or load the model in float32"
            )
        change = float((latents - self._latents).square().mean().sqrt())
        seconds, self._started = time.perf_counter() - self._started, time.perf_counter()
        self._latents, self._step = latents, self._step + 1
        losses = StepLosses(appearance=change, spatial=0.0, temporal=0.0)
        return StepDone(self._step, self._num_steps, int(timestep), losses, change, seconds), latents


def denoised(
    backend: Backend,
    noisy_latents: Tensor,
    *,
    timesteps: Tensor,
    prompt_embeds: Tensor,
    negative_embeds: Tensor,
    guidance_scale: float,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Walk from the first timestep to the last, denoising towards a prompt.

    Args:
        backend: the video prior.
        noisy_latents: (1, C, f, h, w) at ``timesteps[0]``.
        timesteps: (n + 1,), falling.
        prompt_embeds: (1, L, D).
        negative_embeds: (1, L, D) of the unconditional prompt.
        guidance_scale: s in ``uncond + s * (text - uncond)``.

    Yields:
        After each of n steps, the clean signal as it is predicted by now, and the timestep that was left.
    """
    for now, then in zip(timesteps[:-1, None], timesteps[1:, None], strict=True):
        noise_pred = guided_noise(
            backend,
            noisy_latents,
            timestep=now,
            prompt_embeds=prompt_embeds,
            negative_embeds=negative_embeds,
            guidance_scale=guidance_scale,
        )
        noisy_latents, signal = moved(backend, noisy_latents, noise_pred=noise_pred, now=now, then=then)
        yield signal, now
