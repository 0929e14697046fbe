"""The prompt file of a folder of clips: which of them is to become what, and where."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreammotion_core.checks import check_prompts
from dreammotion_core.errors import ConfigError, DreamMotionError, MaskError, PromptError
from dreammotion_core.png_files import png_files

PROMPTS_FILE = "prompts.csv"
COLUMNS = ("clip", "source_prompt", "target_prompt")
KNOWN = (*COLUMNS, "mask")
"""With the column that may be left out."""
CLIP_SUFFIXES = {".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif"}


@dataclass(frozen=True)
class PromptRow:
    """A row of a prompt file, checked.

    Attributes:
        clip: a video file that exists.
        mask: a file or folder that exists.
        source_prompt, target_prompt: two that differ.
        place: the line of the file and the name of the clip, for messages.
        number: from the contents of all of these, so that a row keeps its results wherever it stands, and
            has none once its clip, its mask or a prompt is another one.
    """

    clip: Path
    mask: Path
    source_prompt: str
    target_prompt: str
    number: int
    place: str


@contextmanager
def named(place: str) -> Iterator[None]:
    """Within the block, errors say what they are about."""
    try:
        yield
    except DreamMotionError as error:
        raise type(error)(f"{place}: {error}") from error


def folder_rows(folder: Path) -> list[PromptRow]:
    """The rows of a folder's prompt file, checked.

    The file ``prompts.csv`` (UTF-8) has the columns clip (a video in the folder), source_prompt,
    target_prompt and, if the masks do not lie in a folder ``masks`` beside the clip, mask. A clip may have
    several rows.

    Raises:
        ConfigError: if the file is missing or no such table, a column has another name, a cell is empty
            or one too many, prompts are the same, a clip or mask does not exist, two rows are equal, or
            a clip in the folder has no row.
        MaskError: if a folder of masks is empty.
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
    """The number of the line on which each row ends, and its cells by column; those too many under None."""
    # A spreadsheet puts a mark before UTF-8, which would become part of the first column's name.
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
    """The first 32 bits of a digest of the files and prompts."""
    digest = hashlib.sha256(json.dumps(prompts).encode())
    for file in (clip, *(png_files(mask, MaskError) if mask.is_dir() else [mask])):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return int.from_bytes(digest.digest()[:4])
