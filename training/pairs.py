"""What `toybox` is trained on: pairs of clips and of pictures that differ in one attribute."""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dreammotion_core.media.atomic import written_atomically
from training.data import RESOLUTION, kept_array
from training.world import (
    ATTRIBUTES,
    LIKE_OUTLINES,
    MATERIALS,
    Scene,
    Shot,
    changed,
    render_batch,
    sample_scene,
)
from training.world.scene import WORLD_VERSION

LATENT_SIZE = 16
CLOSE_UPS = 0.35
"""Part of the scenes whose object is larger than the world draws it."""
LIKE_OUTLINE = 0.6
"""Part of the changed nouns that are of like outline, where there are such."""


@dataclass(frozen=True)
class Kind:
    """One kind of training material.

    Attributes:
        name: in the names of its files.
        first_seed: of its scenes; all of them lie in the range of training.
        shot: how each scene is filmed.
    """

    name: str
    first_seed: int
    shot: Shot


CLIPS = Kind("clips", 0, Shot(9, 8.0, RESOLUTION))
PICTURES = Kind("pictures", 100_000_000, Shot(2, 1.0, RESOLUTION))
"""Two frames of each scene, a second apart: more different things for the same work than clips."""


def sample_pair(seed: int) -> tuple[Scene, Scene]:
    """A scene and the same scene with another colour, material or noun; both are of the training part."""
    rng = random.Random(f"pair {seed}")
    scene = sample_scene(seed)
    if rng.random() < CLOSE_UPS:
        x, y = 0.5 * scene.x, 0.5 * scene.y
        scene = replace(scene, size=scene.size * rng.uniform(1.2, 1.9), x=x, y=y)
    while True:
        attribute = rng.choice(("colour", "material", "noun"))
        other = changed(scene, attribute=attribute, value=_other_value(scene, attribute, rng))
        if _visible(other) != _visible(scene) and not other.is_held_out:
            return scene, other


def _other_value(scene: Scene, attribute: str, rng: random.Random) -> str:
    like = next((nouns for nouns in LIKE_OUTLINES if scene.noun in nouns), ())
    values = like if attribute == "noun" and like and rng.random() < LIKE_OUTLINE else ATTRIBUTES[attribute]
    return rng.choice(values)


def _visible(scene: Scene) -> tuple[str, str, str]:
    """What is seen of the object: a substance hides the colour."""
    colour = scene.colour if MATERIALS[scene.material].keeps_colour else ""
    return colour, scene.material, scene.noun


@dataclass(frozen=True)
class Rendered:
    """N pairs of F frames.

    Attributes:
        frames: (N, 2, F, 128, 128, 3) uint8 RGB.
        coverage: (N, 2, F, 16, 16) float16, how much of each cell the object covers, in [0, 1].
    """

    frames: NDArray[np.uint8]
    coverage: NDArray[np.float16]


def rendered_pairs(folder: Path, kind: Kind, count: int, *, processes: int) -> Rendered:
    """The first pairs of a kind, rendered if they are missing in `folder`.

    An interrupted rendering leaves no file behind.

    Args:
        folder: keeps them.
        kind: of the material.
        count: pairs.
        processes: that render.
    """
    name = f"{kind.name}-v{WORLD_VERSION}-{count}"
    frames, coverage = folder / f"{name}-frames.npy", folder / f"{name}-coverage.npy"
    if not (frames.exists() and coverage.exists()):
        length = kind.shot.num_frames
        chunk = 50
        starts = range(0, count, chunk)
        with (
            written_atomically(frames) as frames_part,
            written_atomically(coverage) as coverage_part,
            ProcessPoolExecutor(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool,
            tqdm(desc=name, total=count, mininterval=10) as bar,
        ):
            shape = (count, 2, length)
            all_frames = np.lib.format.open_memmap(
                frames_part, mode="w+", dtype=np.uint8, shape=(*shape, RESOLUTION, RESOLUTION, 3)
            )
            all_coverage = np.lib.format.open_memmap(
                coverage_part, mode="w+", dtype=np.float16, shape=(*shape, LATENT_SIZE, LATENT_SIZE)
            )
            chunks = [range(start, min(start + chunk, count)) for start in starts]
            for numbers, part in zip(chunks, pool.map(partial(_render_pairs, kind), chunks), strict=True):
                where = slice(numbers.start, numbers.stop)
                all_frames[where], all_coverage[where] = part.frames, part.coverage
                bar.update(len(numbers))
            all_frames.flush()
            all_coverage.flush()
    return Rendered(kept_array(frames, in_memory=False), kept_array(coverage))


def _render_pairs(kind: Kind, numbers: range) -> Rendered:
    scenes = [scene for number in numbers for scene in sample_pair(kind.first_seed + number)]
    rendered = render_batch(scenes, shot=kind.shot)
    frames = np.stack([clip.frames.numpy() for clip in rendered])
    coverage = np.stack([cell_coverage(clip.mask).half().numpy() for clip in rendered])
    return Rendered(
        frames.reshape(len(numbers), 2, *frames.shape[1:]),
        coverage.reshape(len(numbers), 2, *coverage.shape[1:]),
    )


def cell_coverage(mask: Tensor) -> Tensor:
    """(F, 16, 16) in [0, 1]: how much of each cell of (F, 128, 128) bool masks is set."""
    return F.avg_pool2d(mask.float()[None], mask.shape[-1] // LATENT_SIZE)[0]
