"""The training set on disk: clips rendered once, their captions made again from their seeds."""

from __future__ import annotations

import os
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm

from training.world import caption, object_mask, render, sample_scene
from training.world.scene import TEMPLATES

NUM_FRAMES = 8
RESOLUTION = 128


def rendered_clips(folder: Path, num_clips: int) -> NDArray[np.uint8]:
    """The first `num_clips` training clips, (N, F, H, W, 3) uint8 RGB, memory-mapped; rendered if missing.

    An interrupted rendering leaves no file behind, so that a half-filled set is never trained on.
    """
    path = folder / f"clips-{num_clips}x{NUM_FRAMES}x{RESOLUTION}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        shape = (num_clips, NUM_FRAMES, RESOLUTION, RESOLUTION, 3)
        clips = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        with ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            rendered = pool.map(_render_training_clip, range(num_clips), chunksize=16)
            for index, frames in enumerate(tqdm(rendered, total=num_clips, desc="rendering", mininterval=10)):
                clips[index] = frames
        clips.flush()
        part.replace(path)
    return np.load(path, mmap_mode="r")


def _render_training_clip(seed: int) -> NDArray[np.uint8]:
    scene = sample_scene(seed)
    return render(scene, num_frames=NUM_FRAMES, resolution=RESOLUTION).frames.numpy()


def object_coverage(folder: Path, num_clips: int, size: int) -> NDArray[np.float16]:
    """How much of each latent the object covers, (N, F, size, size) in [0, 1]; kept in `folder`."""
    path = folder / f"coverage-{num_clips}x{size}.npy"
    if not path.exists():
        with ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            covered = pool.map(_coverage, range(num_clips), [size] * num_clips, chunksize=16)
            coverage = np.stack(list(tqdm(covered, total=num_clips, desc="masks", mininterval=10)))
        part = path.with_suffix(".part.npy")
        np.save(part, coverage)
        part.replace(path)
    return np.load(path)


def _coverage(seed: int, size: int) -> NDArray[np.float16]:
    mask = object_mask(sample_scene(seed), num_frames=NUM_FRAMES, resolution=4 * size)
    return F.avg_pool2d(mask.float()[:, None], 4)[:, 0].half().numpy()


def random_captions(seeds: NDArray[np.integer], rng: random.Random, dropout: float) -> list[str]:
    """A caption for each training clip in a random form; empty with probability `dropout`, for guidance."""
    return [
        "" if rng.random() < dropout else caption(sample_scene(int(seed)), rng.randrange(len(TEMPLATES)))
        for seed in seeds
    ]
