"""Training the autoencoder of `toybox`, which begins as the best linear code of the world's pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.models.frame_vae import CELL, FrameAutoencoder
from training.data import as_pictures
from training.loop import Budget, Recipe, Setting, plot_log, train
from training.model_files import written_together
from training.pairs import Rendered
from training.processes import rank
from training.run_folder import RunFolder
from training.world import Shot, render_batch, sample_scene

RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-3, ema_decay=0.998, save_every=500, betas=(0.9, 0.98))
CROPS, FRAMES = 32, 10
"""In a batch."""
CROP = 64
CROP_PART = 0.65
"""Until this part of the run pictures are cut to 64 x 64 pixels round objects, which is where most is to be learned; then
whole frames are seen."""
BACKGROUND_PART = 0.25
"""Of the crops, those that lie anywhere."""
LINEAR_SAMPLE = 1200
"""Frames that the linear code is computed from."""
OBJECT_WEIGHT = 5.0
LATENT_NOISE = 0.03
"""Added to the latents, of about unit variance, before they are decoded: edits do not hit them exactly either."""
HELD_OUT_SEED = 1_000_000_000
HELD_OUT_SCENES = 150


def new_autoencoder(pictures: Tensor, covered: Tensor, z_dim: int = 32) -> FrameAutoencoder:
    """An autoencoder that begins with the principal components of cells, half of them of objects.

    Args:
        pictures: (N, 3, H, W) float32 in [-1, 1].
        covered: (N, h, w) bool, the cells that show the object.
        z_dim: channels of a latent.

    Returns:
        Its `latents_std` is not set yet; the standard deviations of the components are in `component_std`.
    """
    vae = FrameAutoencoder(z_dim=z_dim)
    cells = F.pixel_unshuffle(pictures, CELL).permute(0, 2, 3, 1).flatten(0, 2)
    inside = covered.flatten()
    sample = torch.cat([cells[inside], cells[~inside][:: max(1, int((~inside).sum() / inside.sum()))]])
    mean = sample.mean(0)
    basis = torch.linalg.eigh(torch.cov((sample - mean).T)).eigenvectors.flip(1).T[:z_dim]
    scale = ((sample - mean) @ basis.T).std(0)
    with torch.no_grad():
        vae.project.weight.copy_((basis / scale[:, None])[..., None, None])
        vae.project.bias.copy_(-(basis / scale[:, None]) @ mean)
        vae.unproject.weight.copy_((basis * scale[:, None]).T[..., None, None])
        vae.unproject.bias.copy_(mean)
    return vae


def train_autoencoder(
    data: Rendered, *, out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> FrameAutoencoder:
    """Train, or go on from the run's checkpoint; write the averaged weights to `out` and return them."""
    torch.manual_seed(setting.seed)
    rng = np.random.default_rng(setting.seed)
    pictures, covered = random_frames(data, rng, LINEAR_SAMPLE)
    vae = new_autoencoder(pictures, covered > 0).to(setting.device, memory_format=torch.channels_last)
    component_std = vae.unproject.weight.detach()[:, :, 0, 0].norm(dim=0)
    held_out = held_out_frames()
    if rank() == 0:
        print("autoencoder: linear start, dB inside and whole:", quality(vae, *held_out), flush=True)

    def loss_at(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((setting.seed, step, rank()))
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        is_cut = progress < CROP_PART
        frames = random_frames(data, rng, (CROPS if is_cut else FRAMES) * setting.batch_scale)
        pictures, weight = _augmented(*frames, rng, is_cut=is_cut)
        pictures = pictures.to(setting.device, memory_format=torch.channels_last)
        height, width = (size // CELL for size in pictures.shape[2:])
        noise = LATENT_NOISE * torch.randn(
            len(pictures), vae.config.z_dim, height, width, generator=generator
        )
        with torch.autocast(setting.device.type, torch.bfloat16):
            decoded, latents = _reconstruct(vae, pictures, noise.to(setting.device))
        error = decoded.float() - pictures
        weight = weight.to(setting.device)
        loss = (weight * (error.square() + 0.02 * error.abs())).mean() / weight.mean()
        return loss + 1e-4 * latents.float().square().mean()

    def report(average: torch.nn.Module) -> None:
        if rank() == 0:
            print("autoencoder: dB inside and whole:", quality(average, *held_out), flush=True)

    finished = train(vae, loss_at, recipe=RECIPE, run=run, budget=budget, on_save=report)
    set_statistics(finished, random_frames(data, rng, LINEAR_SAMPLE)[0], component_std)
    if rank() == 0:
        with written_together(out) as whole:
            finished.half().save_pretrained(whole)
        plot_log(run.log, run.log.with_suffix(".png"), "loss")
    return finished.float()


def _reconstruct(vae: FrameAutoencoder, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    latents = vae.encode_pictures(pictures)
    return vae.decode_pictures(latents + noise), latents


def random_frames(data: Rendered, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """(B, 3, 128, 128) float32 in [-1, 1] and their (B, 16, 16) coverage."""
    where = tuple(rng.integers(size, size=count) for size in data.coverage.shape[:3])
    pictures = as_pictures(torch.from_numpy(data.frames[where]))
    return pictures, torch.from_numpy(data.coverage[where]).float()


def _augmented(
    pictures: Tensor, coverage: Tensor, rng: np.random.Generator, *, is_cut: bool
) -> tuple[Tensor, Tensor]:
    """Pictures cut or shifted, flipped and with other colours, as one batch; and the weight of each of their pixels."""
    weight = 1 + (OBJECT_WEIGHT - 1) * (coverage > 0).float()[:, None]
    weight = weight.repeat_interleave(CELL, dim=2).repeat_interleave(CELL, dim=3)
    if is_cut:
        corners = [_corner(covered.flatten().numpy(), rng, pictures.shape[-1]) for covered in coverage]
        pictures, weight = (
            torch.stack(
                [image[:, y : y + CROP, x : x + CROP] for image, (y, x) in zip(images, corners, strict=True)]
            )
            for images in (pictures, weight)
        )
    else:
        shift = tuple(rng.integers(CELL, size=2).tolist())
        pictures, weight = pictures.roll(shift, (2, 3)), weight.roll(shift, (2, 3))
    if rng.random() < 0.5:
        pictures, weight = pictures.flip(-1), weight.flip(-1)
    if rng.random() < 0.3:
        pictures = pictures[:, rng.permutation(3)]
    return pictures, weight


def _corner(covered: NDArray[np.floating], rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Top and left of a crop round a random cell of the object, or of one that lies anywhere."""
    total = float(covered.sum())
    if total == 0 or rng.random() < BACKGROUND_PART:
        top, left = (int(value) for value in rng.integers(size - CROP + 1, size=2))
        return top, left
    cell = int(rng.choice(len(covered), p=covered / total))
    middle = np.array(divmod(cell, size // CELL)) * CELL + rng.integers(-CELL, 2 * CELL, size=2)
    top, left = (int(value) for value in np.clip(middle - CROP // 2, 0, size - CROP))
    return top, left


def held_out_frames() -> tuple[Tensor, Tensor]:
    """(N, 3, 128, 128) float32 in [-1, 1] of scenes that no training sees, and their object masks."""
    scenes = [sample_scene(HELD_OUT_SEED + k) for k in range(HELD_OUT_SCENES)]
    rendered = render_batch(scenes, shot=Shot(2, 1.0, 128))
    return (
        as_pictures(torch.cat([clip.frames for clip in rendered])),
        torch.cat([clip.mask for clip in rendered])[:, None],
    )


@torch.no_grad()
def quality(vae: torch.nn.Module, pictures: Tensor, masks: Tensor) -> tuple[float, float]:
    """PSNR in dB of decoded pictures inside the masks and over whole frames."""
    device = next(vae.parameters()).device
    errors = []
    for part in pictures.split(50):
        decoded = vae.decode_pictures(vae.encode_pictures(part.to(device))).clamp(-1, 1).cpu()
        errors.append(((decoded - part) / 2).square().mean(1, keepdim=True))
    error = torch.cat(errors)
    inside, whole = (round(float(-10 * torch.log10(e.mean())), 2) for e in (error[masks], error))
    return inside, whole


@torch.no_grad()
def set_statistics(vae: FrameAutoencoder, pictures: Tensor, component_std: Tensor) -> None:
    """Write mean and standard deviation of the latents to the configuration.

    A denoiser sees channels whose spread is the square root of that of the linear component, with a variance of
    1 on average. At unit variance each, fine detail, which is most of the channels and hardly predictable, would
    be most of what is learned; at the spread of the pictures, colour alone.

    Args:
        vae: its latents are about of unit variance.
        pictures: (N, 3, H, W) in [-1, 1].
        component_std: (z_dim,), of the linear code.
    """
    device = next(vae.parameters()).device
    latents = torch.cat([vae.encode_pictures(part.to(device)) for part in pictures.split(50)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    wanted = component_std.to(device).sqrt()
    wanted = wanted / wanted.square().mean().sqrt()
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=(std / wanted).tolist())
