"""Training the transformer of `toybox-flow`: flow matching on pictures first, then on clips."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from dreammotion_core.backends.video_vae import VideoAutoencoder
from training.data import random_captions
from training.loop import Budget, Recipe, RunFolder, Setting, plot_log, train
from training.text_to_video import SHARD_SIZE
from training.tokenizer import MAX_TOKENS
from training.video_vae import windows
from training.workers import rank

RECIPE = Recipe(learning_rate=1.5e-3, weight_decay=1e-2, ema_decay=0.999, save_every=250, betas=(0.9, 0.98))
CAPTION_DROPOUT = 0.12
CLIP_EVERY = 8
"""One step in so many sees clips, the others single pictures, which show more different things."""
CLIPS_ONLY = 0.8
"""From this part of the run on, every step sees clips, as every edit will."""
PICTURES, CLIPS = 32, 12
"""In a batch; the clips have three latent frames each, so that both are about the same work."""
OBJECT_WEIGHT = 5.0
"""How much more an error on the object counts than one on the background; see `training.diffusion`."""
UNIFORM_PART = 0.2
"""Part of the noise levels drawn evenly; the others follow a logit-normal distribution."""


@dataclass(frozen=True)
class FlowData:
    """What the batches are drawn from.

    Attributes:
        latents: (N, F, C, h, w) float16, of the image autoencoder.
        coverage: (N, F, h, w), how much of each latent the object covers, in [0, 1].
        vae: from image latents to those that are learned.
    """

    latents: NDArray[np.float16]
    coverage: NDArray[np.float16]
    vae: VideoAutoencoder

    @torch.no_grad()
    def batch(
        self, rng: np.random.Generator, whole: bool, scale: int
    ) -> tuple[Tensor, Tensor, NDArray[np.integer]]:
        """(B, C, f, h, w) latents of unit variance, (B, 1, f, h, w) coverage, the seeds of their clips.

        Windows of clips, f = 3, if `whole`; else single pictures, f = 1.
        """
        images, where = windows(self.latents, rng, scale * (CLIPS if whole else PICTURES))
        covered = np.stack([self.coverage[clip, first : first + images.shape[2]] for clip, first in where])
        coverage = torch.from_numpy(covered).float()[:, None]
        if not whole:
            images, coverage = images[:, :, :1], coverage[:, :, :1]
        latents = self.vae.encode_image_latents(images.to(self.vae.device)).mean
        mean, std = latent_statistics(self.vae)
        return (latents - mean) / std, _by_latent_frame(coverage), where[:, 0]


def latent_statistics(vae: VideoAutoencoder) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of an autoencoder, (1, C, 1, 1, 1) each."""
    config, device = vae.config, vae.device
    mean, std = (torch.tensor(v, device=device) for v in (config.latents_mean, config.latents_std))
    return mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1)


def _by_latent_frame(coverage: Tensor) -> Tensor:
    """(B, 1, 4 k + 1, h, w) averaged over the frames that each of (B, 1, k + 1, h, w) stands for."""
    first, later = coverage[:, :, :1], coverage[:, :, 1:]
    groups = later.unflatten(2, (-1, 4)).mean(dim=3)
    return torch.cat([first, groups], dim=2)


def new_transformer(text_width: int, latent_channels: int) -> WanTransformer3DModel:
    """An untrained transformer of Wan's kind that begins by predicting no velocity at all."""
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
    # The gradient of PyTorch's fused attention takes most of a step on a CPU at this size.
    transformer.set_attention_backend("_native_math")
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    return transformer


@dataclass(frozen=True)
class Captions:
    """The frozen text encoder of `toybox` with its tokenizer."""

    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device) -> Captions:
        """Load both from the folder of a video model."""
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        return cls(CLIPTokenizer.from_pretrained(folder / "tokenizer"), encoder.eval().to(device))

    @torch.no_grad()
    def embedded(self, captions: list[str]) -> Tensor:
        """(B, L, D) hidden states, padded to the longest caption there is."""
        tokens = self.tokenizer(
            captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )
        embeds: Tensor = self.encoder(tokens.input_ids.to(self.encoder.device)).last_hidden_state
        return embeds

    def save(self, out: Path) -> None:
        """Write both, in half precision, beside the transformer."""
        self.tokenizer.save_pretrained(out / "tokenizer")
        self.encoder.half().save_pretrained(out / "text_encoder")
        self.encoder.float()


def train_flow(
    data: FlowData, captions: Captions, out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> None:
    """Train, or go on from the run's checkpoint; write all parts but the autoencoder to `out`."""
    torch.manual_seed(setting.seed)
    transformer = new_transformer(captions.encoder.config.hidden_size, data.vae.config.z_dim)
    if setting.warm_start is not None:
        earlier = WanTransformer3DModel.from_pretrained(setting.warm_start / "transformer")
        transformer.load_state_dict(earlier.float().state_dict())
    if rank() == 0:
        captions.save(out)
        FlowMatchEulerDiscreteScheduler().save_pretrained(out / "scheduler")

    def loss_at(step: int, progress: float) -> Tensor:
        whole = step % CLIP_EVERY == 0 or progress > CLIPS_ONLY
        return _step_loss(transformer, data, captions, whole, setting, step)

    train(
        transformer.to(setting.device),
        loss_at,
        recipe=RECIPE.from_weights(setting.warm_start),
        run=run,
        budget=budget,
        on_save=lambda average: _export(average, out),
    )
    if rank() == 0:
        plot_log(run.log, run.log.with_suffix(".png"), "loss")


def _step_loss(
    transformer: WanTransformer3DModel,
    data: FlowData,
    captions: Captions,
    whole: bool,
    setting: Setting,
    step: int,
) -> Tensor:
    """The mean squared error of the predicted velocity, weighted towards the object.

    All chance of a step comes from the seed, its number and the process.
    """
    rng = np.random.default_rng((setting.seed, step, rank()))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    clean, coverage, clip_seeds = data.batch(rng, whole, setting.batch_scale)
    words = random_captions(clip_seeds, random.Random(int(rng.integers(2**31))), CAPTION_DROPOUT)
    noise = torch.randn(clean.shape, generator=generator).to(setting.device)
    level = noise_levels(len(clean), generator=generator).to(setting.device)
    share = level.view(-1, 1, 1, 1, 1)
    noisy = (1 - share) * clean + share * noise
    with torch.autocast(setting.device.type, torch.bfloat16):
        velocity = transformer(noisy, 1000 * level, captions.embedded(words)).sample
    weight = 1 + (OBJECT_WEIGHT - 1) * coverage.to(setting.device)
    error = F.mse_loss(velocity.float(), noise - clean, reduction="none").mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


def noise_levels(count: int, *, generator: torch.Generator) -> Tensor:
    """(B,) shares of noise in (0, 1): most in the middle, some everywhere.

    Source: Esser et al. 2024, logit-normal sampling of the levels of rectified flow.
    """
    middle = torch.randn(count, generator=generator).sigmoid()
    everywhere = torch.rand(count, generator=generator)
    choice = torch.rand(count, generator=generator) < UNIFORM_PART
    return torch.where(choice, everywhere, middle)


def _export(transformer: nn.Module, out: Path) -> None:
    """Write the transformer in half precision, as diffusers does."""
    if rank() != 0:
        return
    copy = WanTransformer3DModel.from_config(transformer.config)
    copy.load_state_dict(transformer.state_dict())
    copy.half().save_pretrained(out / "transformer", max_shard_size=SHARD_SIZE)
