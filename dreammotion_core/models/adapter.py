"""The half of an adapter that all model families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dreammotion_core.method.parameterization import (
    PredictionType,
    noise_from_prediction,
    signal_and_noise_scale,
)
from dreammotion_core.models.placement import Checkpointing, Placement
from dreammotion_core.models.text import embed_prompt, prompt_notices
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import Notice


class Adapter:
    """Device, prompts and noise of a video model; a family adds its frames and `_predict`.

    A subclass sets the attributes. See `Backend` for the methods.

    Attributes:
        scheduler: gives the noise levels; a family without one overrides `signal_and_noise`.
        max_tokens: text tokens that the denoiser reads.
        mask_padding: whether the text encoder ignores the padding.
    """

    spec: ModelSpec
    denoiser: Any
    checkpointing: Checkpointing
    prediction_type: PredictionType
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    max_tokens: int
    mask_padding: bool = False
    _placement: Placement

    @property
    def device(self) -> torch.device:
        """The device on which the model works."""
        return self._placement.device

    @property
    def networks(self) -> Sequence[nn.Module]:
        """All networks on whose weights a result depends."""
        return self._placement.parts

    def to(self, device: torch.device | str) -> None:
        """Choose the device; see `LoadOptions.offload`."""
        self._placement.to(device)

    def check_prompt(self, prompt: str) -> tuple[Notice, ...]:
        """Notices about unknown words, and words past the token limit."""
        return prompt_notices(prompt, tokenizer=self.tokenizer, max_tokens=self.max_tokens, spec=self.spec)

    def encode_prompt(self, prompt: str) -> Tensor:
        """(1, L, D) hidden states of the text encoder."""
        return embed_prompt(
            prompt,
            tokenizer=self.tokenizer,
            text_encoder=self._placement.fetch(self.text_encoder),
            max_tokens=self.max_tokens,
            device=self.device,
            mask_padding=self.mask_padding,
        )

    def signal_and_noise(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) of the scheduler at (B,) timesteps, shaped for `like`."""
        return signal_and_noise_scale(self.scheduler.alphas_cumprod, timestep, like)

    def predict_noise(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        """Predicted noise, (B, C, f, h, w) float32, for (B,) timesteps and (B, L, D) embeddings."""
        prediction = self._predict(noisy_latents, timestep, prompt_embeds)
        alpha, sigma = self.signal_and_noise(timestep, noisy_latents)
        return noise_from_prediction(prediction, noisy_latents, alpha, sigma, self.prediction_type)

    def _predict(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        """The denoiser's prediction of its own type, shaped like the latents, in float32."""
        return self._ask(noisy_latents, timestep, prompt_embeds)

    def _ask(self, *inputs: Tensor, **conditions: Any) -> Tensor:
        """The denoiser's output in float32; floating-point inputs are converted to its precision."""
        denoiser = self._placement.fetch(self.denoiser)
        inputs = tuple(x.to(denoiser.dtype) if x.is_floating_point() else x for x in inputs)
        with self.checkpointing():
            answer: Tensor = denoiser(*inputs, **conditions).sample.float()
        return answer
