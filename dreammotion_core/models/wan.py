"""Wan 2.1 text-to-video and models of its kind: flow matching over the latents of a video autoencoder.

The denoiser attends to all tokens of space and time at once, and to the text by cross-attention.
"""

from __future__ import annotations

from typing import Any, Self

from diffusers import WanTransformer3DModel
from torch import Tensor

from dreammotion_core.errors import ModelLoadError
from dreammotion_core.method.parameterization import PredictionType, flow_signal_and_noise_scale
from dreammotion_core.models.loading import ModelFiles
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.models.text import token_limit
from dreammotion_core.models.video_transformer import VideoTransformerBackend, load_parts
from dreammotion_core.spec import ModelSpec

PARTS = ("transformer", "vae", "text_encoder", "tokenizer")
"""Without the scheduler: the straight path of flow matching has no settings."""

MAX_TOKENS = 512
"""Text tokens that Wan reads; a tokenizer with a lower limit keeps it."""


class WanBackend(VideoTransformerBackend):
    """A Wan transformer over a video autoencoder, with a text encoder; parts as from `load_parts`."""

    prediction_type: PredictionType = "flow_prediction"

    def __init__(self, spec: ModelSpec, **parts: Any) -> None:
        tokenizer = parts["tokenizer"]
        trained = min(MAX_TOKENS, tokenizer.model_max_length)
        super().__init__(
            spec,
            blocks="blocks",
            patch_size=parts["transformer"].config.patch_size[-1],
            max_tokens=token_limit(tokenizer, text_encoder=parts["text_encoder"], trained=trained),
            **parts,
        )

    @classmethod
    def from_pretrained(cls, spec: ModelSpec, *, options: LoadOptions) -> Self:
        """Load all parts from a folder, or at the pinned revision from the hub; errors as in `ModelFiles`."""
        files = ModelFiles(spec, parts=PARTS)
        _check_variant(files)
        return cls(spec, **load_parts(files, WanTransformer3DModel, options=options))

    def signal_and_noise(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(1 - s, s) with s = t / 1000 at (B,) timesteps, shaped for `like`."""
        return flow_signal_and_noise_scale(timestep, like)


def _check_variant(files: ModelFiles) -> None:
    config, source = files.read_json("transformer/config.json"), files.spec.source
    if config.get("image_dim") is not None or config.get("in_channels") != config.get("out_channels"):
        raise ModelLoadError(
            f"{source} is a variant of Wan that wants a picture beside the text; pass a text-to-video "
            "variant (T2V)"
        )
    if files.manifest.get("boundary_ratio") is not None:
        raise ModelLoadError(
            f"{source} has two transformers, one for each end of the noise, as Wan 2.2 A14B does; pass a "
            "model with one, such as Wan 2.1"
        )
