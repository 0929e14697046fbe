"""What measuring an edit will take: tried on two frames first, so that nothing too long is begun."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from dreammotion_core import MeasuredEdit

JUDGED = ("text_alignment", "frame_consistency")
"""Measures that ask the judge; both look at the same features."""

_BY_PIXEL = ("colour_jitter", "warping_error", "motion_fidelity")
"""Measures that look at every pixel, those first of which the others take over what was worked out."""


@dataclass(frozen=True)
class Step:
    """Measures that are taken together or not at all.

    Attributes:
        names: of them.
        seconds: that they will take once the steps before are done.
    """

    names: tuple[str, ...]
    seconds: float


def working_seconds(work: Callable[[], Any]) -> float:
    """How long something keeps this thread at work: where others work too, that does not become longer."""
    before = time.thread_time()
    work()
    return time.thread_time() - before


def planned(edit: MeasuredEdit, *, names: Collection[str], judge_seconds: float) -> list[Step]:
    """The steps of measuring an edit, the cheapest first.

    Args:
        edit: with what is known of its source by now.
        names: of the measures wanted; those that ask a judge are left out where there is none.
        judge_seconds: that the judge takes for a frame.
    """
    beginning, pairs = edit.beginning(2), len(edit.source.frames) - 1
    ranked: list[tuple[float, Step]] = []
    so_far = 0.0
    for name in (name for name in _BY_PIXEL if name in names):
        seconds = pairs * working_seconds(partial(beginning.measure, name))
        so_far += seconds
        ranked.append((so_far, Step((name,), seconds)))
    judge = edit.instruments.judge
    if judge is not None:
        clips = [clip for clip in (edit.source, edit.edited) if not clip.knows_features(judge)]
        seconds = judge_seconds * sum(len(clip.frames) for clip in clips)
        ranked.append((seconds, Step(tuple(name for name in JUDGED if name in names), seconds)))
    return [step for _, step in sorted(ranked, key=lambda entry: entry[0])]
