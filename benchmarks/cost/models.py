"""Denoisers of real families with random weights, built in code: what a step costs needs no training.

Only the denoiser has its real size. Autoencoder and text encoder, which no step calls, are as small as
their classes allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    UNet3DConditionModel,
    WanTransformer3DModel,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Tokenizer

from dreammotion_core import EditConfig
from dreammotion_core.method.prior import Backend, ModelSpec
from dreammotion_core.models.cogvideox import CogVideoXBackend
from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.models.unet3d import UNet3DBackend
from dreammotion_core.models.wan import WanBackend
from dreammotion_core.method.editing import EditTask, PromptEmbeds

STRIDE = 8
"""Pixels per latent on each side, in all families here."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What command lines call them."""


@dataclass(frozen=True)
class RandomModel:
    """A denoiser's configuration, and how to make a backend of it.

    Attributes:
        config: keyword arguments of its class; missing ones are that class's defaults.
        backend_of: makes a backend of configuration and load options, with its weights where torch's
            default device is; takes ``vae`` and ``text_encoder`` by keyword, instead of the smallest ones.
        text_shape: (L, D) of its text embeddings.
    """

    config: Mapping[str, Any]
    backend_of: Callable[..., Backend]
    text_shape: tuple[int, int]

    def build(
        self,
        *,
        device: torch.device | str,
        options: LoadOptions,
        parts: Mapping[str, Callable[[], nn.Module]] | None = None,
    ) -> Backend:
        """A backend on a device, its weights random, the same at every call on one device.

        Args:
            device: where.
            options: precision and profile.
            parts: make its ``vae`` and ``text_encoder``; None takes the smallest ones.
        """
        torch.manual_seed(0)
        found = torch.get_default_dtype()
        # Made where and as they shall be: the weights of large models would not fit twice.
        torch.set_default_dtype(options.dtype)
        try:
            with torch.device(device):
                made = {name: make() for name, make in (parts or {}).items()}
                backend = self.backend_of(self.config, options, **made)
        finally:
            torch.set_default_dtype(found)
        if torch.device(device).type != "cpu":
            backend.to(device)
        return backend


@dataclass(frozen=True, eq=False)
class StepInputs:
    """Everything that one optimisation step takes.

    Attributes:
        task: what does not change from step to step.
        latents: (1, C, f, h, w), a little away from the source.
        timestep: (1,).
        noise: (1, C, f, h, w).
    """

    task: EditTask
    latents: Tensor
    timestep: Tensor
    noise: Tensor


def random_inputs(
    backend: Backend,
    *,
    text_shape: tuple[int, int],
    num_frames: int,
    latent_size: tuple[int, int],
    config: EditConfig | None = None,
) -> StepInputs:
    """Random inputs of a step, the same at every call.

    Args:
        backend: the video prior.
        text_shape: (L, D) of its text embeddings.
        num_frames: frames of the clip, which may be more than those of the latents.
        latent_size: (h, w).
        config: settings; None takes the defaults.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(backend.device)

    num_latent_frames = len(backend.frame_groups(num_frames))
    shape = (1, backend.denoiser.config.in_channels, num_latent_frames, *latent_size)
    source, noise = draw(*shape), draw(*shape)
    mask = torch.ones(1, 1, *shape[2:], device=backend.device)
    embeds = PromptEmbeds(*(draw(1, *text_shape) for _ in range(3)))
    task = EditTask(source, embeds, mask, config or EditConfig(seed=0), backend.key_sites)
    return StepInputs(task, source + 0.1, torch.tensor([500], device=backend.device), noise)


def _spec(family: str) -> ModelSpec:
    return ModelSpec(
        name=f"random-{family}",
        label=f"random weights of the family {family}",
        family=family,
        source="",
        licence="none needed",
        description="For measuring.",
        resolution=(320, 576),
        num_frames=8,
        max_frames=81,
        fps=8.0,
    )


def _unet3d(
    config: Mapping[str, Any], options: LoadOptions, *, vae: Any = None, text_encoder: Any = None
) -> Backend:
    return UNet3DBackend(
        _spec("unet3d"),
        unet=UNet3DConditionModel(**config),
        vae=vae or AutoencoderKL(),
        text_encoder=text_encoder or _smallest_encoder(),
        tokenizer=empty_tokenizer(77),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear"),
        options=options,
    )


def _wan(
    config: Mapping[str, Any], options: LoadOptions, *, vae: Any = None, text_encoder: Any = None
) -> Backend:
    return WanBackend(
        _spec("wan"),
        transformer=WanTransformer3DModel(**config),
        vae=vae or AutoencoderKLWan(base_dim=4, num_res_blocks=1, dim_mult=[1, 1, 1, 1]),
        text_encoder=text_encoder or _smallest_encoder(),
        tokenizer=empty_tokenizer(512),
        options=options,
    )


def _cogvideox(
    config: Mapping[str, Any], options: LoadOptions, *, vae: Any = None, text_encoder: Any = None
) -> Backend:
    return CogVideoXBackend(
        _spec("cogvideox"),
        transformer=CogVideoXTransformer3DModel(**config),
        vae=vae
        or AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            layers_per_block=1,
            norm_num_groups=2,
        ),
        text_encoder=text_encoder or _smallest_encoder(),
        tokenizer=empty_tokenizer(226),
        scheduler=CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True),
        options=options,
    )


def _smallest_encoder() -> CLIPTextModel:
    """For models whose prompts are drawn instead of encoded."""
    width = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    words = {"vocab_size": 3, "bos_token_id": 0, "eos_token_id": 1}
    return CLIPTextModel(CLIPTextConfig(**width, **words, num_hidden_layers=1))


def empty_tokenizer(max_tokens: int) -> T5Tokenizer:
    """One without words.

    Args:
        max_tokens: how many tokens of a prompt its model reads.
    """
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)], model_max_length=max_tokens)


_SMALL_TRANSFORMER = {"num_attention_heads": 4, "num_layers": 9}

MODELS: Mapping[str, RandomModel] = {
    "unet3d-64": RandomModel(
        {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 256}, _unet3d, (77, 256)
    ),
    "wan-small": RandomModel(
        {**_SMALL_TRANSFORMER, "attention_head_dim": 64, "ffn_dim": 1024, "text_dim": 256}, _wan, (512, 256)
    ),
    "cogvideox-small": RandomModel({**_SMALL_TRANSFORMER, "text_embed_dim": 256}, _cogvideox, (226, 256)),
    "zeroscope": RandomModel({}, _unet3d, (77, 1024)),
    "modelscope": RandomModel({}, _unet3d, (77, 1024)),
    "wan-1.3b": RandomModel(
        {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}, _wan, (512, 4096)
    ),
    "wan-14b": RandomModel({}, _wan, (512, 4096)),
    "cogvideox-2b": RandomModel({"num_attention_heads": 30, "num_layers": 30}, _cogvideox, (226, 4096)),
    "cogvideox-5b": RandomModel(
        {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True},
        _cogvideox,
        (226, 4096),
    ),
}
"""Three small ones of the families, for a CPU, and the exact shapes of published models.

What is not given is as diffusers' classes have it, whose defaults are ZeroScope, Wan 14B and CogVideoX 2B.
"""

CASES: Mapping[str, tuple[tuple[int, int], tuple[int, ...]]] = {
    "zeroscope": ((320, 576), (8, 16, 24)),
    "wan-1.3b": ((480, 832), (17, 33)),
    "cogvideox-2b": ((320, 576), (17, 33)),
}
"""Exact model -> (height, width) of a clip in pixels, and numbers of frames to measure."""
