"""Which colour and noun does a clip show whose pose nobody knows? Renders are fitted to it.

A sample has no ground truth but its prompt. So the prompted object is rendered small in many poses, those
nearest to the sample are kept, and in these poses all colours (or all nouns) compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.world_tests import lab
from dreammotion_core.values import Frames
from training.world import Scene, Shot, render_batch, sample_scene, variants

SIZE = 32
"""Height and width in pixels at which clips and renders are compared."""
POSES, KEPT = 120, 6
FAR = 30.0
"""A pixel's distance in CIELAB counts no more than this, so that details of the background, which the
renders do not share with the clip, do not decide."""


def fitted_value(frames: Frames, scene: Scene, attribute: str) -> str:
    """The value of an attribute in the true render that is nearest to a clip's middle frame.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        scene: what the clip is said to show; pose, motion and background are not used.
        attribute: ``"colour"`` or ``"noun"``.
    """
    pixels = lab(cv2.resize(frames[len(frames) // 2], (SIZE, SIZE), interpolation=cv2.INTER_AREA)[None])
    upright = [sample_scene(seed) for seed in range(POSES)]
    poses = [*upright, *(replace(pose, motion="spin") for pose in upright)]
    for _ in range(2):
        nearest = np.argsort(_distances([_posed(scene, pose) for pose in poses], pixels))[:KEPT]
        best = [poses[k] for k in nearest]
        poses = [*best, *(_moved(pose, k) for pose in best for k in range(12))]
    options = variants(scene, attribute=attribute)
    distances = {
        value: _distances([_posed(option, pose) for pose in best], pixels).min()
        for value, option in options.items()
    }
    return min(distances, key=lambda value: float(distances[value]))


def _posed(scene: Scene, pose: Scene) -> Scene:
    """A scene with the pose of another, alone before the place's first background."""
    return replace(
        pose,
        colour=scene.colour,
        noun=scene.noun,
        place=scene.place,
        material=scene.material,
        companion=None,
        seed=0,
    )


def _moved(pose: Scene, seed: int) -> Scene:
    """A pose nearby; the phase turns those that spin."""
    rng = np.random.default_rng(seed)
    x, y, size, phase = (float(v) for v in rng.normal(0, 0.05, 4))
    return replace(
        pose, x=pose.x + x, y=pose.y + y, size=pose.size * (1 + 2 * size), phase=pose.phase + phase
    )


def _distances(scenes: Sequence[Scene], pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) mean distances of the scenes' pictures from (1, SIZE, SIZE, 3) CIELAB."""
    clips = render_batch(scenes, shot=Shot(1, resolution=SIZE))
    pictures = lab(np.concatenate([clip.frames.numpy() for clip in clips]))
    apart: NDArray[np.float32] = np.linalg.norm(pictures - pixels, axis=-1).clip(max=FAR).mean(axis=(1, 2))
    return apart
