"""What the loop needs of a video prior, whatever its family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from dreammotion_core.keys import KeySite
from dreammotion_core.values import Notice


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The facts about a model that a user or the loop has to know before loading it.

    Attributes:
        name: short name, also accepted by `from_pretrained`.
        label: how the page calls it.
        family: adapter that loads it, for example ``"unet3d"``.
        source: local folder, or hub id.
        revision: pinned commit of a hub id; None for a folder.
        licence: licence of the weights, in a few words.
        size_bytes: size of the weights; 0 when unknown.
        description: what it can and cannot do, in plain words.
        resolution: (height, width) in pixels it was trained at; other shapes keep this area.
        size_multiple: both sides must be multiples of this many pixels.
        num_frames: frames it was trained at.
        max_frames: most frames it edits at once.
        fps: frames a second it was trained at.
        vocabulary: the only words it knows, or None for an open vocabulary.
        precision: in what the loaded denoiser computes, such as ``"bfloat16"``.
    """

    name: str
    label: str
    family: str
    source: str
    licence: str
    description: str
    resolution: tuple[int, int]
    num_frames: int
    max_frames: int
    fps: float
    revision: str | None = None
    size_bytes: int = 0
    size_multiple: int = 16
    vocabulary: tuple[str, ...] | None = None
    precision: str = "float32"

    @property
    def is_local(self) -> bool:
        """Whether the source is a folder rather than a hub id."""
        return self.revision is None

    def is_ready(self) -> bool:
        """Whether the weights are on this machine already; touches no network."""
        if self.is_local:
            return (Path(self.source) / "model_index.json").is_file()
        from huggingface_hub import try_to_load_from_cache

        return isinstance(
            try_to_load_from_cache(self.source, "unet/config.json", revision=self.revision), str
        )

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) the model works at for a clip of that size: same shape, trained area."""
        height, width = size
        scale = math.sqrt(self.resolution[0] * self.resolution[1] / (height * width))
        multiple = self.size_multiple
        return (
            max(multiple, round(height * scale / multiple) * multiple),
            max(multiple, round(width * scale / multiple) * multiple),
        )


class Backend(Protocol):
    """A text-to-video prior that answers in noise.

    Everything outside the denoiser runs without autograd; the denoiser's parameters are frozen, so
    that gradients exist only for the latents.
    """

    spec: ModelSpec
    denoiser: nn.Module
    key_sites: Sequence[KeySite]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def to(self, device: torch.device | str) -> None:
        """Move all weights to a device."""

    def check_prompt(self, prompt: str) -> tuple[Notice, ...]:
        """What the user should know about a prompt: unknown words, words past the token limit."""

    def encode_prompt(self, prompt: str) -> Tensor:
        """(1, L, D) text embeddings."""

    def encode_video(self, frames: Tensor) -> Tensor:
        """(F, 3, H, W) RGB in [-1, 1] to (1, C, F, h, w) float32 latents of about unit variance."""

    def decode_video(self, latents: Tensor) -> Tensor:
        """(1, C, F, h, w) latents to (F, 3, H, W) float32 RGB, roughly in [-1, 1]."""

    def add_noise(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Latents at a timestep; all (B, C, F, h, w) with `timestep` (B,)."""

    def predict_noise(self, noisy_latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        """Predicted noise, (B, C, F, h, w) float32, for (B,) timesteps and (B, L, D) embeddings."""
