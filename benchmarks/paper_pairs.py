"""The text-video pairs of the study: held-out clips of the procedural world, or a folder with prompts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.world_cases import edit_case
from benchmarks.world_tests import rendered, shot_like, visible_object
from dreammotion_core.backends.base import ModelSpec
from dreammotion_core.clip_reading import shortest_length
from dreammotion_core.errors import ConfigError, VideoError
from dreammotion_core.mask_files import read_masks
from dreammotion_core.values import Frames, Mask, Video
from dreammotion_core.video_io import read_video
from training.world import Shot, background, caption, object_mask

NUM_PAIRS = 26
"""As in the paper."""
FIRST_CASE = 1000
"""The numbers below are the cases of `toybox_quality`, at which defaults were chosen before."""
PROMPTS_FILE = "prompts.csv"
COLUMNS = ("clip", "source_prompt", "target_prompt")
CLIP_SUFFIXES = {".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"}


@dataclass(frozen=True, eq=False)
class Pair:
    """One clip and what is asked of it.

    Attributes:
        index: number among all pairs, from 0.
        title: for people.
        video: at a length that the model takes.
        mask: (F, H, W) bool, what may change.
        source_prompt, target_prompt: the prompts.
        find_object: from edited frames (F, H, W, 3) to where the object is, (F, H, W); None where nothing
            knows that.
        outline: (F, H, W), where the object is in the source, found in the same way.
    """

    index: int
    title: str
    video: Video
    mask: Mask
    source_prompt: str
    target_prompt: str
    find_object: Callable[[Frames], Mask] | None = None
    outline: Mask | None = None


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
        video=Video(frames, spec.fps),
        mask=case.mask(shot=shot),
        source_prompt=caption(case.source),
        target_prompt=caption(case.target),
        find_object=lambda edited: visible_object(edited, empty, region=region),
        outline=object_mask(case.source, shot=shot).numpy(),
    )


def folder_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's prompt file, checked.

    The file ``prompts.csv`` has the columns clip (a video in the folder), source_prompt, target_prompt and,
    if the masks do not lie in a folder ``masks`` beside the clip, mask. A clip may have several rows.

    Raises:
        ConfigError: if the file is missing, a column or a cell is empty, a clip does not exist, or a clip in
            the folder has no row.
    """
    path = folder / PROMPTS_FILE
    if not path.is_file():
        raise ConfigError(f"{folder} holds no {PROMPTS_FILE}; it needs the columns {', '.join(COLUMNS)}")
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing or not rows:
        raise ConfigError(f"{path} lacks {', '.join(missing) or 'rows'}; it needs {', '.join(COLUMNS)}")
    for number, row in enumerate(rows, start=2):
        if empty := [name for name in COLUMNS if not row[name]]:
            raise ConfigError(f"line {number} of {path} has no {', '.join(empty)}; fill it in or remove it")
        if not (folder / row["clip"]).is_file():
            raise ConfigError(f"line {number} of {path} names {row['clip']}, which is not in {folder}")
    clips = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in CLIP_SUFFIXES)
    named = {(folder / row["clip"]).resolve() for row in rows}
    if unnamed := [str(p.relative_to(folder)) for p in clips if p.resolve() not in named]:
        raise ConfigError(f"{path} has no row for {', '.join(unnamed)}; add one or move the clip away")
    return rows


def folder_pair(index: int, *, folder: Path, spec: ModelSpec) -> Pair:
    """The clip and prompts of a row of a folder; every n-th frame, as near to the model's rate as it goes.

    Args:
        index: number of the row, from 0.
        folder: with ``prompts.csv``.
        spec: gives length and rate.

    Raises:
        ConfigError: if the prompt file is wrong.
        InputError: if the clip or its mask cannot be used.
    """
    row = folder_rows(folder)[index]
    clip = folder / row["clip"]
    whole = read_video(clip)
    mask_path = folder / row["mask"] if row.get("mask") else clip.parent / "masks"
    masks = read_masks(mask_path, num_frames=len(whole), size=whole.size).masks
    step = max(1, round(whole.fps / spec.fps))
    count = spec.fit_length(min(spec.num_frames, len(whole.frames[::step])))
    if count < 2:
        raise VideoError(
            f"{clip} is too short for {spec.label}; it needs at least {shortest_length(spec)} frames"
        )
    return Pair(
        index=index,
        title=f"{clip.parent.name if clip.stem == 'clip' else clip.stem}: {row['target_prompt']}",
        video=Video(np.ascontiguousarray(whole.frames[::step][:count]), whole.fps / step),
        mask=np.ascontiguousarray(masks[::step][:count]),
        source_prompt=row["source_prompt"],
        target_prompt=row["target_prompt"],
    )
