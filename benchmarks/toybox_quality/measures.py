"""What is measured of each finished edit and sample."""

from __future__ import annotations

from typing import Any

from benchmarks.fitting import fitted_value
from benchmarks.judge import Judge
from benchmarks.world_cases import Case
from benchmarks.world_tests import (
    rendered,
    renderers_choice,
    shot_like,
    visible_object,
)
from dreammotion_core.metrics.colour_jitter import colour_jitter
from dreammotion_core.metrics.mask_overlap import region_similarity
from dreammotion_core.values import Frames
from training.judge_data import SENTENCE, THING
from training.world import MATERIALS, Scene, background, caption, object_mask, variants

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
