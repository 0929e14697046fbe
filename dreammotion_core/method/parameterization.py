"""The noise of each step, and a prediction as noise, so that the losses do not know the model family.

Pure functions.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dreammotion_core.errors import BackendError

PredictionType = Literal["epsilon", "v_prediction", "flow_prediction"]

NUM_TRAIN_TIMESTEPS = 1000
"""Every family's timesteps lie in [0, 1000)."""


def signal_and_noise_scale(alphas_cumprod: Tensor, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of a variance-preserving schedule, shaped to multiply `like`, (B, ...).

    The products of 1 - beta are (T,) in (0, 1), the timesteps (B,) whole numbers in [0, T).
    """
    alpha_bar = alphas_cumprod.to(like.device)[timestep.to(like.device)].to(like.dtype)
    alpha_bar = alpha_bar.reshape(-1, *[1] * (like.ndim - 1))
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def flow_signal_and_noise_scale(timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(1 - s, s) of flow matching at (B,) timesteps, s = t / 1000, shaped to multiply `like`."""
    sigma = (timestep.to(like.device) / NUM_TRAIN_TIMESTEPS).to(like.dtype)
    sigma = sigma.reshape(-1, *[1] * (like.ndim - 1))
    return 1 - sigma, sigma


def draw_noise(seed: int, *, step: int, like: Tensor, first_frame: int = 0) -> Tensor:
    """Gaussian noise that depends only on the seed, the step and the place of each latent frame in the clip.

    So all windows of a clip that share a frame share its noise, and a clip's beginning draws what the whole
    clip draws. `like` is (1, C, f, h, w), the latents from `first_frame` on; seed and step count from 0.
    """
    _, channels, num_frames, height, width = like.shape
    generators = (
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(step, frame)))
        for frame in range(first_frame, first_frame + num_frames)
    )
    frames = [generator.standard_normal((channels, height, width), np.float32) for generator in generators]
    return torch.from_numpy(np.stack(frames, axis=1))[None].to(like.device)


def seeded_generator(seed: int) -> torch.Generator:
    """A generator on the CPU for which all 64 bits of the seed count; PyTorch's own takes the lowest 32.

    Seeds below 2^32 give what they give there.
    """
    if seed >> 32:
        seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return torch.Generator().manual_seed(seed)


def add_noise(latents: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """z_t = alpha z + sigma epsilon, for every family (docs/method.md, equation 1)."""
    return alpha * latents + sigma * noise


def noise_from_prediction(
    prediction: Tensor, noisy_latents: Tensor, alpha: Tensor, sigma: Tensor, prediction_type: PredictionType
) -> Tensor:
    """The noise that a model's prediction implies (docs/method.md, equations 10 and 11).

    The types are ``"epsilon"``; ``"v_prediction"``, where v = alpha epsilon - sigma z; and
    ``"flow_prediction"``, where v = epsilon - z and alpha = 1 - sigma. Another raises `BackendError`.
    """
    if prediction_type == "epsilon":
        return prediction
    if prediction_type == "v_prediction":
        return alpha * prediction + sigma * noisy_latents
    if prediction_type == "flow_prediction":
        return noisy_latents + alpha * prediction
    raise BackendError(
        f"the scheduler's prediction type is {prediction_type!r}; "
        "'epsilon', 'v_prediction' and 'flow_prediction' can be translated to noise"
    )
