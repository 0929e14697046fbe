"""The training set on disk: clips rendered once, their captions made again from their seeds."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
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
from training.world import NUM_FORMS, Shot, caption, object_mask, render_batch, sample_scene
from training.world.scene import WORLD_VERSION

NUM_FRAMES = 8
RESOLUTION = 128
CHUNK = 250
"""Clips rendered together, so that many of them are alike and can be drawn at once."""


def clips_path(folder: Path, num_clips: int, num_frames: int = NUM_FRAMES) -> Path:
    """Where the rendered clips of this version of the world are kept."""
    return folder / f"clips-v{WORLD_VERSION}-{num_clips}x{num_frames}x{RESOLUTION}.npy"


def rendered_clips(
    folder: Path, num_clips: int, device: torch.device | str = "cpu", num_frames: int = NUM_FRAMES
) -> NDArray[np.uint8]:
    """The first `num_clips` training clips, (N, F, H, W, 3) uint8 RGB, memory-mapped; rendered if missing.

    They are drawn on the device of the training; on a CPU by one process for each core. An interrupted
    rendering leaves no file behind, so that a half-filled set is never trained on.
    """
    path = clips_path(folder, num_clips, num_frames)
    if not path.exists():
        shape = (num_clips, num_frames, RESOLUTION, RESOLUTION, 3)
        bar = tqdm(desc="rendering", total=num_clips, mininterval=10)
        with bar, written_atomically(path) as part:
            clips = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for start, frames in _rendered_chunks(num_clips, num_frames, torch.device(device)):
                clips[start : start + len(frames)] = frames
                bar.update(len(frames))
            clips.flush()
    return kept_array(path, in_memory=False)


def _rendered_chunks(
    num_clips: int, num_frames: int, device: torch.device
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """First seed and frames of each chunk."""
    chunks = [range(k, min(k + CHUNK, num_clips)) for k in range(0, num_clips, CHUNK)]
    starts = [chunk.start for chunk in chunks]
    shot = Shot(num_frames, resolution=RESOLUTION, device=device)
    render = partial(_render_training_clips, shot=shot)
    if device.type != "cpu":
        yield from zip(starts, map(render, chunks), strict=True)
        return
    with _one_process_a_core() as pool:
        yield from zip(starts, pool.map(render, chunks), strict=True)


def _render_training_clips(seeds: range, *, shot: Shot) -> NDArray[np.uint8]:
    rendered = render_batch([sample_scene(seed) for seed in seeds], shot=shot)
    return np.stack([clip.frames.cpu().numpy() for clip in rendered])


def object_coverage(
    folder: Path, num_clips: int, size: int, num_frames: int = NUM_FRAMES
) -> NDArray[np.float16]:
    """How much of each latent the object covers, (N, F, size, size) in [0, 1]; kept in `folder`."""
    path = folder / f"coverage-v{WORLD_VERSION}-{num_clips}x{num_frames}x{size}.npy"
    shot = Shot(num_frames, resolution=4 * size)
    return kept_for_each_clip(path, partial(_coverage, shot=shot), num_clips=num_clips)


def _coverage(seed: int, *, shot: Shot) -> NDArray[np.float16]:
    mask = object_mask(sample_scene(seed), shot=shot)
    return F.avg_pool2d(mask.float()[:, None], 4)[:, 0].half().numpy()


def kept_for_each_clip(
    path: Path, found_for: Callable[[int], NDArray[Any]], *, num_clips: int
) -> NDArray[Any]:
    """An array for each training clip, stacked; found once, by one process for each core.

    Args:
        path: of the file that keeps it.
        found_for: from the seed of a clip to its array; must be picklable.
        num_clips: the seeds are those below.
    """
    if not path.exists():
        with _one_process_a_core() as pool:
            found = pool.map(found_for, range(num_clips), chunksize=16)
            stacked = np.stack(list(tqdm(found, total=num_clips, desc=path.stem, mininterval=10)))
        with written_atomically(path) as part:
            np.save(part, stacked)
    return kept_array(path)


def kept_array(path: Path, *, in_memory: bool = True) -> NDArray[Any]:
    """An array that an earlier run left in the cache.

    Args:
        path: of its `.npy` file.
        in_memory: read it whole; otherwise what is asked for is read from the file.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        return cast(NDArray[Any], np.load(path, mmap_mode=None if in_memory else "r"))
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path} is damaged ({reason_of(error)}); delete that file, and the same command makes it anew"
        ) from error


def as_pictures(frames: Tensor) -> Tensor:
    """(N, 3, H, W) float32 in [-1, 1] of frames (N, H, W, 3) uint8 RGB."""
    return frames.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _one_process_a_core() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))


def random_captions(seeds: NDArray[np.integer], rng: random.Random, dropout: float) -> list[str]:
    """A caption for each training clip in a random form; empty with probability `dropout`, for guidance."""
    return [
        "" if rng.random() < dropout else caption(sample_scene(int(seed)), rng.randrange(NUM_FORMS))
        for seed in seeds
    ]
