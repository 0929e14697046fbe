"""The training set on disk: clips rendered once, their captions made again from their seeds."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm

from training.world import NUM_FORMS, Shot, caption, object_mask, render_batch, sample_scene
from training.world.scene import WORLD_VERSION

NUM_FRAMES = 8
RESOLUTION = 128
CHUNK = 250
"""Clips rendered together, so that many of them are alike and can be drawn at once."""


def clips_path(folder: Path, num_clips: int) -> Path:
    """Where the rendered clips of this version of the world are kept."""
    return folder / f"clips-v{WORLD_VERSION}-{num_clips}x{NUM_FRAMES}x{RESOLUTION}.npy"


def rendered_clips(folder: Path, num_clips: int, device: torch.device | str = "cpu") -> NDArray[np.uint8]:
    """The first `num_clips` training clips, (N, F, H, W, 3) uint8 RGB, memory-mapped; rendered if missing.

    They are drawn on the device of the training; on a CPU by one process for each core. An interrupted
    rendering leaves no file behind, so that a half-filled set is never trained on.
    """
    path = clips_path(folder, num_clips)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        shape = (num_clips, NUM_FRAMES, RESOLUTION, RESOLUTION, 3)
        clips = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        with tqdm(desc="rendering", total=num_clips, mininterval=10) as bar:
            for start, frames in _rendered_chunks(num_clips, torch.device(device)):
                clips[start : start + len(frames)] = frames
                bar.update(len(frames))
        clips.flush()
        part.replace(path)
    return np.load(path, mmap_mode="r")


def _rendered_chunks(num_clips: int, device: torch.device) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """First seed and frames of each chunk."""
    chunks = [range(k, min(k + CHUNK, num_clips)) for k in range(0, num_clips, CHUNK)]
    starts = [chunk.start for chunk in chunks]
    if device.type != "cpu":
        yield from zip(starts, (_render_training_clips(seeds, device) for seeds in chunks), strict=True)
        return
    with ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from zip(starts, pool.map(_render_training_clips, chunks), strict=True)


def _render_training_clips(seeds: range, device: torch.device | str = "cpu") -> NDArray[np.uint8]:
    scenes = [sample_scene(seed) for seed in seeds]
    rendered = render_batch(scenes, shot=Shot(NUM_FRAMES, resolution=RESOLUTION, device=device))
    return np.stack([clip.frames.cpu().numpy() for clip in rendered])


def object_coverage(folder: Path, num_clips: int, size: int) -> NDArray[np.float16]:
    """How much of each latent the object covers, (N, F, size, size) in [0, 1]; kept in `folder`."""
    path = folder / f"coverage-v{WORLD_VERSION}-{num_clips}x{size}.npy"
    if not path.exists():
        with ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            covered = pool.map(_coverage, range(num_clips), [size] * num_clips, chunksize=16)
            coverage = np.stack(list(tqdm(covered, total=num_clips, desc="masks", mininterval=10)))
        part = path.with_suffix(".part.npy")
        np.save(part, coverage)
        part.replace(path)
    return np.load(path)


def _coverage(seed: int, size: int) -> NDArray[np.float16]:
    mask = object_mask(sample_scene(seed), shot=Shot(NUM_FRAMES, resolution=4 * size))
    return F.avg_pool2d(mask.float()[:, None], 4)[:, 0].half().numpy()


def random_captions(seeds: NDArray[np.integer], rng: random.Random, dropout: float) -> list[str]:
    """A caption for each training clip in a random form; empty with probability `dropout`, for guidance."""
    return [
        "" if rng.random() < dropout else caption(sample_scene(int(seed)), rng.randrange(NUM_FORMS))
        for seed in seeds
    ]
