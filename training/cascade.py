"""Training `toybox-cascade`: the stages of Show-1 one after another, and the manifest that joins them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

from dreammotion_core.models.cascade.manifest import STAGES as STAGE_NAMES
from dreammotion_core.models.cascade.manifest import (
    FirstFrameSettings,
    KeyFrameSettings,
    LatentSuperResolutionSettings,
    SampledSettings,
    SuperResolutionSettings,
    TextSettings,
)
from dreammotion_core.models.cascade.stages import KEY_FRAME_STEP
from dreammotion_core.models.cascade.unet import Show1UNet
from dreammotion_core.models.loading import FORMAT_VERSION
from training.cascade_losses import (
    DETAIL_SIZE,
    DETAIL_WINDOW,
    KEY_FRAME_SIZE,
    NUM_TIMESTEPS,
    LossInputs,
    Sizes,
    first_frame_loss,
    interpolation_loss,
    key_frame_loss,
    smaller_clips,
    super_resolution_loss,
)
from training.data import LATENT_SIZE, RESOLUTION, object_coverage
from training.diffusion import pass_single_frames_by
from training.loop import Budget, Recipe, Setting, train
from training.processes import made_once, rank
from training.run_folder import SHARD_SIZE, RunFolder, write_index
from training.text import MAX_TOKENS, FrozenText, vocabulary

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
"""Settings that all pixel stages of Show-1 share, at the width of the U-Net model's text encoder."""


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
    """Start a U-Net with the layers of another of the same widths.

    A video U-Net begins as a picture U-Net that sees one frame at a time, as Show-1 began with the picture
    models of DeepFloyd IF. Further input channels begin without effect.
    """
    learnt = other.state_dict()
    inputs = torch.zeros_like(unet.get_parameter("conv_in.weight"))
    shared = min(inputs.shape[1], learnt["conv_in.weight"].shape[1])
    inputs[:, :shared] = learnt["conv_in.weight"][:, :shared]
    missing, _ = unet.load_state_dict(learnt | {"conv_in.weight": inputs}, strict=False)
    if untrained := [name for name in missing if "temp_" not in name]:
        raise ValueError(f"the U-Nets differ in more than their temporal layers: {untrained}")


def new_scheduler(prediction_type: str = "epsilon") -> DPMSolverMultistepScheduler:
    """The schedule and the solver that Show-1's key-frame stage was published with."""
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


NUM_FRAMES = 17  # frames of a clip: five key frames, and three between each two
RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-2, ema_decay=0.998, save_every=150, betas=(0.9, 0.98))
UNET_MODEL = "../toybox-unet"
"""Folder of the U-Net model, its text encoder and last stage, seen from the cascade's folder."""


@dataclass(frozen=True)
class Stage:
    """A U-Net that is trained."""

    new_unet: Callable[[], nn.Module]
    loss: Callable[..., Tensor]  # (unet, material, step, progress) -> scalar
    share: float
    prediction_type: str = "v_prediction"
    begins_as: str | None = None


EDIT_SETTINGS = {"learning_rate": 0.2, "num_optimization_steps": 30}
"""Settings of edits that differ from the defaults."""

STAGES = {
    "key_frames": Stage(new_key_frame_unet, key_frame_loss, share=0.64, prediction_type="epsilon"),
    "first_frame": Stage(new_first_frame_unet, first_frame_loss, share=0.12),
    "super_resolution": Stage(new_detail_unet, super_resolution_loss, share=0.13, begins_as="first_frame"),
    "interpolation": Stage(
        new_interpolation_unet, interpolation_loss, share=0.11, begins_as="super_resolution"
    ),
}
"""Folder of each stage -> its training, in order."""


def train_cascade(
    clips: NDArray[np.uint8],
    *,
    cache: Path,
    out: Path,
    run_of: Callable[[str], RunFolder],
    budget_of: Callable[[float], Budget],
    setting: Setting,
) -> None:
    """Train all stages or resume; write them and the manifest to `out`.

    `clips` are (N, 17, 128, 128, 3) uint8 RGB; the budget of a stage follows from its share.
    """
    text = FrozenText(out / UNET_MODEL, setting.device)
    material = LossInputs(
        made_once(lambda: _sizes(clips, cache)), text, new_scheduler().alphas_cumprod, setting
    )
    finished: dict[str, nn.Module] = {}
    for name, stage in STAGES.items():
        torch.manual_seed(setting.seed)
        unet = stage.new_unet().to(setting.device)
        if stage.begins_as:
            begin_as(unet, finished[stage.begins_as])
        run, budget = run_of(name), budget_of(stage.share)
        loss_at = _loss_of(stage, unet, material)
        finished[name] = train(unet, loss_at, recipe=RECIPE, run=run, budget=budget)
        if rank() == 0:
            export(finished[name], out / name, prediction_type=stage.prediction_type)
    if rank() == 0:
        write_manifest(out)


def _loss_of(stage: Stage, unet: nn.Module, material: LossInputs) -> Callable[[int, float], Tensor]:
    return lambda step, progress: stage.loss(unet, material, step=step, progress=progress)


def _sizes(clips: NDArray[np.uint8], cache: Path) -> Sizes:
    small = {size: smaller_clips(cache, clips, size=size) for size in (KEY_FRAME_SIZE, DETAIL_SIZE)}
    return Sizes(small, object_coverage(cache, len(clips), LATENT_SIZE, num_frames=NUM_FRAMES))


def export(unet: nn.Module, folder: Path, *, prediction_type: str) -> None:
    """Write a U-Net in half precision, and its scheduler, as a folder in diffusers' layout."""
    half: Any = copy.deepcopy(unet).half()
    scheduler = new_scheduler(prediction_type)
    index = {
        "_class_name": "DiffusionPipeline",
        "unet": ["dreammotion_core", type(unet).__name__],
        "scheduler": ["diffusers", type(scheduler).__name__],
    }
    half.save_pretrained(folder / "unet", max_shard_size=SHARD_SIZE)
    scheduler.save_pretrained(folder / "scheduler")
    write_index(folder, index)


def write_manifest(out: Path) -> None:
    """`model_index.json`: where each stage lies and how it is run."""
    first_frame = FirstFrameSettings(
        source="first_frame", num_inference_steps=12, guidance_scale=1.5, noise_level=50
    )
    parts = {
        "text": TextSettings(source=UNET_MODEL, max_tokens=MAX_TOKENS),
        "key-frames": KeyFrameSettings(source="key_frames", size=(KEY_FRAME_SIZE, KEY_FRAME_SIZE)),
        "interpolation": SampledSettings(source="interpolation", num_inference_steps=12, guidance_scale=1.5),
        "super-resolution": SuperResolutionSettings(
            source="super_resolution",
            num_inference_steps=12,
            guidance_scale=1.5,
            noise_level=50,
            scale=DETAIL_SIZE // KEY_FRAME_SIZE,
            window=DETAIL_WINDOW,
            first_frame=first_frame,
        ),
        "latent-super-resolution": LatentSuperResolutionSettings(
            source=UNET_MODEL, num_inference_steps=20, guidance_scale=3.0, strength=0.3
        ),
    }
    manifest = {
        "_class_name": "DreamMotionCascade",
        "format_version": FORMAT_VERSION,
        **{name: asdict(settings) for name, settings in parts.items()},
        "resolution": [RESOLUTION, RESOLUTION],
        "num_frames": NUM_FRAMES,
        "max_frames": 2 * NUM_FRAMES - 1,
        "frame_step": KEY_FRAME_STEP,
        "stages": STAGE_NAMES,
        "fps": 8,
        "settings": EDIT_SETTINGS,
        "vocabulary": vocabulary(),
    }
    write_index(out, manifest)
