"""Training the text encoder and U-Net of `toybox` together, on latents of pictures and of clips."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer

from dreammotion_core.media.atomic import written_atomically
from training.checks import FROM_REMEDY, load_trained, module_digest
from training.data import as_pictures, kept_array, object_coverage, random_captions
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.processes import agree, rank
from training.run_folder import RunFolder
from training.text import MAX_TOKENS, build_tokenizer
from training.text_to_video import LATENT_SIZE, TextToVideo, export, new_scheduler, start_from
from training.world.scene import WORLD_VERSION

RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-2, ema_decay=0.998, save_every=250, betas=(0.9, 0.98))
CAPTION_DROPOUT = 0.12
CLIP_EVERY = 6
"""One step in so many sees whole clips, the others single frames, which show more different things."""
CLIPS_ONLY = 0.85
"""From this part of the run on, every step sees whole clips, as every edit will."""
OBJECT_WEIGHT = 5.0
"""How much more an error on the object counts than one on the background. The object is a tenth of the
picture but most of what a caption says, and the only part that an edit asks about."""


@torch.no_grad()
def encoded_clips(
    clips: NDArray[np.uint8], vae: AutoencoderKL, folder: Path, device: torch.device
) -> NDArray[np.float16]:
    """Latents of all clips, (N, F, C, h, w) float16, encoded once by each autoencoder, kept in `folder`."""
    kind = f"v{WORLD_VERSION}-{clips.shape[0]}x{clips.shape[1]}-{module_digest(vae)}"
    path = folder / f"latents-{kind}.npy"
    if not path.exists():
        latents = []
        for clip in tqdm(clips, desc="encoding", mininterval=10):
            images = as_pictures(torch.from_numpy(np.array(clip))).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                mean = vae.encode(images).latent_dist.mean
            latents.append(mean.half().cpu().numpy())
        with written_atomically(path) as part:
            np.save(part, np.stack(latents))
    return kept_array(path)


@dataclass(frozen=True)
class TrainingSet:
    """What the batches are drawn from.

    Attributes:
        latents: (N, F, C, h, w) float16.
        coverage: (N, F, h, w), how much of each latent the object covers, in [0, 1].
    """

    latents: NDArray[np.float16]
    coverage: NDArray[np.float16]

    def batch(
        self, rng: np.random.Generator, whole: bool, scale: int
    ) -> tuple[Tensor, Tensor, NDArray[np.integer]]:
        """(B, C, F, h, w) latents, (B, 1, F, h, w) coverage, and the seeds of their clips.

        4 clips of all frames if `whole`, else 32 single frames; times the scale.
        """
        num_clips, num_frames = self.latents.shape[:2]
        seeds = rng.integers(num_clips, size=scale * (4 if whole else 32))
        frames = slice(None) if whole else rng.integers(num_frames, size=32 * scale)
        latents = torch.from_numpy(self.latents[seeds, frames]).float()
        coverage = torch.from_numpy(self.coverage[seeds, frames]).float()
        if not whole:
            latents, coverage = latents[:, None], coverage[:, None]
        return latents.transpose(1, 2), coverage[:, None], seeds


def training_set(
    clips: NDArray[np.uint8], vae: AutoencoderKL, cache: Path, device: torch.device
) -> TrainingSet:
    """Latents and coverage of all clips; the first process makes what is missing in `cache`."""

    def load() -> TrainingSet:
        return TrainingSet(
            encoded_clips(clips, vae, cache, device), object_coverage(cache, len(clips), LATENT_SIZE)
        )

    if rank() == 0:
        load()
    agree(0.0)  # the others wait until the files are there
    return load()


def train_diffusion(
    clips: NDArray[np.uint8],
    vae: AutoencoderKL,
    cache: Path,
    out: Path,
    run: RunFolder,
    budget: Budget,
    setting: Setting,
) -> None:
    """Train, or go on from the run's checkpoint; write all parts but the autoencoder to `out`."""
    device, warm_start = setting.device, setting.warm_start
    torch.manual_seed(setting.seed)
    run.origin["autoencoder"] = module_digest(vae)
    data = training_set(clips, vae, cache, device)
    tokenizer, scheduler = build_tokenizer(), new_scheduler()
    model = TextToVideo(len(tokenizer), tokenizer.eos_token_id).to(device)
    if warm_start is not None:
        load_trained(lambda folder: start_from(model, folder, tokenizer), warm_start, remedy=FROM_REMEDY)

    def loss_at(step: int, progress: float) -> Tensor:
        whole = step % CLIP_EVERY == 0 or progress > CLIPS_ONLY
        return _step_loss(model, data, tokenizer, scheduler, whole, setting, step)

    train(
        model,
        loss_at,
        recipe=RECIPE.from_weights(warm_start),
        run=run,
        budget=budget,
        on_save=lambda average: export(average, out, tokenizer=tokenizer),
    )
    if rank() == 0:
        plot_log(run.log, run.log.with_suffix(".png"), "loss")


def _step_loss(
    model: TextToVideo,
    data: TrainingSet,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    whole: bool,
    setting: Setting,
    step: int,
) -> Tensor:
    """The mean squared error of the predicted noise, weighted towards the object and towards structure.

    All chance of a step comes from the seed, its number and the process.
    """
    device = setting.device
    rng = np.random.default_rng((setting.seed, step, rank()))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    clean, coverage, clip_seeds = data.batch(rng, whole, setting.batch_scale)
    captions = random_captions(clip_seeds, random.Random(int(rng.integers(2**31))), CAPTION_DROPOUT)
    tokens = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(1000, (len(clean),), generator=generator)
    noisy = scheduler.add_noise(clean, noise, timesteps)
    with torch.autocast(device.type, torch.bfloat16):
        noise_pred = model(noisy.to(device), timesteps.to(device), tokens.input_ids.to(device))
    weight = (1 + (OBJECT_WEIGHT - 1) * coverage).to(device)
    weight = weight * _structure_weight(scheduler, timesteps).to(device)
    error = (noise_pred.float() - noise.to(device)).square().mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


def _structure_weight(scheduler: DDIMScheduler, timesteps: Tensor) -> Tensor:
    """(B, 1, 1, 1, 1) weights 1 / (1 + SNR) of the timesteps' errors.

    The error at low noise is mostly texture that nothing can foresee; unweighted, it drowns what is
    learned at high noise, where it is decided which object a clip shows.

    Source: Choi et al. 2022, perception prioritized training, with k = gamma = 1.
    """
    return 1 - scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1, 1)
