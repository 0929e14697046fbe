"""Training the autoencoder of `toybox`, which begins as the best linear code of the world's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dreammotion_core.models.frame_vae import CELL, FrameAutoencoder
from training.data import Pairs, as_pictures
from training.loop import Budget, Recipe, Setting, train
from training.processes import rank
from training.run_folder import RunFolder, load_trained, start_from
from training.world import Shot, render_batch, sample_scene

RECIPE = Recipe(learning_rate=1e-3, weight_decay=1e-3, ema_decay=0.998, save_every=500, betas=(0.9, 0.98))
LINEAR_SAMPLE = 1200  # frames that the linear code is computed from
CROPS, FRAMES = 32, 10  # pictures in a batch: crops first, then whole frames
CROP = 64  # sides in pixels of the crops
CROP_PART = 0.65  # until this part of the run pictures are cut round objects, where most is to be learned
BACKGROUND_PART = 0.25  # part of the crops that lie anywhere
OBJECT_WEIGHT = 5.0  # weight of an error on the object; 1 elsewhere
ABSOLUTE_WEIGHT = 0.02  # weight of the absolute error beside the squared one
LATENT_WEIGHT = 1e-4
LATENT_NOISE = 0.03
"""Standard deviation of the noise on latents before they are decoded: edits are not exact either."""
HELD_OUT_SEED = 1_000_000_000
HELD_OUT_SCENES = 150


def train_autoencoder(
    data: Pairs, *, out: Path, run: RunFolder, budget: Budget, setting: Setting
) -> FrameAutoencoder:
    """Train or resume; write the averaged autoencoder to `out` and return it in float32."""
    rng = np.random.default_rng(setting.seed)
    torch.manual_seed(setting.seed)
    pictures, coverage = random_frames(data, rng, LINEAR_SAMPLE)
    vae = new_autoencoder(pictures, coverage > 0)
    component_std = vae.unproject.weight[:, :, 0, 0].detach().norm(dim=0)
    if setting.warm_start is not None:
        start_from(vae, setting.warm_start / "vae")
    finished = _trained(vae, data, run, budget, setting)
    set_statistics(finished, random_frames(data, rng, LINEAR_SAMPLE)[0], component_std)
    if rank() == 0:
        finished.half().save_pretrained(out)
    return finished.float()


def refine_decoder(data: Pairs, *, folder: Path, run: RunFolder, budget: Budget, setting: Setting) -> None:
    """Train the decoder of the finished autoencoder in `folder` further, or resume; latents stay the same."""
    vae = load_trained(FrameAutoencoder.from_pretrained, folder, remedy="train toybox first").float()
    for part in (vae.project, vae.encoder):
        part.requires_grad_(False)
    finished = _trained(vae, data, run, budget, setting)
    if rank() == 0:
        finished.half().save_pretrained(folder)


def _trained(
    vae: FrameAutoencoder, data: Pairs, run: RunFolder, budget: Budget, setting: Setting
) -> FrameAutoencoder:
    """The averaged autoencoder after training; its quality on frames that no training sees is printed."""
    vae.to(setting.device, memory_format=torch.channels_last)
    held_out = held_out_frames()

    def on_save(average: nn.Module) -> None:
        if rank() == 0:
            inside, whole = quality(average, *held_out)
            print(f"{inside:.2f} dB inside objects, {whole:.2f} dB over whole frames", flush=True)

    def loss_at(step: int, progress: float) -> Tensor:
        return _step_loss(vae, data, setting, step, is_cut=progress < CROP_PART)

    on_save(vae)
    recipe = RECIPE.from_weights(setting.warm_start)
    return cast(FrameAutoencoder, train(vae, loss_at, recipe=recipe, run=run, budget=budget, on_save=on_save))


def new_autoencoder(pictures: Tensor, covered: Tensor, z_dim: int = 32) -> FrameAutoencoder:
    """An autoencoder that begins with the principal components of cells, half of them of objects.

    Args:
        pictures: (N, 3, H, W) float32 in [-1, 1].
        covered: (N, h, w) bool, the cells that show the object.
    """
    vae = FrameAutoencoder(z_dim=z_dim)
    cells = F.pixel_unshuffle(pictures, CELL).permute(0, 2, 3, 1).flatten(0, 2)
    inside, outside = cells[covered.flatten()], cells[~covered.flatten()]
    sample = torch.cat([inside, outside[:: max(1, len(outside) // len(inside))]])
    mean = sample.mean(0)
    basis = torch.linalg.eigh(torch.cov((sample - mean).T)).eigenvectors.flip(1).T[:z_dim]
    scale = ((sample - mean) @ basis.T).std(0)
    with torch.no_grad():
        vae.project.weight.copy_((basis / scale[:, None])[..., None, None])
        vae.project.bias.copy_(-(basis / scale[:, None]) @ mean)
        vae.unproject.weight.copy_((basis * scale[:, None]).T[..., None, None])
        vae.unproject.bias.copy_(mean)
    return vae


def _step_loss(vae: FrameAutoencoder, data: Pairs, setting: Setting, step: int, *, is_cut: bool) -> Tensor:
    rng = np.random.default_rng((setting.seed, step, rank()))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    frames = random_frames(data, rng, (CROPS if is_cut else FRAMES) * setting.batch_scale)
    pictures, weight = (
        values.to(setting.device, memory_format=torch.channels_last)
        for values in _augmented(*frames, rng, is_cut=is_cut)
    )
    with torch.autocast(setting.device.type, torch.bfloat16):
        latents = vae.encode_pictures(pictures)
        noise = LATENT_NOISE * torch.randn(latents.shape, generator=generator).to(setting.device)
        decoded = vae.decode_pictures(latents + noise)
    error = decoded.float() - pictures
    loss = (weight * (error.square() + ABSOLUTE_WEIGHT * error.abs())).mean() / weight.mean()
    return loss + LATENT_WEIGHT * latents.float().square().mean()


def random_frames(data: Pairs, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """(B, 3, 128, 128) float32 in [-1, 1], and (B, 16, 16) coverage."""
    where = tuple(rng.integers(size, size=count) for size in data.coverage.shape[:3])
    pictures = as_pictures(torch.from_numpy(data.frames[where]))
    return pictures, torch.from_numpy(data.coverage[where]).float()


def _augmented(
    pictures: Tensor, coverage: Tensor, rng: np.random.Generator, *, is_cut: bool
) -> tuple[Tensor, Tensor]:
    """Pictures cut or shifted, flipped and recoloured as one batch, and the weight of each pixel."""
    weight = 1 + (OBJECT_WEIGHT - 1) * (coverage > 0).float()[:, None]
    weight = weight.repeat_interleave(CELL, dim=2).repeat_interleave(CELL, dim=3)
    if is_cut:
        corners = [_corner(covered.flatten().numpy(), rng, pictures.shape[-1]) for covered in coverage]
        pictures, weight = _cut(pictures, corners), _cut(weight, corners)
    else:
        shift = tuple(rng.integers(CELL, size=2).tolist())
        pictures, weight = pictures.roll(shift, (2, 3)), weight.roll(shift, (2, 3))
    if rng.random() < 0.5:
        pictures, weight = pictures.flip(-1), weight.flip(-1)
    if rng.random() < 0.3:
        pictures = pictures[:, rng.permutation(3)]
    return pictures, weight


def _cut(images: Tensor, corners: list[tuple[int, int]]) -> Tensor:
    crops = [image[:, y : y + CROP, x : x + CROP] for image, (y, x) in zip(images, corners, strict=True)]
    return torch.stack(crops)


def _corner(covered: NDArray[np.floating], rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Top and left of a crop round a random cell of the object, or of one that lies anywhere."""
    total = float(covered.sum())
    if total == 0 or rng.random() < BACKGROUND_PART:
        top, left = rng.integers(size - CROP + 1, size=2).tolist()
    else:
        cell = int(rng.choice(len(covered), p=covered / total))
        middle = np.array(divmod(cell, size // CELL)) * CELL + rng.integers(-CELL, 2 * CELL, size=2)
        top, left = np.clip(middle - CROP // 2, 0, size - CROP).tolist()
    return top, left


def held_out_frames() -> tuple[Tensor, Tensor]:
    """(N, 3, 128, 128) float32 in [-1, 1] of scenes that no training sees, and (N, 1, 128, 128) masks."""
    scenes = [sample_scene(HELD_OUT_SEED + k) for k in range(HELD_OUT_SCENES)]
    rendered = render_batch(scenes, shot=Shot(2, 1.0))
    frames, masks = torch.cat([clip.frames for clip in rendered]), torch.cat([clip.mask for clip in rendered])
    return as_pictures(frames), masks[:, None]


@torch.no_grad()
def quality(vae: nn.Module, pictures: Tensor, masks: Tensor) -> tuple[float, float]:
    """PSNR in dB of decoded pictures inside the masks and over whole frames."""
    device = next(vae.parameters()).device
    errors = []
    for part in pictures.split(50):
        decoded = vae.decode_pictures(vae.encode_pictures(part.to(device))).clamp(-1, 1).cpu()
        errors.append(((decoded - part) / 2).square().mean(1, keepdim=True))
    error = torch.cat(errors)
    inside, whole = (float(-10 * torch.log10(values.mean())) for values in (error[masks], error))
    return inside, whole


@torch.no_grad()
def set_statistics(vae: FrameAutoencoder, pictures: Tensor, component_std: Tensor) -> None:
    """Write mean and scale of the latents to the configuration.

    A denoiser then sees channels whose spread is the square root of that of the linear components, with a
    variance of 1 on average. At unit variance each, fine detail, which is most of the channels and hardly
    predictable, would be most of what is learned; at the spread of the pictures it would be colour alone.

    Args:
        pictures: (N, 3, H, W) in [-1, 1].
        component_std: (z_dim,) standard deviations of the linear components.
    """
    device = next(vae.parameters()).device
    latents = torch.cat([vae.encode_pictures(part.to(device)) for part in pictures.split(50)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    wanted = component_std.to(device).sqrt()
    wanted = wanted / wanted.square().mean().sqrt()
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=(std / wanted).tolist())
