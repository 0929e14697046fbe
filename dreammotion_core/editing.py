"""The DreamMotion loop: one step = predict, capture keys, match, update (method section 1).

Nothing is held open between two steps: no hook, no autograd mode, no lock.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LinearLR

from dreammotion_core.backends.base import Backend
from dreammotion_core.config import EditConfig
from dreammotion_core.distillation import classifier_free_guidance, masked_direction
from dreammotion_core.errors import NumericsError
from dreammotion_core.events import StepDone
from dreammotion_core.keys import KeyCapture, KeySite
from dreammotion_core.memory import out_of_memory_explained
from dreammotion_core.parameterization import add_noise
from dreammotion_core.similarity import spatial_matching, temporal_matching
from dreammotion_core.values import StepLosses


@dataclass(frozen=True)
class PromptEmbeds:
    """Text embeddings of the two branches and of the unconditional one, each (1, L, D)."""

    source: Tensor
    target: Tensor
    negative: Tensor


def edit_latents(
    backend: Backend,
    source_latents: Tensor,
    prompt_embeds: PromptEmbeds,
    latent_mask: Tensor | None,
    config: EditConfig,
    key_sites: Sequence[KeySite],
) -> Generator[tuple[StepDone, Tensor], None, None]:
    """Optimise a copy of the source latents towards the target prompt.

    Args:
        backend: the frozen video prior.
        source_latents: (1, C, F, h, w) float32.
        prompt_embeds: text embeddings.
        latent_mask: (1, 1, F, h, w) in [0, 1], or None for the whole frame.
        config: settings; `config.seed` must be drawn already.
        key_sites: where to take the keys for matching.

    Yields:
        After every step, what happened and the latents (detached; do not change them in place).

    Raises:
        NumericsError: if the update is not finite.
    """
    generator = torch.Generator().manual_seed(config.seed)
    latents = source_latents.clone()
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[config.optimizer](
        [latents], lr=config.learning_rate
    )
    schedule = LinearLR(
        optimizer,
        start_factor=1.0,
        end_factor=config.learning_rate_end_factor,
        total_iters=config.num_optimization_steps,
    )
    timesteps = draw_timesteps(config, generator).to(latents.device)
    for step in range(1, config.num_optimization_steps + 1):
        started, timestep = time.perf_counter(), timesteps[step - 1 : step]
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        latents.grad, losses = distill_step(
            backend, latents, source_latents, prompt_embeds, latent_mask, timestep, noise, config, key_sites
        )
        norm = float(latents.grad.square().mean().sqrt())
        optimizer.step()
        schedule.step()
        seconds = time.perf_counter() - started
        yield (
            StepDone(step, config.num_optimization_steps, int(timestep), losses, norm, seconds),
            latents.detach(),
        )


def draw_timesteps(config: EditConfig, generator: torch.Generator) -> Tensor:
    """(N,) timesteps of all N steps, drawn uniformly from the range, in the order they are taken."""
    timesteps = torch.randint(*config.timestep_range, (config.num_optimization_steps,), generator=generator)
    return timesteps.sort(descending=True).values if config.timestep_order == "descending" else timesteps


@out_of_memory_explained()
@torch.enable_grad()  # the caller may have switched it off
def distill_step(
    backend: Backend,
    latents: Tensor,
    source_latents: Tensor,
    prompt_embeds: PromptEmbeds,
    latent_mask: Tensor | None,
    timestep: Tensor,
    noise: Tensor,
    config: EditConfig,
    key_sites: Sequence[KeySite],
) -> tuple[Tensor, StepLosses]:
    """The gradient of L_V-DDS + lambda_s L_S + lambda_t L_T on the latents, and the losses.

    Args:
        backend: the frozen video prior.
        latents: (1, C, F, h, w) float32, the optimised variable.
        source_latents: same shape, the source.
        prompt_embeds: text embeddings.
        latent_mask: (1, 1, F, h, w) in [0, 1], or None for the whole frame.
        timestep: (1,), shared with `noise` by both branches and all losses.
        noise: (1, C, F, h, w).
        config: settings.
        key_sites: where to take the keys for matching.

    Returns:
        (1, C, F, h, w) gradient, and the unweighted losses.

    Raises:
        NumericsError: if the gradient is not finite.
    """
    sites = key_sites if config.uses_matching else ()
    variable = latents.detach().clone().requires_grad_(config.uses_matching)
    source_pred, source_keys = predict(
        backend, source_latents, prompt_embeds.source, prompt_embeds.negative, timestep, noise, config, sites
    )
    noise_pred, keys = predict(
        backend, variable, prompt_embeds.target, prompt_embeds.negative, timestep, noise, config, sites
    )

    direction = masked_direction(noise_pred, source_pred, latent_mask)
    spatial, temporal, matching_gradient = match_keys(keys, source_keys, variable, config)
    if latent_mask is not None and config.mask_matching:
        matching_gradient = matching_gradient * latent_mask
    gradient = config.appearance_weight * direction + matching_gradient
    if not torch.isfinite(gradient).all():
        raise NumericsError(
            f"the gradient is not finite at timestep {int(timestep)} (model in {backend.denoiser.dtype}); "
            "lower the learning rate or the matching weights, or load the model in float32"
        )
    return gradient, StepLosses(float(direction.square().mean().sqrt()), spatial, temporal)


def predict(
    backend: Backend,
    latents: Tensor,
    prompt_embeds: Tensor,
    negative_embeds: Tensor,
    timestep: Tensor,
    noise: Tensor,
    config: EditConfig,
    key_sites: Sequence[KeySite],
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """One branch: the guided noise prediction, and the keys of its conditional half from the same pass.

    Both branches run through here in passes of one shape, so that equal inputs give equal bits and cancel
    exactly, which rows of one batch do not promise. Autograd records only if `latents` asks for it, and only
    up to the last key.

    Args:
        backend: the frozen video prior.
        latents: (1, C, F, h, w), the clean latents of the branch.
        prompt_embeds: (1, L, D) of its prompt.
        negative_embeds: (1, L, D) of the unconditional prompt.
        timestep: (1,), shared by the branches.
        noise: (1, C, F, h, w), shared by the branches.
        config: gives the guidance scale.
        key_sites: where to take keys; may be empty.

    Returns:
        (1, C, F, h, w) prediction, and site name -> (1, F, N, C).
    """
    noisy = add_noise(latents, noise, *backend.signal_and_noise(timestep, latents))
    with torch.no_grad():
        noise_pred_uncond = backend.predict_noise(noisy, timestep, negative_embeds)
    capture = KeyCapture(
        backend.denoiser, key_sites, batch_size=1, num_frames=latents.shape[2], stop_recording=True
    )
    with capture:
        noise_pred_text = backend.predict_noise(noisy, timestep, prompt_embeds)
    noise_pred = classifier_free_guidance(noise_pred_uncond, noise_pred_text, config.guidance_scale)
    return noise_pred, capture.keys()


def match_keys(
    keys: Mapping[str, Tensor], source_keys: Mapping[str, Tensor], variable: Tensor, config: EditConfig
) -> tuple[float, float, Tensor]:
    """S-SSM and T-SSM, each the mean over the key sites, and the gradient of their weighted sum.

    Args:
        keys: site name -> (1, F, N, C) of the target; empty when matching is off.
        source_keys: likewise of the source.
        variable: the latents that the target's keys depend on.
        config: gives the weights.

    Returns:
        L_S and L_T before weighting (0 where the weight is 0), and the gradient, shaped like `variable`.
    """
    total = variable.new_zeros(())
    values = []
    for loss, weight in (
        (spatial_matching, config.spatial_weight),
        (temporal_matching, config.temporal_weight),
    ):
        if weight == 0 or not keys:
            values.append(0.0)
            continue
        value = torch.stack([loss(keys[site], source_keys[site]) for site in keys]).mean()
        values.append(value.item())
        total = total + weight * value
    gradient = torch.autograd.grad(total, variable)[0] if total.requires_grad else torch.zeros_like(variable)
    return values[0], values[1], gradient
