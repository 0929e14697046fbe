"""What a denoiser predicts, translated to noise, so that the losses never know the family.

Pure functions on tensors; no model is known here.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from dreammotion_core.errors import BackendError

PredictionType = Literal["epsilon", "v_prediction", "flow_prediction"]

NUM_TRAIN_TIMESTEPS = 1000
"""Timesteps of every family lie in [0, this)."""


def signal_and_noise_scale(alphas_cumprod: Tensor, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of a variance-preserving schedule, shaped to multiply `like`.

    Args:
        alphas_cumprod: (T,) cumulative products of 1 - beta, in (0, 1).
        timestep: (B,) whole numbers in [0, T).
        like: (B, ...) the tensor that will be scaled; gives shape, device and dtype.
    """
    alpha_bar = alphas_cumprod.to(like.device)[timestep.to(like.device)].to(like.dtype)
    alpha_bar = alpha_bar.reshape(-1, *[1] * (like.ndim - 1))
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def flow_signal_and_noise_scale(timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(1 - s, s) of the straight path of flow matching, s = t / 1000, shaped to multiply `like`.

    Args:
        timestep: (B,) numbers in [0, 1000).
        like: (B, ...) the tensor that will be scaled; gives shape, device and dtype.
    """
    sigma = (timestep.to(like.device) / NUM_TRAIN_TIMESTEPS).to(like.dtype)
    sigma = sigma.reshape(-1, *[1] * (like.ndim - 1))
    return 1 - sigma, sigma


def add_noise(latents: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """z_t = alpha z + sigma epsilon, for every family (method sections 1 and 4)."""
    return alpha * latents + sigma * noise


def noise_from_prediction(
    prediction: Tensor, noisy_latents: Tensor, alpha: Tensor, sigma: Tensor, prediction_type: PredictionType
) -> Tensor:
    """The predicted noise, whatever the model was trained to predict.

    Args:
        prediction: the model's output, any shape.
        noisy_latents: z_t, same shape.
        alpha: scale of the signal, broadcastable to it.
        sigma: scale of the noise, likewise.
        prediction_type: ``"epsilon"``; ``"v_prediction"``, where v = alpha epsilon - sigma z; or
            ``"flow_prediction"``, where v = epsilon - z and alpha = 1 - sigma.

    Raises:
        BackendError: for another prediction type.
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
