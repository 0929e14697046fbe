"""Video delta denoising score: where the appearance has to go (method section 1, item 1).

Pure functions: tensors in, tensors out.
"""

from __future__ import annotations

import torch
from torch import Tensor


def classifier_free_guidance(
    noise_pred_uncond: Tensor, noise_pred_text: Tensor, guidance_scale: float
) -> Tensor:
    """``uncond + s * (text - uncond)``: s = 1 is the plain conditional prediction.

    Source: Ho and Salimans 2022, in the form that diffusers and the DDS authors use.
    """
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


def masked_direction(noise_pred: Tensor, source_noise_pred: Tensor, latent_mask: Tensor | None) -> Tensor:
    """The V-DDS direction m * (epsilon(x_t, t, y) - epsilon(x^_t, t, y^)).

    Both predictions carry the same noise, so their shared error cancels and what is left points from
    the source prompt to the target prompt. The U-Net's Jacobian is dropped as in SDS: this *is* the
    gradient on the latents.

    Args:
        noise_pred: (1, C, F, h, w) guided prediction of the target branch.
        source_noise_pred: same shape, the source branch.
        latent_mask: (1, 1, F, h, w) in [0, 1], or None for the whole frame.

    Returns:
        (1, C, F, h, w), exactly 0 where the mask is 0.

    Source: DreamMotion (ECCV 2024), masked V-DDS; Hertz et al. 2023 for DDS.
    """
    direction = (noise_pred - source_noise_pred).detach()
    return direction if latent_mask is None else direction * latent_mask


def velocity_direction(direction: Tensor, difference: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The same direction as a difference of velocities v = epsilon - z, as flow matching defines them.

    A prediction epsilon implies the clean latents z = (z_t - sigma epsilon) / alpha. With the noise shared by
    both branches, the difference of their velocities is
    (alpha + sigma) / alpha * direction - (x - x^): the timesteps are weighted in another way, and the pull
    towards the source is gone that the difference of the noises contains. For flow matching, where
    alpha + sigma = 1, it is exactly the difference of what the model predicts.

    Args:
        direction: (1, C, F, h, w) difference of the predicted noises, `masked_direction`.
        difference: same shape, the latents less those of the source, under the same mask.
        alpha: scale of the signal, broadcastable.
        sigma: scale of the noise, likewise.

    Returns:
        (1, C, F, h, w).
    """
    return (alpha + sigma) / alpha * direction - difference


def shortened(gradient: Tensor, *, direction: Tensor, limit: float) -> Tensor:
    """A gradient made no longer than so many times another one; the same bits where it is not longer.

    Args:
        gradient: any shape.
        direction: the same shape.
        limit: most that the norm of `gradient` may be, in norms of `direction`.
    """
    norm, longest = torch.linalg.vector_norm(gradient), limit * torch.linalg.vector_norm(direction)
    share: Tensor = longest / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return gradient * share.clamp_max(1)
