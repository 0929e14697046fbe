"""One segmenter on one clip: what it starts from, how good its masks are, what they cost.

Corrections come from a simulated user who knows the truth and works as in the page, with `Tracks` and
`begin_prompt`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.davis.cases import Case, click_inside
from benchmarks.davis.scores import ClipScore, score_clip
from dreammotion_core.evaluation.pixels import region_similarity
from dreammotion_core.memory import MemoryMeter
from segmentation import (
    Click,
    Project,
    Prompt,
    SegmentationSession,
    Segmenter,
    Selection,
    Tracks,
    begin_prompt,
)
from segmentation.base import FrameMask, Frames
from segmentation.propagation import selection_from_mask

OBJECT = 1
MOST_CORRECTIONS = 3
CONTENT = 0.9  # IoU of the worst frame from which on the user leaves everything as it is


def correcting_click(mask: FrameMask, *, truth: FrameMask) -> Click:
    """The click on the largest error: positive where something is missing, negative where it is too much."""
    missed, false = truth & ~mask, mask & ~truth
    is_missing = _largest_area(missed) >= _largest_area(false)
    return click_inside(missed if is_missing else false, is_positive=is_missing)


def correct_worst_frames(
    session: SegmentationSession, selection: Selection, *, frames: Frames, truth: NDArray[np.bool_]
) -> tuple[list[FrameMask], int]:
    """Select, propagate, then up to three times correct the frame that looks worst, as in the page.

    Each correction is one click on the largest error of the frame with the lowest IoU: it changes the mask
    that is seen there, and adds to earlier clicks on the same frame. Where the object is absent, the user
    says so instead. A corrected frame that became better is followed both ways up to the next corrected
    ones; one that did not waits for the next click on it. Comes with the number of corrections, which is
    lower where the user is content before.
    """
    tracks = Tracks(session, frames)
    project = tracks.new_project().add_object().with_prompt(OBJECT, Prompt(selection))
    masks = _followed(tracks, project)
    waiting: dict[int, Prompt] = {}
    for corrections in range(MOST_CORRECTIONS):
        overlaps = [region_similarity(mask, truth=true) for mask, true in zip(masks, truth, strict=True)]
        worst = int(np.argmin(overlaps))
        if overlaps[worst] >= CONTENT:
            return masks, corrections
        before = waiting.get(worst) or begin_prompt(tracks, project=project, number=OBJECT, frame_index=worst)
        waiting[worst] = prompt = _corrected(before, tracks, truth[worst])
        if region_similarity(tracks.preview(prompt), truth=truth[worst]) > overlaps[worst]:
            project = project.with_prompt(OBJECT, prompt)
            masks = _followed(tracks, project)
    return masks, MOST_CORRECTIONS


def _corrected(prompt: Prompt, tracks: Tracks, truth: FrameMask) -> Prompt:
    """The prompt with one more click, on the largest error of what it gives."""
    if not truth.any():
        return Prompt.of_mask(prompt.frame_index, truth)
    seen = np.zeros_like(truth) if prompt.is_empty else tracks.preview(prompt)
    return prompt.with_click(correcting_click(seen, truth=truth))


def _followed(tracks: Tracks, project: Project) -> list[FrameMask]:
    for _ in tracks.update(project):
        pass
    return [tracks.mask(project, number=OBJECT, frame_index=index) for index in range(project.num_frames)]


def _largest_area(mask: FrameMask) -> int:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return int(statistics[1:, cv2.CC_STAT_AREA].max(initial=0))


class Start(Enum):
    """What a segmenter is told about the object; the value is for people."""

    MASK = "true first mask"
    CLICK = "given click"
    BOX = "box"
    CORRECTIONS = "click, up to 3 corrections"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The masks of a clip, how good they are and what they cost."""

    case: Case
    start: Start
    masks: list[FrameMask]  # F of (H, W) bool
    score: ClipScore
    first_frame: float
    corrections: int
    click_seconds: float | None  # for one more answer once the frame is prepared; None without a selection
    click_work: float | None  # the same in processor seconds, of all cores
    frame_seconds: float  # from opening the clip to its last mask, corrections included, for each frame
    frame_work: float  # the same in processor seconds, of all cores
    memory: int | None  # most bytes above those before the clip was opened; None where nobody can say


@dataclass
class Cost:
    """What a block cost in seconds of the clock, processor seconds and bytes; set when it ends."""

    seconds: float = field(default=0.0, init=False)
    work: float = field(default=0.0, init=False)
    memory: int | None = field(default=None, init=False)


def run_case(segmenter: Segmenter, case: Case, *, start: Start) -> Outcome:
    """Segment a clip, score the masks and take the costs."""
    with costed() as cost:
        session = segmenter.open(case.frames)
        masks, corrections = _segmented(session, case, start)
    with costed() as answer:
        if (selection := _selection(case, start)) is not None:
            session.mask_at(_beside(selection))
    return Outcome(
        case=case,
        start=start,
        masks=masks,
        score=score_clip(masks, truth=case.masks),
        first_frame=region_similarity(masks[0], truth=case.masks[0]),
        corrections=corrections,
        click_seconds=None if selection is None else answer.seconds,
        click_work=None if selection is None else answer.work,
        frame_seconds=cost.seconds / len(masks),
        frame_work=cost.work / len(masks),
        memory=cost.memory,
    )


@contextmanager
def costed() -> Iterator[Cost]:
    """Take the time and the memory of a block."""
    cost, meter = Cost(), MemoryMeter(torch.device("cpu"))
    meter.start()
    before = meter.held_bytes
    clock, work = time.perf_counter(), time.process_time()
    yield cost
    cost.seconds, cost.work = time.perf_counter() - clock, time.process_time() - work
    if before:
        cost.memory = max(0, meter.peak_bytes - before)


def _selection(case: Case, start: Start) -> Selection | None:
    if start is Start.MASK:
        return None
    if start is Start.BOX:
        return Selection(box=selection_from_mask(case.masks[0], frame_index=0).box)
    return case.selection


def _beside(selection: Selection) -> Selection:
    """The same selection a hair's breadth away, so that no answer to it can be remembered."""
    clicks = tuple(replace(click, x=click.x - 0.01) for click in selection.clicks)
    return replace(selection, clicks=clicks)


def _segmented(session: SegmentationSession, case: Case, start: Start) -> tuple[list[FrameMask], int]:
    selection = _selection(case, start)
    if selection is not None and start is Start.CORRECTIONS:
        return correct_worst_frames(session, selection, frames=case.frames, truth=case.masks)
    walk = session.follow(0, case.masks[0]) if selection is None else session.propagate(selection)
    masks = dict(walk)
    return [masks[index] for index in range(len(case.masks))], 0
