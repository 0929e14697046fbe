"""What the models are trained on: clips rendered once and kept, and their captions made anew from the seeds.

There are plain clips, and pairs of clips and of pictures that differ in one attribute.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dreammotion_core.errors import InputError, reason_of
from dreammotion_core.media.atomic import written_atomically
from training.world import (
    ATTRIBUTES,
    LIKE_OUTLINES,
    MATERIALS,
    NUM_FORMS,
    Scene,
    Shot,
    caption,
    changed,
    object_mask,
    render_batch,
    sample_scene,
)
from training.world.scene import WORLD_VERSION

RESOLUTION = 128
NUM_FRAMES = 8  # frames of a plain clip
LATENT_SIZE = 16
"""Height and width of the latents of all embedded models, and of the cells that coverage is counted in."""
CHUNK = 250  # clips rendered together, so that many of them are alike and are drawn at once

CLOSE_UPS = 0.35  # part of the pairs whose object is larger than the world draws it
LIKE_OUTLINE = 0.6  # part of the changed nouns that are of like outline, where there are any


def rendered_clips(
    folder: Path, num_clips: int, device: torch.device | str = "cpu", num_frames: int = NUM_FRAMES
) -> NDArray[np.uint8]:
    """The first training clips, (N, F, H, W, 3) uint8 RGB, memory-mapped; rendered if missing in `folder`."""
    path = folder / f"clips-v{WORLD_VERSION}-{num_clips}x{num_frames}x{RESOLUTION}.npy"
    if not path.exists():
        shot = Shot(num_frames, resolution=RESOLUTION, device=device)
        shape = (num_clips, num_frames, RESOLUTION, RESOLUTION, 3)
        with written_atomically(path) as part:
            clips = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for seeds, frames in _rendered(partial(_render_clips, shot=shot), num_clips, CHUNK, device):
                clips[seeds.start : seeds.stop] = frames
            clips.flush()
    return kept_array(path, in_memory=False)


def _render_clips(seeds: range, *, shot: Shot) -> NDArray[np.uint8]:
    rendered = render_batch([sample_scene(seed) for seed in seeds], shot=shot)
    return np.stack([clip.frames.cpu().numpy() for clip in rendered])


def _rendered(
    render: Callable[[range], Any], count: int, chunk: int, device: torch.device | str
) -> Iterator[tuple[range, Any]]:
    """Seeds and result of each chunk of the numbers below `count`; on a CPU by one process for each core."""
    chunks = [range(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    with tqdm(desc="rendering", total=count, mininterval=10) as bar, _one_process_a_core() as pool:
        run = pool.map if torch.device(device).type == "cpu" else map
        for seeds, result in zip(chunks, run(render, chunks), strict=True):
            yield seeds, result
            bar.update(len(seeds))


def _one_process_a_core() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))


def object_coverage(
    folder: Path, num_clips: int, size: int, num_frames: int = NUM_FRAMES
) -> NDArray[np.float16]:
    """How much of each latent the object covers, (N, F, size, size) in [0, 1]; kept in `folder`."""
    path = folder / f"coverage-v{WORLD_VERSION}-{num_clips}x{num_frames}x{size}.npy"
    shot = Shot(num_frames, resolution=4 * size)
    return kept_for_each_clip(path, partial(_coverage, shot=shot), num_clips=num_clips)


def _coverage(seed: int, *, shot: Shot) -> NDArray[np.float16]:
    return cell_coverage(object_mask(sample_scene(seed), shot=shot), shot.resolution // 4)


def cell_coverage(mask: Tensor, size: int = LATENT_SIZE) -> NDArray[np.float16]:
    """How much of each of size x size cells a mask (F, H, W) covers, (F, size, size) in [0, 1]."""
    covered = F.avg_pool2d(mask.float()[None], mask.shape[-1] // size)[0]
    return cast(NDArray[np.float16], covered.half().cpu().numpy())


def kept_for_each_clip(path: Path, found_for: Callable[[int], Any], *, num_clips: int) -> NDArray[Any]:
    """An array for each training clip, stacked; read from `path`, or made and kept there."""
    if not path.exists():
        with _one_process_a_core() as pool:
            found = pool.map(found_for, range(num_clips), chunksize=16)
            stacked = np.stack(list(tqdm(found, total=num_clips, desc=path.stem, mininterval=10)))
        with written_atomically(path) as part:
            np.save(part, stacked)
    return kept_array(path)


def kept_array(path: Path, *, in_memory: bool = True) -> NDArray[Any]:
    """An array that an earlier run left in the cache."""
    try:
        return cast(NDArray[Any], np.load(path, mmap_mode=None if in_memory else "r"))
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path} is damaged ({reason_of(error)}); delete that file, and the same command makes it anew"
        ) from error


def as_pictures(frames: Tensor) -> Tensor:
    """(N, 3, H, W) float32 in [-1, 1] of frames (N, H, W, 3) uint8 RGB."""
    return frames.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def random_captions(seeds: NDArray[np.integer], rng: random.Random, dropout: float) -> list[str]:
    """A caption for each training clip in a random form; empty with probability `dropout`, for guidance."""
    return [
        "" if rng.random() < dropout else caption(sample_scene(int(seed)), rng.randrange(NUM_FORMS))
        for seed in seeds
    ]


@dataclass(frozen=True)
class PairKind:
    """Pairs that are filmed alike."""

    name: str
    first_seed: int
    shot: Shot


CLIP_PAIRS = PairKind("clips", 0, Shot(9, 8.0, RESOLUTION))
PICTURE_PAIRS = PairKind("pictures", 100_000_000, Shot(2, 1.0, RESOLUTION))
"""Two frames of each scene, a second apart: they show more different things for the same work than clips."""


@dataclass(frozen=True)
class Pairs:
    """N pairs of F frames."""

    kind: PairKind
    frames: NDArray[np.uint8]  # (N, 2, F, 128, 128, 3) RGB, memory-mapped
    coverage: NDArray[np.float16]  # (N, 2, F, 16, 16) in [0, 1], share of the object in each cell

    def scenes(self, number: int) -> tuple[Scene, Scene]:
        """The two scenes of a pair."""
        return sample_pair(self.kind.first_seed + number)


def sample_pair(seed: int) -> tuple[Scene, Scene]:
    """A scene, and the same scene with another colour, material or noun; neither is held out."""
    rng = random.Random(f"pair {seed}")
    scene = sample_scene(seed)
    if rng.random() < CLOSE_UPS:
        x, y = 0.5 * scene.x, 0.5 * scene.y
        scene = replace(scene, size=scene.size * rng.uniform(1.2, 1.9), x=x, y=y)
    while True:
        attribute = rng.choice(("colour", "material", "noun"))
        other = changed(scene, attribute=attribute, value=rng.choice(_values(scene, attribute, rng)))
        if _look(other) != _look(scene) and not other.is_held_out:
            return scene, other


def _values(scene: Scene, attribute: str, rng: random.Random) -> Sequence[str]:
    like = next((nouns for nouns in LIKE_OUTLINES if scene.noun in nouns), ())
    return like if attribute == "noun" and like and rng.random() < LIKE_OUTLINE else ATTRIBUTES[attribute]


def _look(scene: Scene) -> tuple[str, str, str]:
    """What is seen of the object: a substance hides the colour."""
    colour = scene.colour if MATERIALS[scene.material].keeps_colour else ""
    return colour, scene.material, scene.noun


def rendered_pairs(folder: Path, kind: PairKind, count: int, device: torch.device | str = "cpu") -> Pairs:
    """The first pairs of a kind, rendered if missing in `folder`; an interruption leaves no file behind."""
    name = f"{kind.name}-v{WORLD_VERSION}-{count}"
    frames, coverage = folder / f"{name}-frames.npy", folder / f"{name}-coverage.npy"
    if not (frames.exists() and coverage.exists()):
        shape = (count, 2, kind.shot.num_frames)
        covered = np.empty((*shape, LATENT_SIZE, LATENT_SIZE), np.float16)
        with written_atomically(frames) as part:
            pictures = np.lib.format.open_memmap(
                part, mode="w+", dtype=np.uint8, shape=(*shape, RESOLUTION, RESOLUTION, 3)
            )
            render = partial(_render_pairs, kind=kind, device=device)
            for numbers, (shown, cells) in _rendered(render, count, CHUNK // 5, device):
                where = slice(numbers.start, numbers.stop)
                pictures[where], covered[where] = shown, cells
            pictures.flush()
        with written_atomically(coverage) as part:
            np.save(part, covered)
    return Pairs(kind, kept_array(frames, in_memory=False), kept_array(coverage))


def _render_pairs(
    numbers: range, *, kind: PairKind, device: torch.device | str
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    scenes = [scene for number in numbers for scene in sample_pair(kind.first_seed + number)]
    rendered = render_batch(scenes, shot=replace(kind.shot, device=device))
    frames = np.stack([clip.frames.cpu().numpy() for clip in rendered])
    covered = np.stack([cell_coverage(clip.mask) for clip in rendered])
    return frames.reshape(-1, 2, *frames.shape[1:]), covered.reshape(-1, 2, *covered.shape[1:])
