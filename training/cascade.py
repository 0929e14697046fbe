"""Training `toybox-cascade`: the stages of Show-1 one after another, and the manifest that joins them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
from dreammotion_core.models.loading import FORMAT_VERSION
from training.cascade_data import Sizes, smaller_clips
from training.cascade_losses import (
    DETAIL_WINDOW,
    Material,
    first_frame_loss,
    interpolation_loss,
    key_frame_loss,
    super_resolution_loss,
)
from training.cascade_models import (
    DETAIL_SIZE,
    KEY_FRAME_SIZE,
    begin_as,
    new_detail_unet,
    new_first_frame_unet,
    new_interpolation_unet,
    new_key_frame_unet,
    new_scheduler,
)
from training.data import RESOLUTION, object_coverage
from training.frozen_text import FrozenText
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.model_files import write_index, written_together
from training.processes import agree, rank
from training.run_folder import RunFolder
from training.text import MAX_TOKENS, vocabulary
from training.text_to_video import SHARD_SIZE

NUM_FRAMES = 17
"""Five key frames and the three between each two."""
COVERAGE_SIZE = 16
RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-2, ema_decay=0.998, save_every=150, betas=(0.9, 0.98))
TOYBOX = "../toybox"
"""Where the text encoder and the latent model lie, beside the cascade's own folder."""


@dataclass(frozen=True)
class Stage:
    """A U-Net that is trained.

    Attributes:
        new_unet: makes it, untrained.
        loss: (unet, material, step, progress) -> scalar.
        share: of the whole cascade's training, in steps or minutes.
        prediction_type: what it predicts.
        begins_as: name of the stage whose layers it starts with.
    """

    new_unet: Callable[[], nn.Module]
    loss: Callable[..., Tensor]
    share: float
    prediction_type: str = "v_prediction"
    begins_as: str | None = None


EDIT_SETTINGS = {"learning_rate": 0.2, "num_optimization_steps": 30}
"""Of edits, where others than the defaults suit key frames of pixels better."""

STAGES = {
    "key_frames": Stage(new_key_frame_unet, key_frame_loss, share=0.64, prediction_type="epsilon"),
    "first_frame": Stage(new_first_frame_unet, first_frame_loss, share=0.12),
    "super_resolution": Stage(new_detail_unet, super_resolution_loss, share=0.13, begins_as="first_frame"),
    "interpolation": Stage(
        new_interpolation_unet, interpolation_loss, share=0.11, begins_as="super_resolution"
    ),
}
"""Folder of each part -> how it is trained, in the order of training."""


def train_cascade(
    clips: NDArray[np.uint8],
    *,
    cache: Path,
    out: Path,
    run_of: Callable[[str], RunFolder],
    budget_of: Callable[[float], Budget],
    setting: Setting,
) -> None:
    """Train all stages, or go on from their checkpoints; write them and the manifest to `out`.

    Args:
        clips: (N, 17, 128, 128, 3) uint8 RGB.
        cache: where the smaller clips are kept.
        out: the model's folder; a trained `toybox` lies beside it.
        run_of: from the name of a stage to its checkpoint and log.
        budget_of: from the share of a stage to how long it lasts.
        setting: device, seed and batch scale.

    Raises:
        InputError: if there is no `toybox` beside the output folder, or a checkpoint cannot be used.
    """
    text = FrozenText(out / TOYBOX, setting.device)
    material = Material(_sizes(clips, cache), text, new_scheduler().alphas_cumprod, setting)
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
            plot_log(run.log, run.log.with_suffix(".png"), "loss")
    if rank() == 0:
        write_manifest(out)


def _loss_of(stage: Stage, unet: nn.Module, material: Material) -> Callable[[int, float], Tensor]:
    return lambda step, progress: stage.loss(unet, material, step=step, progress=progress)


def _sizes(clips: NDArray[np.uint8], cache: Path) -> Sizes:
    """The clips at the stages' sizes; the first process makes what is missing in `cache`."""

    def load() -> Sizes:
        small = {size: smaller_clips(cache, clips, size=size) for size in (KEY_FRAME_SIZE, DETAIL_SIZE)}
        return Sizes(small, object_coverage(cache, len(clips), COVERAGE_SIZE, num_frames=NUM_FRAMES))

    if rank() == 0:
        load()
    agree(0.0)  # the others wait until the files are there
    return load()


def export(unet: nn.Module, folder: Path, *, prediction_type: str) -> None:
    """Write a U-Net in half precision, and its scheduler, as a folder in diffusers' layout."""
    half: Any = copy.deepcopy(unet).half()
    scheduler = new_scheduler(prediction_type)
    index = {
        "_class_name": "DiffusionPipeline",
        "unet": ["dreammotion_core", type(unet).__name__],
        "scheduler": ["diffusers", type(scheduler).__name__],
    }
    with written_together(folder) as whole:
        half.save_pretrained(whole / "unet", max_shard_size=SHARD_SIZE)
        scheduler.save_pretrained(whole / "scheduler")
        write_index(whole, index)


def write_manifest(out: Path) -> None:
    """`model_index.json`: where each stage lies and how it is run."""
    first_frame = FirstFrameSettings(
        source="first_frame", num_inference_steps=12, guidance_scale=1.5, noise_level=50
    )
    parts = {
        "text": TextSettings(source=TOYBOX, max_tokens=MAX_TOKENS),
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
            source=TOYBOX, num_inference_steps=20, guidance_scale=3.0, strength=0.3
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
