"""Training the transformer of `toybox-flow`: flow matching on pictures first, then on clips."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from torch import Tensor, nn

from training.checks import FROM_REMEDY, load_trained
from training.data import random_captions
from training.flow_data import FlowData
from training.frozen_text import FrozenText
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.model_files import written_together
from training.processes import rank
from training.run_folder import RunFolder
from training.text_to_video import SHARD_SIZE

RECIPE = Recipe(learning_rate=1.5e-3, weight_decay=1e-2, ema_decay=0.999, save_every=250, betas=(0.9, 0.98))
CAPTION_DROPOUT = 0.12
CLIP_EVERY = 2
"""One step in so many sees clips, the others single pictures, which show more different things but hardly
use the channels of motion."""
CLIPS_ONLY = 0.8
"""From this part of the run on, every step sees clips, as every edit will."""
OBJECT_WEIGHT = 5.0
"""How much more an error on the object counts than one on the background; see `training.diffusion`."""
UNIFORM_PART = 0.2
"""Part of the noise levels drawn evenly; the others follow a logit-normal distribution."""


def new_transformer(text_width: int, *, latent_channels: int) -> WanTransformer3DModel:
    """An untrained transformer of Wan's kind that begins by predicting no velocity at all.

    Args:
        text_width: channels of the prompts' embeddings.
        latent_channels: of the latent frames.
    """
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=6,
        attention_head_dim=32,
        in_channels=latent_channels,
        out_channels=latent_channels,
        text_dim=text_width,
        freq_dim=128,
        ffn_dim=384,
        num_layers=6,
        rope_max_seq_len=64,
    )
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    return transformer


def train_transformer(
    data: FlowData, *, text: FrozenText, out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> None:
    """Train, or go on from the run's checkpoint; write transformer and scheduler to `out`.

    Args:
        data: what is learned.
        text: embeds the captions.
        out: the model's folder.
        run: where checkpoint and log go.
        budget: how long.
        setting: where and from what.
    """
    device, warm_start = setting.device, setting.warm_start
    torch.manual_seed(setting.seed)
    transformer = new_transformer(text.width, latent_channels=data.vae.config.z_dim).to(device)
    if device.type == "cpu":
        # There, the gradient of the fused attention takes half of a step of these small models.
        transformer.set_attention_backend("_native_math")
    if warm_start is not None:
        load_trained(
            lambda folder: _start_from(transformer, folder), warm_start / "transformer", remedy=FROM_REMEDY
        )

    def loss_at(step: int, progress: float) -> Tensor:
        whole = step % CLIP_EVERY == 0 or progress > CLIPS_ONLY
        return _step_loss(transformer, data, text, whole, setting, step)

    with warnings.catch_warnings():
        # Autocast passes by the norms of queries and keys, whose weights stay in float32 as they should.
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        train(
            transformer,
            loss_at,
            recipe=RECIPE.from_weights(warm_start),
            run=run,
            budget=budget,
            on_save=lambda average: export(average, out=out),
        )
    if rank() == 0:
        plot_log(run.log, run.log.with_suffix(".png"), "loss")


def _start_from(transformer: WanTransformer3DModel, folder: Path) -> None:
    transformer.load_state_dict(WanTransformer3DModel.from_pretrained(folder).float().state_dict())


def _step_loss(
    transformer: WanTransformer3DModel,
    data: FlowData,
    text: FrozenText,
    whole: bool,
    setting: Setting,
    step: int,
) -> Tensor:
    """The mean squared error of the predicted velocity, weighted towards the object.

    All chance of a step comes from the seed, its number and the process.
    """
    device = setting.device
    rng = np.random.default_rng((setting.seed, step, rank()))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    clean, coverage, clip_seeds = data.batch(rng, whole=whole, scale=setting.batch_scale)
    captions = random_captions(clip_seeds, random.Random(int(rng.integers(2**31))), CAPTION_DROPOUT)
    noise = torch.randn(clean.shape, generator=generator).to(device)
    level = noise_levels(len(clean), generator=generator).to(device)
    share = level.view(-1, 1, 1, 1, 1)
    noisy = (1 - share) * clean + share * noise
    with torch.autocast(device.type, torch.bfloat16):
        velocity = transformer(noisy, 1000 * level, text(captions)).sample
    weight = 1 + (OBJECT_WEIGHT - 1) * coverage.to(device)
    error = (velocity.float() - (noise - clean)).square().mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


def noise_levels(count: int, *, generator: torch.Generator) -> Tensor:
    """(B,) shares of noise in (0, 1): most in the middle, some everywhere.

    Args:
        count: B.
        generator: draws them.

    Source: Esser et al. 2024, logit-normal sampling of the levels of rectified flow.
    """
    middle = torch.randn(count, generator=generator).sigmoid()
    everywhere = torch.rand(count, generator=generator)
    is_even = torch.rand(count, generator=generator) < UNIFORM_PART
    return torch.where(is_even, everywhere, middle)


def export(transformer: nn.Module, *, out: Path) -> None:
    """Write a transformer in half precision, and its scheduler, as diffusers does.

    Args:
        transformer: stays in its own precision.
        out: the model's folder.
    """
    if rank() != 0:
        return
    copy = WanTransformer3DModel.from_config(transformer.config)
    copy.load_state_dict(transformer.state_dict())
    with written_together(out) as whole:
        copy.half().save_pretrained(whole / "transformer", max_shard_size=SHARD_SIZE)
        FlowMatchEulerDiscreteScheduler().save_pretrained(whole / "scheduler")
