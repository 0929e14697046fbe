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
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.davis.cases import CLIPS, Case, clutter_cases, real_cases, world_cases
from benchmarks.davis.report import NOTE, markdown_table, overlay_sheet
from benchmarks.davis.runs import Outcome, Start, run_case
from benchmarks.davis.scores import FEWEST_FRAMES
from dreammotion_core.errors import DreamMotionError
from segmentation import SegmentationError, Segmenter, list_segmenters, load_segmenter

USUAL_WORLD_CLIPS, WORLD_FRAMES = 24, 8
CLUTTER_FRAMES = 16
STARTS = {"mask": Start.MASK, "click": Start.CLICK, "box": Start.BOX, "corrections": Start.CORRECTIONS}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read and checked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.segmentation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--segmenter", metavar="NAME", help="one segmenter (default: all that are ready)")
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="its weights; needs --segmenter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--real", action="store_true", help="the real clips")
    parser.add_argument("--world", type=_count, metavar="N", help="so many clips of the procedural world")
    parser.add_argument("--clutter", type=_count, metavar="N", help="so many clips of textured clutter")
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="only these real clips")
    parser.add_argument(
        "--starts",
        nargs="+",
        choices=STARTS,
        default=list(STARTS),
        help="what is known (default: each in turn)",
    )
    parser.add_argument("--frames", type=_frames, metavar="N", help="only the first N frames of each clip")
    parser.add_argument(
        "--sheets", type=Path, metavar="FOLDER", help="write contact sheets of the masks here"
    )
    options = parser.parse_args(argv)
    if options.checkpoint is not None and options.segmenter is None:
        parser.error("--checkpoint needs --segmenter, so that it is known whose weights they are")
    options.real = options.real or bool(options.clips)
    if not options.real and options.world is None and options.clutter is None:
        options.real, options.world = True, USUAL_WORLD_CLIPS
    return options


def run(options: argparse.Namespace) -> None:
    """Measure what the options name and print the tables."""
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


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _frames(text: str) -> int:
    if not text.isdecimal() or int(text) < FEWEST_FRAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {FEWEST_FRAMES}")
    return int(text)


def main() -> None:
    """Parse the command line and run; mistakes of the user end in one line."""
    options = arguments()
    try:
        run(options)
    except (DreamMotionError, SegmentationError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
