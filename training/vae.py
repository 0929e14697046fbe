"""The autoencoder of `toybox`: 8x down, 8 latent channels, trained on the procedural world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from training.checks import FROM_REMEDY, load_trained
from training.data import as_pictures
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.model_files import written_together
from training.processes import rank
from training.run_folder import RunFolder

RECIPE = Recipe(learning_rate=1.5e-3, weight_decay=1e-3, ema_decay=0.998, save_every=500)
KL_WEIGHT = 1e-6
CROP = 64
"""Most of the run sees crops (more pictures for the same arithmetic); the last part whole frames."""
CROP_PART = 0.7


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder; narrow where the pictures are large, since that is where the time goes."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 24, 64, 128),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=1.0,
    )


def _batch(clips: NDArray[np.uint8], rng: np.random.Generator, whole: bool, scale: int = 1) -> Tensor:
    """(B, 3, h, w) in [-1, 1]: 8 whole frames or 32 crops, which cost the same, times the scale."""
    size, count = (clips.shape[2], 8 * scale) if whole else (CROP, 32 * scale)
    pictures = []
    for _ in range(count):
        clip, frame = rng.integers(clips.shape[0]), rng.integers(clips.shape[1])
        top, left = (int(rng.integers(clips.shape[2] - size + 1)) for _ in range(2))
        pictures.append(clips[clip, frame, top : top + size, left : left + size])
    return as_pictures(torch.from_numpy(np.stack(pictures)))


def _loss(vae: AutoencoderKL, images: Tensor, generator: torch.Generator) -> Tensor:
    posterior = vae.encode(images).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(images.device)
    reconstruction = vae.decode(posterior.mean + posterior.std * noise).sample.float()
    error = F.l1_loss(reconstruction, images) + 2.0 * F.mse_loss(reconstruction, images)
    edges = sum(F.l1_loss(reconstruction.diff(dim=d), images.diff(dim=d)) for d in (-1, -2))
    return error + edges + KL_WEIGHT * posterior.kl().mean()


def train_vae(
    clips: NDArray[np.uint8], out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> AutoencoderKL:
    """Train, or go on from the run's checkpoint; write the averaged weights to `out` and return them."""
    device, seed, warm_start = setting.device, setting.seed, setting.warm_start
    torch.manual_seed(seed)
    vae = new_vae().to(device, memory_format=torch.channels_last)
    if warm_start is not None:
        load_trained(lambda folder: _start_from(vae, folder), warm_start / "vae", remedy=FROM_REMEDY)

    def loss_at(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((seed, step, rank()))
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        images = _batch(clips, rng, progress > CROP_PART, setting.batch_scale)
        with torch.autocast(device.type, torch.bfloat16):
            return _loss(vae, images.to(device, memory_format=torch.channels_last), generator)

    finished = train(vae, loss_at, recipe=RECIPE.from_weights(warm_start), run=run, budget=budget)
    whiten(finished, clips, device, seed)
    if rank() == 0:
        with written_together(out) as whole:
            finished.half().save_pretrained(whole)
        plot_log(run.log, run.log.with_suffix(".png"), "loss")
    return finished.float()


def _start_from(vae: AutoencoderKL, folder: Path) -> None:
    vae.load_state_dict(AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).state_dict())


@torch.no_grad()
def whiten(vae: AutoencoderKL, clips: NDArray[np.uint8], device: torch.device, seed: int) -> None:
    """Fold a per-channel shift and scale into the 1x1 convolutions around the latents.

    Afterwards every latent channel has mean 0 and variance 1 over the training set, which a single
    scaling factor could not do; the pictures stay the same.
    """
    rng = np.random.default_rng(seed)
    means = torch.cat([vae.encode(_batch(clips, rng, True).to(device)).latent_dist.mean for _ in range(32)])
    mean, std = means.mean((0, 2, 3)), means.std((0, 2, 3))
    channels = len(mean)
    quant, post_quant = vae.quant_conv, vae.post_quant_conv
    quant.weight[:channels] /= std[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / std
    quant.bias[channels:] -= 2 * std.log()
    post_quant.bias += torch.einsum("oc,c->o", post_quant.weight[:, :, 0, 0], mean)
    post_quant.weight *= std[None, :, None, None]
