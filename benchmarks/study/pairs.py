"""The text-video pairs of the study: held-out clips of the procedural world, or a folder with prompts."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.world_cases import edit_case, rendered, shot_like, visible_object
from dreammotion_core.errors import ConfigError, DreamMotionError, MaskError, PromptError, VideoError
from dreammotion_core.media.frames import png_files
from dreammotion_core.media.masks import read_masks
from dreammotion_core.media.video import read_video, shortest_length
from dreammotion_core.pipeline import check_prompts
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import Frames, Mask, Video
from training.world import Shot, background, caption, object_mask

PROMPTS_FILE = "prompts.csv"
COLUMNS = ("clip", "source_prompt", "target_prompt")
KNOWN = (*COLUMNS, "mask")  # all columns; `mask` may be left out
CLIP_SUFFIXES = {".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif", ".webp"}


@dataclass(frozen=True)
class PromptRow:
    """A checked row of a prompt file; its number is made of all it says, wherever it stands."""

    clip: Path
    mask: Path
    source_prompt: str
    target_prompt: str
    number: int
    place: str


@contextmanager
def named(place: str) -> Iterator[None]:
    """Within the block, errors begin with a place."""
    try:
        yield
    except DreamMotionError as error:
        raise type(error)(f"{place}: {error}") from error


def folder_rows(folder: Path) -> list[PromptRow]:
    """The checked rows of a folder's prompt file.

    The file ``prompts.csv`` (UTF-8) has the columns clip (a video in the folder), source_prompt,
    target_prompt and, if the masks do not lie in a folder ``masks`` beside the clip, mask. A clip may have
    several rows.
    """
    path = folder / PROMPTS_FILE
    if not path.is_file():
        raise ConfigError(f"{folder} holds no {PROMPTS_FILE}; it needs the columns {', '.join(COLUMNS)}")
    try:
        rows = [_checked_row(cells, folder, f"line {number} of {path}") for number, cells in _lines(path)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no table in UTF-8 ({error}); save it as CSV, UTF-8") from error
    if not rows:
        raise ConfigError(f"{path} lacks rows; it needs {', '.join(COLUMNS)}")
    for number, row in enumerate(rows):
        if any(row.number == other.number for other in rows[:number]):
            raise ConfigError(f"{path} asks twice for “{row.target_prompt}” of {row.clip}; remove one row")
    clips = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in CLIP_SUFFIXES)
    named = {p.resolve() for row in rows for p in (row.clip, row.mask)}
    if unnamed := [str(p.relative_to(folder)) for p in clips if p.resolve() not in named]:
        raise ConfigError(f"{path} has no row for {', '.join(unnamed)}; add one or move the clip away")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, dict[str | None, Any]]]:
    """The line on which each row ends, and its cells by column; superfluous cells are under None."""
    # A spreadsheet writes a mark first, which would become part of the first column's name.
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines, restval="", strict=True)
        names = list(reader.fieldnames or ())
        while names and not names[-1].strip():  # a spreadsheet may name columns that were emptied
            names.pop()
        reader.fieldnames = names
        if missing := [name for name in COLUMNS if name not in names]:
            raise ConfigError(f"{path} lacks {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
        if unknown := [name for name in names if names.count(name) > 1 or name not in KNOWN]:
            raise ConfigError(f"{path} has a column {unknown[0]!r}; it takes {', '.join(KNOWN)}, each once")
        for row in reader:
            yield reader.line_num, row


def _checked_row(cells: dict[str | None, Any], folder: Path, place: str) -> PromptRow:
    if any(cell.strip() for cell in cells.get(None, ())):
        raise ConfigError(f"{place} has more cells than columns; put prompts with a comma in double quotes")
    if empty := [name for name in COLUMNS if not cells[name].strip()]:
        raise ConfigError(f"{place} has no {', '.join(empty)}; fill it in or remove it")
    source_prompt, target_prompt = cells["source_prompt"].strip(), cells["target_prompt"].strip()
    try:
        check_prompts(source_prompt=source_prompt, target_prompt=target_prompt)
    except PromptError as error:
        raise ConfigError(f"{place}: {error}") from error
    clip = folder / cells["clip"].strip()
    if not os.path.isfile(clip):  # of a name too long for a file, `Path.is_file` raises
        raise ConfigError(f"{place} names {cells['clip'].strip()}, which is not in {folder}")
    mask = folder / name if (name := cells.get("mask", "").strip()) else clip.parent / "masks"
    if not os.path.exists(mask):
        raise ConfigError(f"{place} needs the mask {mask}, which does not exist")
    place = f"{place}, {cells['clip'].strip()}"
    with named(place):
        number = _number(clip, mask, (source_prompt, target_prompt))
    return PromptRow(clip, mask, source_prompt, target_prompt, number, place)


def _number(clip: Path, mask: Path, prompts: tuple[str, str]) -> int:
    digest = hashlib.sha256(json.dumps(prompts).encode())
    for file in (clip, *(png_files(mask, MaskError) if mask.is_dir() else [mask])):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return int.from_bytes(digest.digest()[:4])


NUM_PAIRS = 26  # pairs of a study, as many as in the paper
FIRST_CASE = 1000  # smaller numbers are the cases of `toybox_quality`, on which defaults were chosen
MOST_CASES = 1_000_000
NUMBERING = "by clip, mask and prompts"
"""A fact of studies on a folder. Results without it were numbered by line and may belong to other rows."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One clip and what is asked of it.

    Attributes:
        mask: (F, H, W) bool, what may change.
        find_object: finds the object, (F, H, W), in edited frames, (F, H, W, 3); None where nothing can.
        outline: (F, H, W), the object in the source.
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
    """All pairs that a study may take."""

    numbers: Sequence[int]
    read: Callable[[int], Pair]
    facts: Mapping[str, str]


def world_pairs(spec: ModelSpec) -> StudyPairs:
    """The pairs of the procedural world, numbered from 0."""
    facts = {"pairs": "held-out clips of the procedural world"}
    return StudyPairs(range(MOST_CASES), partial(world_pair, spec=spec), facts)


def folder_pairs(folder: Path, *, spec: ModelSpec) -> StudyPairs:
    """The pairs of a folder, in the order of its rows."""
    rows = {row.number: row for row in folder_rows(folder)}
    facts = {"pairs": folder.absolute().name, "numbering": NUMBERING}
    return StudyPairs(list(rows), lambda number: folder_pair(rows[number], spec=spec), facts)


def world_pair(index: int, *, spec: ModelSpec) -> Pair:
    """A held-out clip of the procedural world: colours, materials and nouns in turn."""
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
    """The pair of a row, with every n-th frame of its clip, n as near to the model's rate as possible."""
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
