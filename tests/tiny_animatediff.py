"""A tiny AnimateDiff with random weights: an image U-Net with motion modules, the rest as in `tests.tiny`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel

from dreammotion_core.models.unet3d import UNet3DBackend
from tests.tiny import tiny_parts
from tests.tiny_video import save_parts, tiny_video_spec


def tiny_animatediff_parts() -> dict[str, Any]:
    """The parts, made as a user makes them: an image model, and motion modules for it."""
    parts: dict[str, Any] = tiny_parts()
    torch.manual_seed(0)
    image_unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    )
    adapter = MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
        motion_max_seq_length=9,
    )
    for name, parameter in adapter.named_parameters():
        # Their last layer starts at zero, which would hide them.
        if "proj_out" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return parts | {
        "unet": UNetMotionModel.from_unet2d(image_unet, adapter),
        "scheduler": DDIMScheduler.from_config(parts["scheduler"].config, beta_schedule="linear"),
    }


def tiny_animatediff() -> UNet3DBackend:
    """A working backend with random weights."""
    return UNet3DBackend(tiny_video_spec("animatediff", frame_step=1), **tiny_animatediff_parts())


def save_tiny_animatediff(folder: Path) -> Path:
    """The same model as a folder that `from_pretrained` loads."""
    return save_parts(tiny_animatediff_parts(), folder, pipeline="AnimateDiffPipeline", frame_step=1)
