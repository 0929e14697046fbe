"""Options of the commands that measure and compare edits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dreammotion_core.cli_options import (
    add_device,
    add_model,
    add_place,
    add_range,
    add_segmenter,
    add_start,
    add_words,
)
from dreammotion_core.cli_settings import add_settings
from dreammotion_core.methods.variants import ABLATION, VARIANTS
from dreammotion_core.metrics.registry import METRICS


def add_evaluation_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``metrics`` and ``ablate``."""
    _add_metrics(
        commands.add_parser(
            "metrics",
            help="measure an edit",
            description="Measure an edit against its source. Frames as PNG give exact figures of the "
            "background; a video file has been compressed.",
        )
    )
    _add_ablate(
        commands.add_parser(
            "ablate",
            help="compare variants of the method",
            description="Edit a clip with parts of the method switched off, or by baselines, with the same "
            "seed; write a page that shows and measures them side by side.",
        )
    )


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="SOURCE", type=Path, help="the source: a video, or a folder of PNG")
    parser.add_argument(
        "edited",
        metavar="EDITED",
        type=Path,
        help="the edit: likewise; frames of `edit "
        "--frames-dir` say how fast they are, for others of a source video give --fps",
    )
    parser.add_argument("--target-prompt", metavar="TEXT", help="what the edit should show")
    parser.add_argument("--mask", metavar="PATH", type=Path, help="what was selected, as for `edit`")
    parser.add_argument(
        "--object", dest="object_index", metavar="K", type=int, help="which one, if the mask numbers several"
    )
    parser.add_argument(
        "--mask-grow",
        metavar="PIXELS",
        type=int,
        default=0,
        help="grow the mask (negative: shrink), as for `edit`",
    )
    parser.add_argument(
        "--edited-mask", metavar="PATH", type=Path, help="where the object is in the edit, for its outline"
    )
    parser.add_argument(
        "--edited-object", metavar="K", type=int, help="which one, if the edited mask numbers several"
    )
    default = "of the source, as many and as fast as the edit's"
    add_start(parser, default, rate="read a source video at so many frames a second")
    add_device(_add_measures(parser))
    parser.add_argument("--json", metavar="PATH", type=Path, help="also write the figures as JSON")


def _add_ablate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")
    add_words(parser)
    add_place(parser)
    add_range(parser, "the model's own length and frame rate")
    parser.add_argument("--out", required=True, metavar="OUT.html", type=Path, help="the page")
    parser.add_argument(
        "--variants",
        nargs="+",
        default=ABLATION,
        metavar="NAME",
        help=f"of {', '.join(VARIANTS)} (default: {' '.join(ABLATION)})",
    )
    _add_measures(parser)
    add_segmenter(add_model(parser))
    # Every variant names its method.
    add_settings(parser, but_for=("method",))


def add_instruments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the judge, the tracker and the LPIPS backbone that measure."""
    group = parser.add_argument_group("what is measured, and by what")
    group.add_argument(
        "--judge",
        default="toybox-clip",
        metavar="NAME",
        help="of text and frames: toybox-clip (knows the cartoon world only), a folder with a CLIPModel, "
        "owner/name@revision, or none (%(default)s)",
    )
    group.add_argument("--cotracker", metavar="PATH", type=Path, help="weights; without: optical flow")
    group.add_argument(
        "--lpips", choices=("alex", "squeeze", "vgg"), help="backbone of Frame-LPIPS, downloaded if missing"
    )
    return group


def _add_measures(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = add_instruments(parser)
    group.add_argument(
        "--metrics", nargs="+", metavar="NAME", help=f"of {', '.join(METRICS)} (default: all that can be)"
    )
    return group
