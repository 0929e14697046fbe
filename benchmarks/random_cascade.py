"""Show-1 with random weights, all of its networks in their exact shapes; see `random_models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel, UNet3DConditionModel
from torch import nn

from benchmarks.cost.models import empty_tokenizer
from dreammotion_core.models.cascade.backend import CascadeBackend
from dreammotion_core.backends.cascade_loading import CascadeStages
from dreammotion_core.backends.cascade_sampling import PixelStage
from dreammotion_core.backends.cascade_show1 import SHOW_1_MANIFEST
from dreammotion_core.models.catalog import SHOW_1, ZEROSCOPE
from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.models.cascade.unet import Show1UNet
from dreammotion_core.models.unet3d import UNet3DBackend

TEXT_WIDTH = 4096
"""Of the text encoder that all stages in pixels share."""
NUM_TOKENS = 77
"""That all stages read."""

_COMMON: Mapping[str, Any] = {
    "act_fn": "gelu",
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 64,
    "attention_head_dim": 64,
    "cross_attention_norm": "group_norm",
    "encoder_hid_dim": TEXT_WIDTH,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "out_channels": 6,
    "resnet_time_scale_shift": "scale_shift",
}


def _levels(num_plain: int, num_attending: int) -> dict[str, tuple[str, ...]]:
    down = ("ResnetDownsampleBlock3D",) * num_plain + ("SimpleCrossAttnDownBlock3D",) * num_attending
    up = ("SimpleCrossAttnUpBlock3D",) * num_attending + ("ResnetUpsampleBlock3D",) * num_plain
    return {"down_block_types": down, "up_block_types": up}


BASE: dict[str, Any] = {
    **_COMMON,
    **_levels(1, 3),
    "sample_size": 64,
    "in_channels": 3,
    "block_out_channels": (320, 640, 960, 1280),
    "layers_per_block": 3,
    "cross_attention_dim": 1280,
}
"""Configuration of the U-Net of the key frames; below, those of the later stages in pixels."""
INTERPOLATION = BASE | {"in_channels": 7}
SUPER_RESOLUTION: dict[str, Any] = {
    **_COMMON,
    **_levels(3, 2),
    "in_channels": 6,
    "block_out_channels": (128, 256, 512, 768, 768),
    "layers_per_block": (2, 2, 3, 4, 2),
    "cross_attention_dim": 768,
    "class_embed_type": "timestep",
    "mid_block_scale_factor": 1.4142271248762552,
    "resnet_out_scale_factor": 1.4142271248762552,
    "resnet_skip_time_act": True,
    "time_embedding_act_fn": "gelu",
    "time_embedding_dim": 768,
}
LATENT: dict[str, Any] = {}
"""Of the last stage, which is as large as ZeroScope, the default of diffusers' class."""
FIRST_FRAME = SUPER_RESOLUTION | {
    "block_out_channels": (160, 320, 640, 960, 1280),
    "layers_per_block": (2, 2, 3, 5, 5),
    "cross_attention_dim": 1280,
    "time_embedding_dim": 1280,
}


def as_image_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same levels as diffusers' image U-Net spells them."""
    levels = {
        key: tuple(name.replace("3D", "2D") for name in config[key])
        for key in ("down_block_types", "up_block_types")
    }
    rest = {"in_channels": 3, "out_channels": 6, "mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}
    return {**rest, **config, **levels}


def published_cascade(
    options: LoadOptions,
    *,
    text_encoder: Callable[[], nn.Module],
    latent_parts: Mapping[str, Callable[[], nn.Module]],
) -> CascadeBackend:
    """All of Show-1, in the precision of the options.

    Args:
        options: precision and profile.
        text_encoder: makes the one that the stages in pixels share.
        latent_parts: make ``vae`` and ``text_encoder`` of the last stage.
    """
    found = torch.get_default_dtype()
    torch.set_default_dtype(options.dtype)
    try:
        picture = as_image_config(FIRST_FRAME) | {"encoder_hid_dim_type": "text_proj"}
        stages = CascadeStages(
            key_frames=_stage(Show1UNet(**BASE)),
            interpolation=_stage(Show1UNet(**INTERPOLATION)),
            super_resolution=(
                _stage(UNet2DConditionModel(**picture)),
                _stage(Show1UNet(**SUPER_RESOLUTION)),
            ),
            latent=UNet3DBackend(
                ZEROSCOPE,
                unet=UNet3DConditionModel(**LATENT),
                tokenizer=empty_tokenizer(77),
                scheduler=DDIMScheduler(),
                options=options,
                **{name: make() for name, make in latent_parts.items()},
            ),
        )
        return CascadeBackend(
            SHOW_1,
            manifest=SHOW_1_MANIFEST,
            tokenizer=empty_tokenizer(77),
            text_encoder=text_encoder(),
            stages=stages,
            options=options,
        )
    finally:
        torch.set_default_dtype(found)


def _stage(unet: nn.Module) -> PixelStage:
    return PixelStage(unet, DDIMScheduler())
