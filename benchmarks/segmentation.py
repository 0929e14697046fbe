"""How well and how fast segmenters select an object and follow it, as DAVIS measures it.

    python -m benchmarks.segmentation [--real] [--world N] [--clutter N]
                                      [--segmenter NAME [--checkpoint PATH]]

Prints a Markdown table for each segmenter: J, F and J&F of every clip, their means, time and memory, from
the true first mask, one click, a box, and one click with up to three corrections by a simulated user.
Real clips are read from ``../shared/data/clips`` or ``$DREAMMOTION_CLIPS``; they and pictures of them are
for evaluation only and never committed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arguments import described_parser
from benchmarks.davis.cases import CLIPS, Case, clutter_cases, real_cases, world_cases
from benchmarks.davis.runs import Outcome, Start, run_case
from benchmarks.davis.scores import FEWEST_FRAMES
from benchmarks.sheets import Cell, contact_sheet
from dreammotion_core.errors import DreamMotionError
from segmentation import SegmentationError, Segmenter, list_segmenters, load_segmenter, paint_mask
from segmentation.base import Frame, FrameMask

USUAL_WORLD_CLIPS, WORLD_FRAMES = 24, 8
CLUTTER_FRAMES = 16
STARTS = {"mask": Start.MASK, "click": Start.CLICK, "box": Start.BOX, "corrections": Start.CORRECTIONS}

RIGHT, MISSED, FALSE = (180, 60, 235), (255, 196, 0), (230, 40, 40)
NOT_MEASURED = "-"
SHOWN_FRAMES, SHOWN_WIDTH = 5, 200
NOTE = (
    "Each cell: J · F · J&F as DAVIS 2017 defines them (semi-supervised: the first and the last frame do not "
    "count), and in brackets J over all frames after the first."
)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read and checked."""
    parser = described_parser("segmentation", __doc__)
    parser.add_argument("--segmenter", metavar="NAME", help="one segmenter (default: all that are ready)")
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="its weights; needs --segmenter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--real", action="store_true", help="real clips")
    parser.add_argument("--world", type=_whole_number, metavar="N", help="clips of the procedural world")
    parser.add_argument("--clutter", type=_whole_number, metavar="N", help="clips of textured clutter")
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="only these real clips")
    parser.add_argument(
        "--starts",
        nargs="+",
        choices=STARTS,
        default=list(STARTS),
        help="what the segmenter is told (default: each in turn)",
    )
    at_least = partial(_whole_number, smallest=FEWEST_FRAMES)
    parser.add_argument("--frames", type=at_least, metavar="N", help="only the first N frames of each clip")
    parser.add_argument(
        "--sheets", type=Path, metavar="FOLDER", help="write contact sheets of the masks there"
    )
    options = parser.parse_args(argv)
    if options.checkpoint is not None and options.segmenter is None:
        parser.error("--checkpoint needs --segmenter, so that it is known whose weights they are")
    options.real = options.real or bool(options.clips)
    if not options.real and options.world is None and options.clutter is None:
        options.real, options.world = True, USUAL_WORLD_CLIPS
    return options


def run(options: argparse.Namespace) -> None:
    """Run the segmenters and clips that the options name, and print the tables."""
    for segmenter in _segmenters(options):
        for title, cases in _case_sets(options):
            outcomes = list(_outcomes(segmenter, cases, options.starts))
            if not outcomes:
                continue
            cut = f", first {options.frames} frames" if options.frames else ""
            print(
                f"### `{segmenter.spec.name}`: {title}{cut}\n\n{NOTE}\n\n{markdown_table(outcomes)}\n",
                flush=True,
            )
            if options.sheets is not None:
                path = options.sheets / f"{segmenter.spec.name}-{title.replace(' ', '-')}.png"
                overlay_sheet(outcomes, path)
                _say(f"contact sheet: {path}")


def _segmenters(options: argparse.Namespace) -> Iterator[Segmenter]:
    if options.segmenter is not None:
        yield load_segmenter(options.segmenter, checkpoint=options.checkpoint, device=options.device)
        return
    for spec in list_segmenters():
        if spec.is_ready():
            yield load_segmenter(spec.name, device=options.device)
        else:
            _say(f"skipped {spec.name}: not ready on this machine; --segmenter says why, or gets it")


def _case_sets(options: argparse.Namespace) -> Iterator[tuple[str, Iterator[Case]]]:
    if options.real and CLIPS.is_dir():
        yield "real footage", real_cases(CLIPS, names=tuple(options.clips), max_frames=options.frames)
    elif options.real:
        _say(f"skipped real footage: there is no folder {CLIPS}; name one in DREAMMOTION_CLIPS")
    if options.world:
        yield "procedural world", world_cases(options.world, num_frames=options.frames or WORLD_FRAMES)
    if options.clutter:
        yield "textured clutter", clutter_cases(options.clutter, num_frames=options.frames or CLUTTER_FRAMES)


def _outcomes(segmenter: Segmenter, cases: Iterator[Case], starts: Sequence[str]) -> Iterator[Outcome]:
    for case in cases:
        for name in starts:
            outcome = run_case(segmenter, case, start=STARTS[name])
            _say(f"{segmenter.spec.name}, {case.name}, {name}: J&F {outcome.score.overall:.3f}")
            yield outcome


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _whole_number(text: str, *, smallest: int = 0) -> int:
    if not text.isdecimal() or int(text) < smallest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {smallest}")
    return int(text)


def markdown_table(outcomes: Sequence[Outcome]) -> str:
    """One row a clip, one column a start; below them the means and the costs."""
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
    """Write a contact sheet with a few frames of each outcome, the truth above and the mask below.

    The truth and what is right are violet; what is missing is yellow, what is too much is red. The last
    frame shown is the one with the lowest IoU.
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


def main() -> None:
    """Parse the command line and run; mistakes of the user end in one line."""
    options = arguments()
    try:
        run(options)
    except (DreamMotionError, SegmentationError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
