"""What the runs of a segmenter amount to: a Markdown table, and contact sheets that show the errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.davis.runs import Outcome, Start
from benchmarks.sheets import Cell, contact_sheet
from segmentation import paint_mask
from segmentation.base import Frame, FrameMask

RIGHT, MISSED, FALSE = (180, 60, 235), (255, 196, 0), (230, 40, 40)
NOT_MEASURED = "-"
SHOWN_FRAMES, SHOWN_WIDTH = 5, 200
NOTE = (
    "Each cell: J · F · J&F as DAVIS 2017 defines them (semi-supervised: the first and the last frame do not "
    "count), and in brackets J over all frames after the first."
)


def markdown_table(outcomes: Sequence[Outcome]) -> str:
    """One row a clip, one column a start; below them the means and what they cost.

    Args:
        outcomes: of one segmenter, at least one; every clip from the same starts.
    """
    starts = [start for start in Start if any(outcome.start is start for outcome in outcomes)]
    columns = {start: [outcome for outcome in outcomes if outcome.start is start] for start in starts}
    names = list(dict.fromkeys(outcome.case.name for outcome in outcomes))
    rows = [["Clip", "Frames", *(start.value for start in starts)], ["---"] * (2 + len(starts))]
    for name in names:
        same = [outcome for outcome in outcomes if outcome.case.name == name]
        by_start = {outcome.start: outcome for outcome in same}
        rows.append([name, str(len(same[0].masks)), *(_scores([by_start[start]]) for start in starts)])
    count = str(sum(len(outcome.masks) for outcome in columns[starts[0]]))
    rows.append(["**mean**", count, *(f"**{_scores(columns[start])}**" for start in starts)])
    for title, describe in _SUMMARIES.items():
        rows.append([title, "", *(describe(columns[start]) for start in starts)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def overlay_sheet(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a contact sheet: of each outcome a few frames, with the truth above and the mask below it.

    The truth and what is right are violet; what is missing is yellow, what is too much is red. The last
    frame shown is the one with the lowest IoU.

    Args:
        outcomes: at least one, of clips of one size.
        path: where the PNG goes. Real clips may not be published: keep their sheets to yourself.
    """
    cells = [_cell(outcome) for outcome in outcomes]
    contact_sheet(cells, path, columns=2)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _scores(outcomes: Sequence[Outcome]) -> str:
    scores = [outcome.score for outcome in outcomes]
    region, boundary = _mean([s.region for s in scores]), _mean([s.boundary for s in scores])
    after_first = _mean([s.region_after_first for s in scores])
    return f"{region:.3f} · {boundary:.3f} · {(region + boundary) / 2:.3f} ({after_first:.3f})"


def _if_known(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{_mean(known):.3f}" if known else NOT_MEASURED


def _memory(outcomes: Sequence[Outcome]) -> str:
    known = [outcome.memory for outcome in outcomes if outcome.memory is not None]
    return f"{max(known) / 2**20:.0f}" if known else NOT_MEASURED


_SUMMARIES: dict[str, Callable[[Sequence[Outcome]], str]] = {
    "IoU of the first frame": lambda outcomes: f"{_mean([o.first_frame for o in outcomes]):.3f}",
    "corrections made": lambda outcomes: f"{_mean([o.corrections for o in outcomes]):.1f}",
    "seconds for a click": lambda outcomes: _if_known([o.click_seconds for o in outcomes]),
    "processor seconds for a click": lambda outcomes: _if_known([o.click_work for o in outcomes]),
    "seconds a frame": lambda outcomes: f"{_mean([o.frame_seconds for o in outcomes]):.3f}",
    "processor seconds a frame": lambda outcomes: f"{_mean([o.frame_work for o in outcomes]):.3f}",
    "peak memory above start, MiB": _memory,
}


def _cell(outcome: Outcome) -> Cell:
    worst, last = outcome.score.worst_frame, len(outcome.masks) - 1
    spread = [round(k * last / (SHOWN_FRAMES - 2)) for k in range(SHOWN_FRAMES - 1)]
    clips = [_pair(outcome, index) for index in (*spread, worst)]
    score, shown = outcome.score, ", ".join(map(str, spread))
    return Cell(
        clips=clips,
        title=f"{outcome.case.name}: {outcome.start.value}",
        note=f"J {score.region:.3f}, F {score.boundary:.3f}; frames {shown}; worst {worst}",
    )


def _pair(outcome: Outcome, index: int) -> np.ndarray:
    """(2, h, w, 3): a frame with its truth, and with its mask and its errors."""
    frame, mask, truth = outcome.case.frames[index], outcome.masks[index], outcome.case.masks[index]
    wrong = _tinted(frame, (mask & truth, RIGHT), (truth & ~mask, MISSED), (mask & ~truth, FALSE))
    height, width = frame.shape[:2]
    size = SHOWN_WIDTH, max(1, round(height * SHOWN_WIDTH / width))
    shown = (_tinted(frame, (truth, RIGHT)), wrong)
    return np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in shown])


def _tinted(frame: Frame, *parts: tuple[FrameMask, tuple[int, int, int]]) -> Frame:
    for mask, colour in parts:
        frame = paint_mask(frame, mask, colour=colour, opacity=0.6, outline=0)
    return frame
