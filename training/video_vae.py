"""The autoencoder of `toybox-flow`: what `toybox`'s has learned about pictures, with time compressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.models.video_vae import VideoAutoencoder
from training.data import as_pictures
from training.flow_data import WINDOW, windows
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.model_files import written_together
from training.processes import rank
from training.run_folder import RunFolder

RECIPE = Recipe(learning_rate=3e-3, weight_decay=1e-4, ema_decay=0.998, save_every=250, betas=(0.9, 0.99))
BATCH = 16
KL_WEIGHT = 1e-4
PIXEL_PART = 0.8
"""From this part of the run on, pictures count too; decoding them is most of the work there."""
PIXEL_CLIPS, PIXEL_FRAMES = 4, 2
PIXEL_WEIGHT = 20.0
"""Squared errors of pictures in [-1, 1] are so many times smaller than those of latents of unit variance."""


def new_video_vae(image_vae: AutoencoderKL) -> VideoAutoencoder:
    """An untrained temporal part over a copy of a trained image autoencoder."""
    config = image_vae.config
    vae = VideoAutoencoder(
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
        image_latent_channels=config.latent_channels,
    )
    vae.image_vae.load_state_dict(image_vae.state_dict())
    vae.image_vae.requires_grad_(False)
    return vae


def train_video_vae(
    clips: NDArray[np.uint8],
    *,
    latents: NDArray[np.float16],
    image_vae: AutoencoderKL,
    out: Path,
    run: RunFolder,
    budget: Budget,
    setting: Setting,
) -> VideoAutoencoder:
    """Train the temporal part, or go on from the run's checkpoint; write it to `out` and return it.

    Args:
        clips: (N, F, H, W, 3) uint8 RGB.
        latents: (N, F, C, h, w) float16, of the same clips by the image autoencoder.
        image_vae: stays as it is.
        out: folder for the finished autoencoder.
        run: where checkpoint and log go.
        budget: how long.
        setting: where and from what.
    """
    device = setting.device
    torch.manual_seed(setting.seed)
    vae = new_video_vae(image_vae).to(device)

    def loss_at(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((setting.seed, step, rank()))
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        batch, where = windows(latents, rng=rng, count=BATCH * setting.batch_scale)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode_image_latents(batch.to(device))
            noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
            decoded = vae.decode_image_latents(posterior.mean + posterior.std * noise)
            loss = F.mse_loss(decoded.float(), batch.to(device)) + KL_WEIGHT * posterior.kl().mean()
            if progress > PIXEL_PART:
                loss = loss + PIXEL_WEIGHT * pixel_error(vae, decoded, clips, where=where, rng=rng)
        return loss

    finished = train(vae, loss_at, recipe=RECIPE, run=run, budget=budget)
    measure_latents(finished, latents=latents, setting=setting)
    if rank() == 0:
        with written_together(out) as whole:
            finished.half().save_pretrained(whole)
        plot_log(run.log, run.log.with_suffix(".png"), "loss")
    return finished.float()


def pixel_error(
    vae: VideoAutoencoder,
    decoded: Tensor,
    clips: NDArray[np.uint8],
    *,
    where: NDArray[np.integer],
    rng: np.random.Generator,
) -> Tensor:
    """Squared error of a few of the pictures that decoded image latents give.

    Args:
        vae: turns them into pictures.
        decoded: (B, C, 9, h, w) image latents of windows.
        clips: (N, F, H, W, 3) uint8 RGB, the clips that the windows are of.
        where: (B, 2) clip and first frame of each window.
        rng: draws the frames that are looked at.
    """
    frames = rng.choice(WINDOW, size=PIXEL_FRAMES, replace=False)
    chosen = decoded[:PIXEL_CLIPS, :, frames].transpose(1, 2).flatten(0, 1)
    pictures = vae.image_vae.decode(chosen).sample.float()
    true = np.stack([clips[clip, first + frames] for clip, first in where[:PIXEL_CLIPS]])
    return F.mse_loss(pictures, as_pictures(torch.from_numpy(true).flatten(0, 1)).to(pictures.device))


@torch.no_grad()
def measure_latents(vae: VideoAutoencoder, *, latents: NDArray[np.float16], setting: Setting) -> None:
    """Note the mean of each latent channel, and one scale for all, in the configuration.

    The scale is the largest standard deviation of a channel. What moves takes more than half of the
    channels and varies less in them; at unit variance each they would be most of what flow matching
    learns, and half of them hardly predictable.

    Args:
        vae: its `config.latents_mean` and `config.latents_std` are set.
        latents: (N, F, C, h, w) image latents of the training clips.
        setting: seed of the windows that are looked at.
    """
    rng = np.random.default_rng(setting.seed)
    batches = [windows(latents, rng=rng, count=BATCH)[0].to(setting.device) for _ in range(32)]
    means = torch.cat([vae.encode_image_latents(batch).mean for batch in batches])
    mean, std = means.mean((0, 2, 3, 4)), means.std((0, 2, 3, 4))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=[float(std.max())] * len(std))
