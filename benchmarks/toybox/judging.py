"""What is measured of each finished edit and sample.

What the renderer itself says about an edit: which true render is nearest, and is the outline kept?

All distances are in CIELAB. A true render is the source's scene with one thing changed, so pose, place,
light and sensor noise are those of the clip; windows and wheels are in it as they are in the edit.

Which colour and noun does a clip show whose pose nobody knows? Renders are fitted to it.

A sample has no ground truth but its prompt. So the prompted object is rendered small in many poses, those
nearest to the sample are kept, and in these poses all colours (or all nouns) compete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.judge import Judge
from benchmarks.world_cases import Case
from dreammotion_core.evaluation.pixels import colour_jitter, region_similarity
from dreammotion_core.values import Frames, Mask
from training.judge import SENTENCE, THING
from training.world import (
    MATERIALS,
    Scene,
    Shot,
    background,
    caption,
    object_mask,
    render_batch,
    sample_scene,
    variants,
)
from training.world.materials import to_lab

BACKGROUND_DISTANCE = 6.0
"""A pixel nearer than this to the empty scene counts as background: about three times the distance that
the autoencoder leaves on a background it only repeats."""
SHADES = (1.0, 0.85, 0.7, 0.6)
"""How much darker a shadow may make the background; a shadow is no object."""

Lab = NDArray[np.float32]
"""(F, H, W, 3) CIELAB, L in [0, 100]."""


def lab(frames: Frames) -> Lab:
    """CIELAB of (F, H, W, 3) uint8 RGB."""
    return to_lab(frames.astype(np.float32) / 255)


def shot_like(frames: Frames, *, fps: float) -> Shot:
    """As many frames and pixels as a clip (F, H, W, 3)."""
    return Shot(len(frames), fps, frames.shape[1])


def rendered(scenes: Sequence[Scene], *, shot: Shot) -> list[Frames]:
    """Clips (F, H, W, 3) uint8 RGB of scenes."""
    return [clip.frames.numpy() for clip in render_batch(scenes, shot=shot)]


def nearest_by_mean(frames: Frames, clips: Mapping[str, Frames], *, mask: Mask) -> str:
    """The clip whose mean colour inside the mask is nearest: what colour the object has as a whole."""
    mean = lab(frames)[mask].mean(axis=0)
    return min(clips, key=lambda name: float(np.linalg.norm(lab(clips[name])[mask].mean(axis=0) - mean)))


def nearest_by_pixels(frames: Frames, clips: Mapping[str, Frames], *, mask: Mask) -> str:
    """The clip with the smallest mean distance pixel by pixel inside the mask."""
    pixels = lab(frames)[mask]

    def distance(name: str) -> float:
        return float(np.linalg.norm(lab(clips[name])[mask] - pixels, axis=-1).mean())

    return min(clips, key=distance)


def renderers_choice(case: Case, frames: Frames, *, mask: Mask, fps: float) -> str:
    """Which value of the changed attribute an edit is nearest to, among all its values.

    Colours are compared by their mean inside the mask, materials and nouns pixel by pixel.

    Args:
        case: the edit.
        frames: (F, H, W, 3) uint8 RGB.
        mask: (F, H, W), what the edit could change.
        fps: frames a second.
    """
    scenes = variants(case.source, attribute=case.kind)
    clips = dict(zip(scenes, rendered(list(scenes.values()), shot=shot_like(frames, fps=fps)), strict=True))
    nearest = nearest_by_mean if case.kind == "colour" else nearest_by_pixels
    return nearest(frames, clips, mask=mask)


def visible_object(frames: Frames, empty: Frames, *, region: Mask) -> Mask:
    """Where within a region something else than the background, lit or in shadow, is to be seen.

    Holes are filled: an object may be as green as the meadow in places.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
        empty: the same clip without its object.
        region: (F, H, W), where to look.
    """
    pixels = lab(frames)
    differs = region.copy()
    for shade in SHADES:
        shaded = lab((empty * shade).astype(np.uint8))
        differs &= np.linalg.norm(pixels - shaded, axis=-1) > BACKGROUND_DISTANCE
    return np.stack([_without_holes(frame) for frame in differs]) & region


def _without_holes(frame: NDArray[np.bool_]) -> NDArray[np.bool_]:
    closed = cv2.morphologyEx(frame.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(closed), outlines, -1, 1, cv2.FILLED) > 0


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


Measures = dict[str, Any]
"""Measured values of one case by name; those that need a judge are missing without one."""


def measure_edit(case: Case, frames: Frames, *, fps: float, judge: Judge | None) -> Measures:
    """Did the edit succeed, and what did it keep?

    The same is measured of a true render of the target where that tells how to read a figure.

    Args:
        case: what was asked.
        frames: (F, H, W, 3) uint8 RGB, the edit.
        fps: frames a second.
        judge: the embedded judge, if there is one.
    """
    shot = shot_like(frames, fps=fps)
    source, goal = rendered([case.source, case.target], shot=shot)
    region = case.mask(shot=shot)
    before, wanted = (object_mask(scene, shot=shot).numpy() for scene in (case.source, case.target))
    empty = background(case.source, shot=shot).numpy()
    outlines = case.outlines(shot=shot)
    after, ideal = (visible_object(clip, empty, region=outlines) for clip in (frames, goal))
    measures = {
        "renderer": renderers_choice(case, frames, mask=region, fps=fps),
        "overlap": region_similarity(after, truth=before),
        "overlap of a true render": region_similarity(ideal, truth=before),
        "overlap with the target": region_similarity(after, truth=wanted),
        "jitter before": colour_jitter(source, mask=region),
        "jitter after": colour_jitter(frames, mask=region),
        "jitter of a true render": colour_jitter(goal, mask=region),
    }
    if judge is None:
        return measures
    crops = judge.crop(frames, mask=region)
    prompt = caption(case.target, THING)
    return measures | {
        "judge": judged(judge, crops, case.source, case.kind, form=THING),
        "alignment before": judge.text_alignment(judge.crop(source, mask=region), prompt=prompt),
        "alignment after": judge.text_alignment(crops, prompt=prompt),
        "consistency before": judge.frame_consistency(source),
        "consistency after": judge.frame_consistency(frames),
    }


def judged(judge: Judge, frames: Frames, scene: Scene, attribute: str, *, form: int) -> str:
    """Which value of an attribute the judge sees, among one form of caption with all its values."""
    options = variants(scene, attribute=attribute)
    captions = [caption(option, form) for option in options.values()]
    return list(options)[judge.choose(frames, captions=captions)]


def measure_sample(scene: Scene, frames: Frames, *, fps: float, judge: Judge | None) -> dict[str, Measures]:
    """Does a sample show what its prompt says?

    Args:
        scene: what the prompt describes.
        frames: (F, H, W, 3) uint8 RGB, the sample.
        fps: frames a second.
        judge: the embedded judge, if there is one.

    Returns:
        The same measures of ``"sample"`` and of ``"real clip"``, a render of the same scene.
    """
    (real,) = rendered([scene], shot=shot_like(frames, fps=fps))
    named = ("colour", "noun") if MATERIALS[scene.material].keeps_colour else ("noun",)
    measures: dict[str, Measures] = {}
    for name, clip in {"sample": frames, "real clip": real}.items():
        found = {
            f"renderer, {word}": fitted_value(clip, scene, word) == getattr(scene, word) for word in named
        }
        measures[name] = found
        if judge is None:
            continue
        for word in (*named, "place", "material"):
            found[f"judge, {word}"] = judged(judge, clip, scene, word, form=SENTENCE) == getattr(scene, word)
        measures[name] = {**found, "consistency": judge.frame_consistency(clip)}
    return measures
