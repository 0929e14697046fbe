"""Contact sheets: many small clips on one page, with what was asked of each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.values import Frames

PAGE, INK, FAINT = (246, 245, 242), (38, 38, 42), (128, 126, 122)
GOOD, BAD = (46, 160, 88), (208, 70, 60)
GAP, LINE, MARGIN, INDENT = 2, 17, 14, 13
LETTER = 6.3  # width of a letter in pixels, a little above the mean


@dataclass(frozen=True, eq=False)
class Cell:
    """One place on a sheet."""

    clips: Sequence[Frames]  # side by side, each (F, H, W, 3) uint8 RGB, all of one size
    title: str
    note: str = ""
    is_good: bool | None = None  # whether its dot is green or red; None for no dot


def contact_sheet(cells: Sequence[Cell], path: Path, *, columns: int = 6) -> None:
    """Write cells as a PNG, row by row; the first and the middle frame of each clip above one another."""
    pictures = [_picture(cell) for cell in cells]
    width = pictures[0].shape[1] + MARGIN
    lines = [_lines(cell, letters=round((width - MARGIN - INDENT) / LETTER)) for cell in cells]
    height = pictures[0].shape[0] + max(map(len, lines)) * LINE + MARGIN
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    page = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), PAGE)
    for index, (cell, picture) in enumerate(zip(cells, pictures, strict=True)):
        corner = MARGIN + index % columns * width, MARGIN + index // columns * height
        page.paste(Image.fromarray(picture), corner)
        _write(
            ImageDraw.Draw(page), lines[index], cell.is_good, left=corner[0], top=corner[1] + picture.shape[0]
        )
    with written_atomically(path) as part:
        page.save(part)


def _picture(cell: Cell) -> np.ndarray:
    """(2 H + gap, clips * W + gaps, 3): the clips side by side, two frames of each."""
    shown = [np.stack([clip[0], clip[len(clip) // 2]]) for clip in cell.clips]
    framed = [np.pad(s, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255) for s in shown]
    rows = np.concatenate(framed, axis=2)
    return np.concatenate(list(rows), axis=0)[:-GAP, :-GAP]


def _lines(cell: Cell, *, letters: int) -> list[tuple[str, tuple[int, int, int]]]:
    """The lines under a cell and their colours, each of at most so many letters."""
    return [
        (line, colour)
        for text, colour in ((cell.title, INK), (cell.note, FAINT))
        for line in textwrap.wrap(text, letters)
    ]


def _write(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[tuple[str, tuple[int, int, int]]],
    is_good: bool | None,
    *,
    left: int,
    top: int,
) -> None:
    if is_good is not None:
        draw.ellipse((left, top + 5, left + 8, top + 13), fill=GOOD if is_good else BAD)
    indent = 0 if is_good is None else INDENT
    for number, (line, colour) in enumerate(lines):
        draw.text(
            (left + indent, top + 1 + number * LINE), line, fill=colour, font=ImageFont.load_default(12)
        )
