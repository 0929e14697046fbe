"""The text-video pairs of the study: held-out clips of the procedural world, or a folder with prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.paper_prompts import PromptRow, folder_rows, named
from benchmarks.world_cases import edit_case
from benchmarks.world_tests import rendered, shot_like, visible_object
from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.clip_reading import shortest_length
from dreammotion_core.errors import VideoError
from dreammotion_core.media.masks import read_masks
from dreammotion_core.values import Frames, Mask, Video
from dreammotion_core.media.video import read_video
from training.world import Shot, background, caption, object_mask

NUM_PAIRS = 26
"""As in the paper."""
FIRST_CASE = 1000
"""The numbers below are the cases of `toybox_quality`, at which defaults were chosen before."""
MOST_CASES = 1_000_000
NUMBERING = "by clip, mask and prompts"
"""Of the rows of a folder. Results without this fact were numbered by line, and may be of other rows now."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One clip and what is asked of it.

    Attributes:
        index: its number among those of `StudyPairs`.
        title: for people.
        place: where it stands, for messages.
        video: at a length that the model takes.
        mask: (F, H, W) bool, what may change.
        source_prompt, target_prompt: the prompts.
        find_object: from edited frames (F, H, W, 3) to where the object is, (F, H, W); None where nothing
            knows that.
        outline: (F, H, W), where the object is in the source, found in the same way.
    """

    index: int
    title: str
    place: str
    video: Video
    mask: Mask
    source_prompt: str
    target_prompt: str
    find_object: Callable[[Frames], Mask] | None = None
    outline: Mask | None = None


@dataclass(frozen=True, eq=False)
class StudyPairs:
    """All pairs that a study may take.

    Attributes:
        numbers: of all of them, in order; a number stays that of its pair whatever becomes of the others.
        read: gives the pair of a number.
        facts: by which results are told from those of other pairs.
    """

    numbers: Sequence[int]
    read: Callable[[int], Pair]
    facts: Mapping[str, str]


def world_pairs(spec: ModelSpec) -> StudyPairs:
    """The pairs of the procedural world, numbered from 0."""
    facts = {"pairs": "held-out clips of the procedural world"}
    return StudyPairs(range(MOST_CASES), partial(world_pair, spec=spec), facts)


def folder_pairs(folder: Path, *, spec: ModelSpec) -> StudyPairs:
    """The pairs of a folder, in the order of its rows.

    Raises:
        InputError: if its prompt file cannot be used, or a folder of masks is empty.
    """
    rows = {row.number: row for row in folder_rows(folder)}
    facts = {"pairs": folder.absolute().name, "numbering": NUMBERING}
    return StudyPairs(list(rows), lambda number: folder_pair(rows[number], spec=spec), facts)


def world_pair(index: int, *, spec: ModelSpec) -> Pair:
    """A held-out clip of the procedural world: colours, materials and nouns in turn.

    Args:
        index: number of the pair.
        spec: gives length, rate and size.
    """
    case = edit_case(FIRST_CASE + index)
    shot = Shot(spec.num_frames, spec.fps, spec.resolution[0])
    (frames,) = rendered([case.source], shot=shot)
    empty = background(case.source, shot=shot).numpy()
    region = case.outlines(shot=shot_like(frames, fps=spec.fps))
    return Pair(
        index=index,
        title=f"{case.source.colour} {case.source.noun} to {case.asked}",
        place=f"pair {index} of the world",
        video=Video(frames, spec.fps),
        mask=case.mask(shot=shot),
        source_prompt=caption(case.source),
        target_prompt=caption(case.target),
        find_object=lambda edited: visible_object(edited, empty, region=region),
        outline=object_mask(case.source, shot=shot).numpy(),
    )


def folder_pair(row: PromptRow, *, spec: ModelSpec) -> Pair:
    """The clip and prompts of a row of a folder; every n-th frame, as near to the model's rate as it goes.

    Args:
        row: of the folder's prompt file.
        spec: gives length and rate.

    Raises:
        InputError: if the clip or its mask cannot be used.
    """
    clip = row.clip
    with named(row.place):
        whole = read_video(clip)
        masks = read_masks(row.mask, num_frames=len(whole), size=whole.size).masks
        step = max(1, round(whole.fps / spec.fps))
        count = spec.fit_length(min(spec.num_frames, len(whole.frames[::step])))
        if count < 2:
            raise VideoError(
                f"{clip} is too short for {spec.label}; it needs at least {shortest_length(spec)} frames"
            )
    return Pair(
        index=row.number,
        title=f"{clip.parent.name if clip.stem == 'clip' else clip.stem}: {row.target_prompt}",
        place=row.place,
        video=Video(np.ascontiguousarray(whole.frames[::step][:count]), whole.fps / step),
        mask=np.ascontiguousarray(masks[::step][:count]),
        source_prompt=row.source_prompt,
        target_prompt=row.target_prompt,
    )
