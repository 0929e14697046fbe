"""What the method asks of a video model, whatever its family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dreammotion_core.method.keys import KeySite
from dreammotion_core.method.parameterization import PredictionType
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import Notice


class Checkpointing(Protocol):
    """Which layers of the denoiser are computed again; all, if `is_sparing` because memory ran out."""

    is_sparing: bool

    def __call__(self) -> AbstractContextManager[None]:
        """The context in which the denoiser is called."""

    def spare(self) -> bool:
        """Compute all layers again from now on; False if nothing more can be spared."""

    def relax(self) -> None:
        """Return to what the load options ask for."""


class Backend(Protocol):
    """A text-to-video model that answers in noise, whatever it was trained to predict.

    Everything outside the denoiser runs without autograd. The denoiser's parameters are frozen, so that only
    the latents have gradients.
    """

    spec: ModelSpec
    denoiser: nn.Module
    key_sites: Sequence[KeySite]
    checkpointing: Checkpointing
    prediction_type: PredictionType

    @property
    def device(self) -> torch.device:
        """The device on which the model works."""

    @property
    def networks(self) -> Sequence[nn.Module]:
        """All networks on whose weights a result depends."""

    def to(self, device: torch.device | str) -> None:
        """Move all weights to a device."""

    def check_prompt(self, prompt: str) -> tuple[Notice, ...]:
        """Notices about a prompt: unknown words, and words past the token limit."""

    def encode_prompt(self, prompt: str) -> Tensor:
        """(1, L, D) text embeddings."""

    def encode_video(self, frames: Tensor) -> Tensor:
        """(F, 3, H, W) RGB in [-1, 1] to (1, C, f, h, w) float32 latents of about unit variance."""

    def decode_video(self, latents: Tensor) -> Tensor:
        """(1, C, f, h, w) latents to (F, 3, H, W) float32 RGB, roughly in [-1, 1]; a cascade's quick look."""

    def frame_groups(self, num_frames: int) -> Sequence[range]:
        """The frames of a clip that each latent frame stands for."""

    def signal_and_noise(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) of docs/method.md, equation 1, at (B,) timesteps in [0, 1000), shaped for `like`."""

    def predict_noise(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        """Predicted noise, (B, C, f, h, w) float32, for (B,) timesteps and (B, L, D) embeddings."""


@dataclass(frozen=True, eq=False)
class RenderedStage:
    """The output of a later stage of a cascade, by its name in `ModelSpec.stages`.

    The frames are (F, 3, H, W) float32 RGB, roughly in [-1, 1], at the stage's own size.
    """

    name: str
    frames: Tensor


class SamplingJournal(Protocol):
    """Keeps what later stages draw, one sampling after the other and step by step, so that they can go on.

    A process that goes on asks for the same samplings in the same order.
    """

    def next_sampling(self) -> tuple[int, Mapping[str, Tensor]]:
        """Begin the next sampling: how many of its steps are kept, and the tensors after them."""

    def keep(self, step: int, tensors: Mapping[str, Tensor], *, is_last: bool) -> None:
        """Keep the tensors after a step of the sampling."""


@runtime_checkable
class RendersInStages(Protocol):
    """A cascade: key frames are optimised, and later stages make the clip from them."""

    def render(
        self,
        latents: Tensor,
        *,
        size: tuple[int, int],
        prompt: str,
        negative_prompt: str,
        generator: torch.Generator,
        journal: SamplingJournal | None = None,
    ) -> Iterator[RenderedStage]:
        """Run the stages after the first, one at each step of the iterator.

        The latents are (1, C, f, h, w) key frames, the size (H, W) that of the last stage, by
        `ModelSpec.fit_size`. The generator draws all noise, on the CPU.
        """
