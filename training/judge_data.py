"""What the judge sees: whole frames and close-ups, with captions that differ in one attribute."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.data import NUM_FRAMES, as_pictures, kept_for_each_clip
from training.world import (
    ATTRIBUTES,
    NUM_FORMS,
    Scene,
    Shot,
    caption,
    object_mask,
    sample_scene,
    variants,
)
from training.world.scene import FORMS, WORLD_VERSION

VIEW_SIZE = 64
"""Height and width in pixels of what the judge sees."""
CLOSE_UP_MARGIN = 1.15
"""Side of a close-up over the longer side of the object."""
SMALLEST_OBJECT = 0.12
"""Frames whose object is smaller than this part of the frame (it may have moved out) are not learnt from."""
SENTENCE, THING = 1, FORMS.index("{thing}")
"""Caption forms: "a striped red car on a road" for whole frames, "a striped red car" for close-ups."""
WHOLE_FRAME = (0.0, 0.0, 1.0)


def names(scene: Scene, attribute: str, form: int) -> bool:
    """Whether the caption of that form says anything about the attribute."""
    return len({caption(other, form) for other in variants(scene, attribute=attribute).values()}) > 1


def square_around(mask: Tensor) -> Tensor:
    """The smallest square around each mask.

    Args:
        mask: (N, H, W) bool.

    Returns:
        (N, 3) float: centre x, centre y (downwards) and half side, where the frame spans [-1, 1]. The
        half side is 0 where the mask is empty.
    """
    ends = []
    for line in (mask.any(1), mask.any(2)):
        size = line.shape[1]
        first, last = line.int().argmax(1), size - line.flip(1).int().argmax(1)
        ends.append(torch.stack([first, last], dim=1) * 2 / size - 1)
    x, y = ends
    half = torch.maximum(x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]) / 2
    return torch.stack([x.mean(1), y.mean(1), half * mask.flatten(1).any(1)], dim=1)


def cut_out(frames: Tensor, squares: Tensor, *, mirrored: Tensor | None = None) -> Tensor:
    """Squares of frames, at twice the size that the judge sees.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
        squares: (N, 3) as from `square_around`.
        mirrored: (N,) bool, which to flip left to right.

    Returns:
        (N, 3, 2 * VIEW_SIZE, 2 * VIEW_SIZE) in [-1, 1]; edges are repeated outside of the frame.
    """
    pictures = as_pictures(frames)
    theta = torch.zeros(len(frames), 2, 3, device=frames.device)
    theta[:, :, 2] = squares[:, :2]
    theta[:, 0, 0] = theta[:, 1, 1] = squares[:, 2]
    if mirrored is not None:
        theta[:, 0, 0] *= 1 - 2 * mirrored.float()
    grid = F.affine_grid(theta, [len(frames), 3, 2 * VIEW_SIZE, 2 * VIEW_SIZE], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def views(frames: Tensor, squares: Tensor, *, mirrored: Tensor | None = None) -> Tensor:
    """What the judge sees, (N, 3, VIEW_SIZE, VIEW_SIZE): `cut_out` averaged down by area."""
    return F.avg_pool2d(cut_out(frames, squares, mirrored=mirrored), 2)


def blurred(pictures: Tensor, size: int) -> Tensor:
    """Pictures (N, 3, H, W) scaled down to `size` pixels and up again, as soft as decoded ones may be."""
    small = F.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
    return F.interpolate(small, pictures.shape[-2:], mode="bicubic")


def object_squares(folder: Path, num_clips: int) -> NDArray[np.float32]:
    """The square around the object in each frame of the training clips, (N, F, 3); kept in `folder`."""
    path = folder / f"squares-v{WORLD_VERSION}-{num_clips}.npy"
    return kept_for_each_clip(path, _squares, num_clips=num_clips)


def _squares(seed: int) -> NDArray[np.float32]:
    mask = object_mask(sample_scene(seed), shot=Shot(NUM_FRAMES, resolution=64))
    return square_around(mask).float().numpy()


@dataclass(frozen=True)
class Batch:
    """Pictures and the captions to choose from.

    Attributes:
        pictures: (B, 3, VIEW_SIZE, VIEW_SIZE) in [-1, 1], first close-ups, then whole frames.
        captions: U different texts.
        right: (B,) index of each picture's own caption.
        choices: (B, U) bool, its own caption and those that differ in one attribute.
    """

    pictures: Tensor
    captions: list[str]
    right: Tensor
    choices: Tensor


@dataclass(frozen=True)
class JudgeSet:
    """What the batches are drawn from.

    Attributes:
        clips: (N, F, H, W, 3) uint8 RGB, of the scenes with seeds 0 to N - 1.
        squares: (N, F, 3) as from `square_around`.
    """

    clips: NDArray[np.uint8]
    squares: NDArray[np.float32]

    def batch(self, seed: int, size: int, device: torch.device) -> Batch:
        """`size` pictures, half of them close-ups, all drawn from `seed`."""
        rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
        shown = np.argwhere(self.squares[..., 2] > SMALLEST_OBJECT)
        picked = shown[[rng.randrange(len(shown)) for _ in range(size)]]
        clip, frame = picked[:, 0], picked[:, 1]
        squares = torch.from_numpy(self.squares[clip, frame])
        squares[:, 2] *= CLOSE_UP_MARGIN * (0.9 + 0.25 * torch.rand(size, generator=generator))
        squares[size // 2 :] = torch.tensor(WHOLE_FRAME)
        asked = [_question(int(s), rng, close_up=i < size // 2) for i, s in enumerate(clip)]
        captions = list(dict.fromkeys(text for texts, _ in asked for text in texts))
        index = {text: i for i, text in enumerate(captions)}
        choices = torch.zeros(size, len(captions), dtype=torch.bool)
        for row, (texts, _) in enumerate(asked):
            choices[row, [index[text] for text in texts]] = True
        sided = torch.tensor([not {"left", "right"}.isdisjoint(text.split()) for _, text in asked])
        mirrored = (torch.rand(size, generator=generator) < 0.5) & ~sided
        frames = torch.from_numpy(self.clips[clip, frame]).to(device)
        pictures = views(frames, squares.to(device), mirrored=mirrored.to(device))
        right = torch.tensor([index[text] for _, text in asked])
        return Batch(_worn(pictures, rng), captions, right.to(device), choices.to(device))


def _question(seed: int, rng: random.Random, close_up: bool) -> tuple[list[str], str]:
    """The captions to choose from for a training clip, and the right one.

    Combinations that are held out are no choices: always wrong, they would be learnt as wrong.
    """
    scene = sample_scene(seed)
    form = THING if close_up else rng.choice((SENTENCE, rng.randrange(NUM_FORMS)))
    said = [attribute for attribute in ATTRIBUTES if names(scene, attribute, form)]
    attribute = rng.choices(said, weights=[len(ATTRIBUTES[a]) for a in said])[0]  # nouns most, being hardest
    others = variants(scene, attribute=attribute).values()
    choices = [caption(other, form) for other in others if close_up or not other.is_held_out]
    return choices, caption(scene, form)


def _worn(pictures: Tensor, rng: random.Random) -> Tensor:
    """A little brighter or darker, noisier, and every other picture blurred: as edited clips may look."""
    brightness = torch.tensor([rng.uniform(0.92, 1.08) for _ in pictures], device=pictures.device)
    sizes = [rng.choice((VIEW_SIZE, rng.randint(20, VIEW_SIZE))) for _ in pictures]
    soft = [p if s == VIEW_SIZE else blurred(p[None], s)[0] for p, s in zip(pictures, sizes, strict=True)]
    generator = torch.Generator().manual_seed(rng.getrandbits(31))
    noise = 0.03 * torch.randn(pictures.shape, generator=generator).to(pictures.device)
    return (torch.stack(soft) + 1) * brightness[:, None, None, None] - 1 + noise
