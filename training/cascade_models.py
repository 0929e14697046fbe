"""The networks of `toybox-cascade`: Show-1's own block types, very small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import nn

from dreammotion_core.models.cascade.unet import Show1UNet
from training.text_to_video import pass_single_frames_by

KEY_FRAME_SIZE, DETAIL_SIZE = 32, 64
"""Height and width in pixels of key frames and interpolated frames, and after super-resolution."""
NUM_TIMESTEPS = 1000
SMALL_WIDTHS = (32, 48, 48)
ATTENTION = {True: "SimpleCrossAttn", False: "Resnet"}
SHARED: dict[str, Any] = {
    "out_channels": 6,
    "layers_per_block": 1,
    "act_fn": "gelu",
    "norm_num_groups": 16,
    "attention_head_dim": 16,
    "cross_attention_dim": 96,
    "cross_attention_norm": "group_norm",
    "encoder_hid_dim": 96,
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 4,
    "resnet_time_scale_shift": "scale_shift",
}
"""What the pixel stages of Show-1 have in common, here at the width of the text encoder of `toybox`."""


def new_key_frame_unet() -> Show1UNet:
    """The stage that an edit optimises: key frames out of noise."""
    return _video_unet((48, 64, 96), attends=(False, True, True), sample_size=KEY_FRAME_SIZE, in_channels=3)


def new_interpolation_unet() -> Show1UNet:
    """Frames between two key frames, which it reads blended, with a mask that says where they are."""
    return _video_unet(SMALL_WIDTHS, attends=(False, False, True), sample_size=KEY_FRAME_SIZE, in_channels=7)


def new_detail_unet() -> Show1UNet:
    """Video super-resolution of small frames, of which the first is known large."""
    return _video_unet(
        SMALL_WIDTHS,
        attends=(False, False, True),
        sample_size=DETAIL_SIZE,
        in_channels=6,
        class_embed_type="timestep",
    )


def new_first_frame_unet() -> UNet2DConditionModel:
    """Super-resolution of that first frame; its layers are the spatial ones of the video U-Net's."""
    return UNet2DConditionModel(
        sample_size=DETAIL_SIZE,
        in_channels=6,
        block_out_channels=SMALL_WIDTHS,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        encoder_hid_dim_type="text_proj",
        class_embed_type="timestep",
        **_levels((False, False, True), dimensions=2),
        **SHARED,
    )


def _video_unet(widths: Sequence[int], *, attends: Sequence[bool], **more: Any) -> Show1UNet:
    unet = Show1UNet(block_out_channels=list(widths), **_levels(attends, dimensions=3), **SHARED, **more)
    pass_single_frames_by(unet)
    for name, parameter in unet.named_parameters():
        # Frames begin independent of one another, so that what pictures have taught stays.
        if "temp_attentions" in name and ".proj_out." in name:
            nn.init.zeros_(parameter)
    return unet


def _levels(attends: Sequence[bool], *, dimensions: int) -> dict[str, list[str]]:
    """Block types from the finest level to the coarsest and back."""
    kinds = [ATTENTION[attending] for attending in attends]
    suffix = f"Block{dimensions}D"
    down = {"Resnet": "ResnetDownsample", "SimpleCrossAttn": "SimpleCrossAttnDown"}
    up = {"Resnet": "ResnetUpsample", "SimpleCrossAttn": "SimpleCrossAttnUp"}
    return {
        "down_block_types": [down[kind] + suffix for kind in kinds],
        "up_block_types": [up[kind] + suffix for kind in reversed(kinds)],
    }


def begin_as(unet: nn.Module, other: nn.Module) -> None:
    """Start a U-Net with all that another of the same widths has learnt and it can use.

    A video U-Net begins as a picture U-Net that sees one frame at a time, as Show-1 began with the picture
    models of DeepFloyd IF. Input channels that the other does not have begin without effect.

    Args:
        unet: changed in place.
        other: the U-Net that is trained already.

    Raises:
        ValueError: if layers within a frame would stay untrained.
    """
    learnt = other.state_dict()
    inputs = torch.zeros_like(unet.get_parameter("conv_in.weight"))
    shared = min(inputs.shape[1], learnt["conv_in.weight"].shape[1])
    inputs[:, :shared] = learnt["conv_in.weight"][:, :shared]
    missing, _ = unet.load_state_dict(learnt | {"conv_in.weight": inputs}, strict=False)
    if untrained := [name for name in missing if "temp_" not in name]:
        raise ValueError(f"the U-Nets differ in more than their temporal layers: {untrained}")


def new_scheduler(prediction_type: str = "epsilon") -> DPMSolverMultistepScheduler:
    """The schedule and the solver that Show-1's key-frame stage was published with.

    Args:
        prediction_type: ``"epsilon"``, or ``"v_prediction"`` for U-Nets that predict the velocity.
    """
    return DPMSolverMultistepScheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction_type,
        algorithm_type="dpmsolver++",
        solver_order=2,
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
        lambda_min_clipped=-5.1,
    )
