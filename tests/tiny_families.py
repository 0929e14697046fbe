"""Every model family at tiny size: what the contract test runs over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dreammotion_core.method.prior import Backend
from tests.tiny import save_tiny_unet3d, tiny_unet3d
from tests.tiny_animatediff import save_tiny_animatediff, tiny_animatediff
from tests.tiny_cascade import save_tiny_cascade, tiny_cascade
from tests.tiny_video import save_tiny_cogvideox, save_tiny_wan, tiny_cogvideox, tiny_wan


@dataclass(frozen=True)
class Family:
    """How to get a tiny model of a family, and what its denoiser has to answer.

    Attributes:
        build: makes a backend with random weights, the same at every call.
        save: writes the same model as a folder, which it returns.
        num_frames: length of a clip that the model takes.
        right_answer: (latents, noise, alpha, sigma) -> the output of a denoiser that makes no mistake.
        denoiser_folder: name of its subfolder.
    """

    build: Callable[[], Backend]
    save: Callable[[Path], Path]
    num_frames: int
    right_answer: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    denoiser_folder: str = "transformer"


def noise_itself(_latents: Tensor, noise: Tensor, _alpha: Tensor, _sigma: Tensor) -> Tensor:
    return noise


def velocity_of_flow(latents: Tensor, noise: Tensor, _alpha: Tensor, _sigma: Tensor) -> Tensor:
    return noise - latents


def noise_with_variance(_latents: Tensor, noise: Tensor, _alpha: Tensor, _sigma: Tensor) -> Tensor:
    return torch.cat([noise, torch.full_like(noise, 9.0)], dim=1)


def v_frames_first(latents: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return (alpha * noise - sigma * latents).transpose(1, 2)


FAMILIES = {
    "unet3d": Family(tiny_unet3d, save_tiny_unet3d, 3, noise_itself, denoiser_folder="unet"),
    "animatediff": Family(tiny_animatediff, save_tiny_animatediff, 5, noise_itself, denoiser_folder="unet"),
    "cascade": Family(tiny_cascade, save_tiny_cascade, 9, noise_with_variance, denoiser_folder="unet"),
    "wan": Family(tiny_wan, save_tiny_wan, 9, velocity_of_flow),
    "cogvideox": Family(tiny_cogvideox, save_tiny_cogvideox, 9, v_frames_first),
    "cogvideox-rotary": Family(
        partial(tiny_cogvideox, rotary=True), partial(save_tiny_cogvideox, rotary=True), 9, v_frames_first
    ),
}
"""Name -> family, or variant of one."""
