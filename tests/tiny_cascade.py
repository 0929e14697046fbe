"""A tiny cascade of all stages with random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import nn

from benchmarks.cost import as_image_config
from dreammotion_core.models.cascade.backend import CascadeBackend
from dreammotion_core.models.cascade.manifest import CascadeManifest
from dreammotion_core.models.cascade.stages import CascadeStages, PixelStage
from dreammotion_core.models.cascade.unet import Show1UNet
from tests.tiny import WORDS, component_entry, save_tiny_unet3d, tiny_parts, tiny_spec, tiny_unet3d

TINY: dict[str, Any] = {
    "down_block_types": ("ResnetDownsampleBlock3D", "SimpleCrossAttnDownBlock3D"),
    "up_block_types": ("SimpleCrossAttnUpBlock3D", "ResnetUpsampleBlock3D"),
    "block_out_channels": (8, 32),
    "layers_per_block": 1,
    "act_fn": "gelu",
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
    "cross_attention_norm": "group_norm",
    "encoder_hid_dim": 8,
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 4,
    "resnet_time_scale_shift": "scale_shift",
}

MANIFEST: dict[str, Any] = {
    "_class_name": "DreamMotionCascade",
    "resolution": [32, 48],
    "num_frames": 9,
    "max_frames": 17,
    "frame_step": 4,
    "fps": 8,
    "vocabulary": list(WORDS),
    "stages": ["key-frames", "interpolation", "super-resolution", "latent-super-resolution"],
    "text": {"source": "."},
    "key-frames": {"source": ".", "size": [8, 12]},
    "interpolation": {"source": "interpolation", "num_inference_steps": 2, "guidance_scale": 4.0},
    "super-resolution": {
        "source": "video",
        "num_inference_steps": 2,
        "guidance_scale": 7.0,
        "noise_level": 250,
        "scale": 2,
        "window": 4,
        "first_frame": {
            "source": "picture",
            "num_inference_steps": 2,
            "guidance_scale": 4.0,
            "noise_level": 150,
        },
    },
    "latent-super-resolution": {
        "source": "latent",
        "num_inference_steps": 4,
        "guidance_scale": 2.0,
        "strength": 0.5,
        "negative_prompt": "blur",
    },
}


def tiny_show1_unet(**changes: Any) -> Show1UNet:
    torch.manual_seed(0)
    unet = Show1UNet(**{**TINY, **changes}).eval()
    for name, parameter in unet.named_parameters():
        # A temporal convolution starts as the identity, which would hide what it does.
        if "temp_convs" in name and "conv4.3" in name:
            nn.init.normal_(parameter, std=0.05)
    return unet


def tiny_picture_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    changes = {"in_channels": 6, "class_embed_type": "timestep", "encoder_hid_dim_type": "text_proj"}
    return UNet2DConditionModel(**as_image_config({**TINY, **changes})).eval()


def show1_scheduler() -> DPMSolverMultistepScheduler:
    """With the settings of the published stages in pixels."""
    return DPMSolverMultistepScheduler(
        beta_schedule="squaredcos_cap_v2",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
        lambda_min_clipped=-5.1,
        variance_type="fixed_small",
    )


def tiny_unets() -> dict[str, Any]:
    """Folder of a stage, relative to the cascade's -> its U-Net."""
    return {
        ".": tiny_show1_unet(),
        "interpolation": tiny_show1_unet(in_channels=7),
        "picture": tiny_picture_unet(),
        "video": tiny_show1_unet(in_channels=6, class_embed_type="timestep"),
    }


def tiny_cascade() -> CascadeBackend:
    """A working backend with random weights."""
    unets = {name: PixelStage(unet, show1_scheduler()) for name, unet in tiny_unets().items()}
    text = tiny_parts()
    return CascadeBackend(
        replace(
            tiny_spec(),
            family="cascade",
            resolution=tuple(MANIFEST["resolution"]),
            num_frames=MANIFEST["num_frames"],
            max_frames=MANIFEST["max_frames"],
        ),
        manifest=CascadeManifest.read(MANIFEST),
        tokenizer=text["tokenizer"],
        text_encoder=text["text_encoder"],
        stages=CascadeStages(
            unets["."],
            interpolation=unets["interpolation"],
            super_resolution=(unets["picture"], unets["video"]),
            latent=tiny_unet3d(),
        ),
    )


def save_tiny_cascade(folder: Path) -> Path:
    """The same model as a folder that `from_pretrained` loads."""
    for name, unet in tiny_unets().items():
        parts = {"unet": unet, "scheduler": show1_scheduler()}
        if name == ".":
            parts |= {part: tiny_parts()[part] for part in ("text_encoder", "tokenizer")}
        for part, component in parts.items():
            component.save_pretrained(folder / name / part)
        components = {part: component_entry(component) for part, component in parts.items()}
        manifest = MANIFEST if name == "." else {}
        (folder / name / "model_index.json").write_text(json.dumps(manifest | components))
    save_tiny_unet3d(folder / "latent")
    return folder
