"""Masked V-DDS: the direction from the source prompt to the target prompt. Pure functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dreammotion_core.values import Mask


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


def latent_mask(mask: Mask, latents: Tensor, *, groups: Sequence[range]) -> Tensor:
    """The mask on the latent grid: 1 where a latent touches a selected pixel (docs/method.md, equation 13).

    The maximum, unlike the mean, lets the whole object change; the composite cuts the outline exactly. The
    result is (1, 1, f, h, w) float32 on the device of the (1, C, f, h, w) latents; each of these stands for a
    group of frames.
    """
    grouped = torch.stack([torch.from_numpy(mask[group.start : group.stop]).any(dim=0) for group in groups])
    pooled = F.adaptive_max_pool2d(grouped.float()[:, None], latents.shape[-2:])
    return pooled.transpose(0, 1)[None].to(latents.device)


def object_shares(masks: Sequence[Mask], latents: Tensor, *, groups: Sequence[range]) -> list[Tensor]:
    """How much of each latent belongs to each of several objects, which may touch or overlap.

    The shares add up to 1 at every latent, (1, 1, f, h, w) float32 each; where there is no object, all
    belongs to the first.
    """
    covered, grid = [], (latents.shape[-2], latents.shape[-1])
    for mask in masks:
        pictures = (torch.from_numpy(mask[group.start : group.stop]).float().mean(dim=0) for group in groups)
        covered.append(F.adaptive_avg_pool2d(torch.stack([*pictures])[:, None], grid))
    total = torch.stack(covered).sum(dim=0)
    covered[0] = torch.where(total > 0, covered[0], torch.ones_like(total))
    total = torch.where(total > 0, total, torch.ones_like(total))
    return [(each / total).transpose(0, 1)[None].to(latents.device) for each in covered]
