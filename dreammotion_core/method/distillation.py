"""Masked V-DDS: the direction from the source prompt to the target prompt. Pure functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def classifier_free_guidance(
    noise_pred_uncond: Tensor, noise_pred_text: Tensor, guidance_scale: float
) -> Tensor:
    """``uncond + s * (text - uncond)``; s = 1 is the conditional prediction (docs/method.md, equation 2).

    Source: Ho and Salimans 2022, in the form of diffusers and DDS.
    """
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


def masked_direction(noise_pred: Tensor, source_noise_pred: Tensor, latent_mask: Tensor | None) -> Tensor:
    """The V-DDS direction m * (epsilon(x_t, t, y) - epsilon(x^_t, t, y^)) (docs/method.md, equation 3).

    Both predictions share the noise, so their common error cancels. The network's Jacobian is dropped as in
    SDS: the direction is the gradient on the latents. Predictions and direction are (1, C, F, h, w); the mask
    is (1, 1, F, h, w) in [0, 1], or None for the whole frame.

    Source: DreamMotion (ECCV 2024); Hertz et al. 2023 for DDS.
    """
    direction = (noise_pred - source_noise_pred).detach()
    return direction if latent_mask is None else direction * latent_mask


def velocity_direction(direction: Tensor, difference: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The direction as a difference of velocities v = epsilon - z (docs/method.md, equation 12).

    A predicted noise epsilon implies the clean latents z = (z_t - sigma epsilon) / alpha. With shared noise,
    the difference of the velocities is (alpha + sigma) / alpha * direction - (x - x^). It weighs timesteps
    differently and has no pull towards the source. For flow matching, where alpha + sigma = 1, it is exactly
    the difference of the model's predictions. `direction` is that of the noises, `difference` x - x^ under
    the same mask, both (1, C, F, h, w).
    """
    return (alpha + sigma) / alpha * direction - difference


def shortened(gradient: Tensor, *, direction: Tensor, limit: float) -> Tensor:
    """A gradient of at most `limit` times the norm of a direction (docs/method.md, equation 14).

    A gradient within the limit keeps its bits.
    """
    norm, longest = torch.linalg.vector_norm(gradient), limit * torch.linalg.vector_norm(direction)
    share: Tensor = longest / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return gradient * share.clamp_max(1)
