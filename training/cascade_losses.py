"""The training loss of each stage of the cascade.

The key-frame stage predicts noise, as Show-1's stages do. The later stages predict the velocity
alpha noise - sigma frame: their condition says almost everything about the frame, and at much noise a small
error of predicted noise is a large error of colour.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from dreammotion_core.finishing import to_model
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.method.parameterization import add_noise, signal_and_noise_scale
from dreammotion_core.models.cascade.stages import KEY_FRAME_STEP, blended, enlarged
from training.data import as_pictures, kept_array, random_captions
from training.loop import Setting
from training.processes import rank
from training.text import FrozenText
from training.world.scene import WORLD_VERSION

KEY_FRAME_SIZE, DETAIL_SIZE = 32, 64
"""Height and width in pixels of key frames and interpolated frames, and after super-resolution."""
NUM_TIMESTEPS = 1000
CAPTION_DROPOUT = 0.12
OBJECT_WEIGHT = 5.0  # weight of an error on the object; 1 elsewhere
CLIP_EVERY = 6
CLIPS_ONLY = 0.75
"""The key-frame stage sees clips at every sixth step, and at every step from this part of the run on."""
RECOLOURED = 0.5
"""Part of the clips that the later stages see in colours their captions do not name: an edit asks these
stages for the colours of their condition."""
DETAIL_WINDOW = 9
CROP = 32
CROPS_UNTIL = 0.6  # until this part of the run super-resolution sees crops
MAX_NOISE_LEVEL = 300


def smaller_clips(folder: Path, clips: NDArray[np.uint8], *, size: int) -> NDArray[np.uint8]:
    """Clips (N, F, H, W, 3) uint8 RGB at `size` x `size` pixels, as an edit scales them; kept in `folder`."""
    num_clips, num_frames = clips.shape[:2]
    path = folder / f"clips-v{WORLD_VERSION}-{num_clips}x{num_frames}x{size}.npy"
    if not path.exists():
        shape = (num_clips, num_frames, size, size, 3)
        with written_atomically(path) as part:
            small = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for index, clip in enumerate(tqdm(clips, desc=f"{size}x{size}", mininterval=10)):
                pictures = (to_model(clip, (size, size)) + 1) * 127.5
                small[index] = pictures.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            small.flush()
    return kept_array(path, in_memory=False)


@dataclass(frozen=True)
class Sizes:
    """The training clips at the sizes of the stages, and where their objects are."""

    clips: dict[int, NDArray[np.uint8]]  # size -> (N, F, size, size, 3) RGB
    coverage: NDArray[np.float16]  # (N, F, c, c) in [0, 1], share of the object in each coarse cell

    def pictures(self, size: int, *, clip: NDArray[np.integer], frame: NDArray[np.integer]) -> Tensor:
        """(B, 3, F, size, size) in [-1, 1] of clips (B,) at frames (B, F)."""
        chosen = torch.from_numpy(self.clips[size][clip[:, None], frame])
        return as_pictures(chosen.flatten(0, 1)).unflatten(0, frame.shape).transpose(1, 2)

    def covered(self, size: int, *, clip: NDArray[np.integer], frame: NDArray[np.integer]) -> Tensor:
        """(B, 1, F, size, size), how much of each pixel the object covers, roughly."""
        chosen = torch.from_numpy(self.coverage[clip[:, None], frame]).float()
        resized = F.interpolate(chosen, (size, size), mode="bilinear")
        return resized[:, None]


@dataclass(frozen=True)
class LossInputs:
    """The ingredients of every loss."""

    sizes: Sizes
    text: FrozenText
    alphas_cumprod: Tensor  # (T,) of the noise schedule
    setting: Setting

    def noised(self, pictures: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Pictures (B, ...) with the noise of (B,) timesteps."""
        return add_noise(pictures, noise, *signal_and_noise_scale(self.alphas_cumprod, timesteps, pictures))


class Draw:
    """The random choices of a training step, which follow from the seed, its number and the process."""

    def __init__(self, material: LossInputs, *, step: int, count: int, length: int, stride: int = 1) -> None:
        setting, sizes = material.setting, material.sizes
        self.rng = np.random.default_rng((setting.seed, step, rank()))
        self.generator = torch.Generator().manual_seed(int(self.rng.integers(2**31)))
        num_clips, num_frames = sizes.coverage.shape[:2]
        self.clip = self.rng.integers(num_clips, size=count * setting.batch_scale)
        last_start = num_frames - 1 - stride * (length - 1)
        starts = self.rng.integers(last_start + 1, size=(len(self.clip), 1))
        self.frame: NDArray[np.integer] = starts + stride * np.arange(length)

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal noise of that shape."""
        return torch.randn(like.shape, generator=self.generator)

    def timesteps(self, high: int = NUM_TIMESTEPS) -> Tensor:
        """(B,) whole numbers below `high`."""
        return torch.randint(high, (len(self.clip),), generator=self.generator)

    def captions(self) -> list[str]:
        """A caption for each clip, some of them empty."""
        rng = random.Random(int(self.rng.integers(2**31)))
        return random_captions(self.clip, rng, CAPTION_DROPOUT)

    def colours(self) -> NDArray[np.integer]:
        """(B, 3) order of the colour channels of each clip."""
        orders = [
            self.rng.permutation(3) if self.rng.random() < RECOLOURED else np.arange(3) for _ in self.clip
        ]
        return np.stack(orders)


def key_frame_loss(unet: nn.Module, material: LossInputs, *, step: int, progress: float) -> Tensor:
    """Key frames out of noise and text alone; most steps see single ones, which are cheaper."""
    whole = step % CLIP_EVERY == 0 or progress > CLIPS_ONLY
    num_frames = material.sizes.coverage.shape[1]
    if whole:
        length = (num_frames - 1) // KEY_FRAME_STEP + 1
        draw = Draw(material, step=step, count=6, length=length, stride=KEY_FRAME_STEP)
    else:
        draw = Draw(material, step=step, count=32, length=1)
    clean = material.sizes.pictures(KEY_FRAME_SIZE, clip=draw.clip, frame=draw.frame)
    return _error(unet, material, draw, clean, covered=_covered(material, draw, KEY_FRAME_SIZE))


def interpolation_loss(unet: nn.Module, material: LossInputs, *, step: int, progress: float) -> Tensor:
    """Frames of a window out of noise, its two ends blended, and a mask of where these stand."""
    del progress
    draw = Draw(material, step=step, count=6, length=KEY_FRAME_STEP + 1)
    clean = _recoloured(material.sizes.pictures(KEY_FRAME_SIZE, clip=draw.clip, frame=draw.frame), draw)
    ends = clean[:, :, [0, -1]].transpose(1, 2)
    between = torch.stack([blended(pair) for pair in ends]).transpose(1, 2)
    is_end = torch.zeros_like(clean[:, :1])
    is_end[:, :, [0, -1]] = 1
    return _error(
        unet,
        material,
        draw,
        clean,
        condition=torch.cat([between, is_end], dim=1),
        covered=_covered(material, draw, KEY_FRAME_SIZE),
    )


def first_frame_loss(unet: nn.Module, material: LossInputs, *, step: int, progress: float) -> Tensor:
    """Large pictures out of noise and the same small, enlarged and noised."""
    whole = progress > CROPS_UNTIL
    draw = Draw(material, step=step, count=8 if whole else 24, length=1)
    return _detail_error(unet, material, draw, whole=whole)


def super_resolution_loss(unet: nn.Module, material: LossInputs, *, step: int, progress: float) -> Tensor:
    """Large clips out of noise and the same small, enlarged and noised; the first frame is seen large."""
    whole = progress > CROPS_UNTIL
    draw = Draw(material, step=step, count=1 if whole else 4, length=DETAIL_WINDOW)
    return _detail_error(unet, material, draw, whole=whole)


def _detail_error(unet: nn.Module, material: LossInputs, draw: Draw, *, whole: bool) -> Tensor:
    """The loss of both kinds of super-resolution; a clip of one frame is a picture."""
    colours = draw.colours()
    clean, small = (
        _recoloured(material.sizes.pictures(size, clip=draw.clip, frame=draw.frame), draw, colours)
        for size in (DETAIL_SIZE, KEY_FRAME_SIZE)
    )
    frames = enlarged(small.transpose(1, 2).flatten(0, 1), scale=DETAIL_SIZE // KEY_FRAME_SIZE)
    coarse = frames.unflatten(0, draw.frame.shape).transpose(1, 2)
    covered = _covered(material, draw, DETAIL_SIZE)
    if not whole:
        top, left = draw.rng.integers(DETAIL_SIZE - CROP + 1, size=2)
        clean, coarse, covered = (
            each[..., top : top + CROP, left : left + CROP] for each in (clean, coarse, covered)
        )
    levels = draw.timesteps(MAX_NOISE_LEVEL)
    seen = material.noised(coarse, draw.noise(coarse), levels)
    if draw.frame.shape[1] > 1:
        seen[:, :, 0] = clean[:, :, 0]
    return _error(unet, material, draw, clean, condition=seen, covered=covered, class_labels=levels)


def _covered(material: LossInputs, draw: Draw, size: int) -> Tensor:
    return material.sizes.covered(size, clip=draw.clip, frame=draw.frame)


def _recoloured(clips: Tensor, draw: Draw, colours: NDArray[np.integer] | None = None) -> Tensor:
    """Clips (B, 3, F, h, w) with their colour channels in another order."""
    orders = draw.colours() if colours is None else colours
    return torch.stack([clip[torch.from_numpy(order)] for clip, order in zip(clips, orders, strict=True)])


def _error(
    unet: nn.Module,
    material: LossInputs,
    draw: Draw,
    clean: Tensor,
    *,
    covered: Tensor,
    condition: Tensor | None = None,
    **extra: Tensor,
) -> Tensor:
    """Mean squared error of the prediction: of the noise, or with a condition of the velocity.

    Args:
        clean: (B, 3, F, h, w) what the stage is to draw.
        covered: (B, 1, F, h, w) share of the object in each pixel.
        condition: (B, K, F, h, w) channels behind the noisy ones, if any.
        extra: further inputs of the U-Net, (B,).
    """
    device = material.setting.device
    noise, timesteps = draw.noise(clean), draw.timesteps()
    alpha, sigma = signal_and_noise_scale(material.alphas_cumprod, timesteps, clean)
    inputs = add_noise(clean, noise, alpha, sigma)
    weight = 1 + (OBJECT_WEIGHT - 1) * covered
    if condition is None:
        target, weight = noise, weight * sigma.square()  # 1 / (1 + SNR), as for toybox-unet
    else:
        target, inputs = alpha * noise - sigma * clean, torch.cat([inputs, condition], dim=1)
    prediction = _predicted(
        unet, inputs.to(device), timesteps.to(device), material.text(draw.captions()), extra
    )
    error = (prediction - target.to(device)).square().mean(dim=1, keepdim=True)
    return (weight.to(device) * error).sum() / weight.sum()


def _predicted(
    unet: nn.Module, inputs: Tensor, timesteps: Tensor, text: Tensor, extra: dict[str, Any]
) -> Tensor:
    """(B, 3, F, h, w) float32; the upper half of the output, Show-1's variance, is not trained."""
    is_picture_unet = isinstance(unet, UNet2DConditionModel)
    extra = {name: value.to(inputs.device) for name, value in extra.items()}
    with torch.autocast(inputs.device.type, torch.bfloat16):
        prediction = unet(inputs[:, :, 0] if is_picture_unet else inputs, timesteps, text, **extra).sample
    if is_picture_unet:
        prediction = prediction[:, :, None]
    return prediction[:, :3].float()
