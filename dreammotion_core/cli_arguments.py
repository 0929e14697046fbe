"""From the words of the command line to values. Deliberately absent: what is done with them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from dreammotion_core.backends.base import ModelSpec
from dreammotion_core.backends.load_options import LoadOptions
from dreammotion_core.cli_settings import add_settings
from dreammotion_core.clip_reading import FOLDER_FPS, read_clip
from dreammotion_core.frame_folders import read_frames
from dreammotion_core.values import Video
from dreammotion_core.version import __version__
from dreammotion_core.video_io import read_video

PRECISIONS = ("auto", "float32", "bfloat16", "float16")

_EXAMPLES = """
examples:
  python -m dreammotion_core edit car.mp4 --source-prompt "a red car, road" \\
      --target-prompt "a blue car, road" --click 64,70 --out blue.mp4
  python -m dreammotion_core segment car.mp4 --click 64,70 --click 80,66@12 --out masks
  python -m dreammotion_core edit car.mp4 --source-prompt "a red car, road" \\
      --target-prompt "a green car, road" --mask masks --out green.mp4

exit codes: 0 done, 1 model or disk failed, 2 input cannot be used, 130 stopped by Ctrl-C
"""


class _Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Settings that were not given are absent from its result."""
    parser = _Parser(
        prog="python -m dreammotion_core",
        description="Edit one object of a video by text; its motion and everything else stay.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"DreamMotion {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_edit(commands.add_parser("edit", help="edit a clip", description="Edit a clip."))
    _add_segment(
        commands.add_parser(
            "segment",
            help="select an object and write its masks",
            description="Select an object and write one mask a frame, white on the object.",
        )
    )
    _add_preflight(
        commands.add_parser(
            "preflight",
            help="measure what an edit takes",
            description="Try a step of an edit: how long it takes, whether it fits, and what fits otherwise.",
        )
    )
    commands.add_parser("models", help="list the models and the segmenters", description="List them.")
    return parser


def _add_edit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")
    words = parser.add_argument_group("what to change")
    words.add_argument("--source-prompt", required=True, metavar="TEXT", help="describes the clip as it is")
    words.add_argument("--target-prompt", required=True, metavar="TEXT", help="describes it as it should be")
    where = parser.add_argument_group("where to change it (point at the object, or give its mask)")
    _add_pointing(where)
    where.add_argument(
        "--mask",
        metavar="PATH",
        type=Path,
        help="one a frame: a folder or .zip of PNG, .npz or .mp4; or one .png for all; white = object",
    )
    where.add_argument(
        "--object", dest="object_index", metavar="K", type=int, help="which one, if the mask numbers several"
    )
    where.add_argument(
        "--no-mask",
        dest="use_mask",
        action="store_false",
        default=argparse.SUPPRESS,
        help="edit the whole frame",
    )
    _add_range(parser, "the model's own length and frame rate")
    results = parser.add_argument_group("results")
    results.add_argument("--out", required=True, metavar="OUT.mp4", type=Path, help="the edited clip")
    results.add_argument(
        "--frames-dir", metavar="DIR", type=Path, help="also write its frames as lossless PNG"
    )
    results.add_argument(
        "--receipt", metavar="PATH", type=Path, help="settings and facts as JSON (next to OUT)"
    )
    _add_segmenter(_add_model(parser))
    add_settings(parser)


def _add_preflight(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")
    _add_range(parser, "the model's own length and frame rate")
    _add_model(parser)
    add_settings(parser)


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")
    _add_pointing(parser.add_argument_group("the object, on the first frame or on any"))
    _add_range(parser, "the whole clip; give what `edit` will be given")
    parser.add_argument(
        "--out", required=True, metavar="OUT", type=Path, help="a new folder, .zip, .npz or .mp4"
    )
    model = parser.add_argument_group("segmenter")
    _add_segmenter(model)
    _add_device(model)


def _add_pointing(group: argparse._ArgumentGroup) -> None:
    for flag, form, meaning in (
        ("--click", "X,Y", "a point on the object, in pixels from the top left"),
        ("--negative-click", "X,Y", "a point that does not belong to it"),
        ("--box", "X0,Y0,X1,Y1", "a box round it"),
    ):
        group.add_argument(
            flag,
            action="append",
            default=[],
            metavar=f"{form}[@N]",
            type=_on_frame(form),
            help=f"{meaning}; @N: on frame N of those that are used, from 0 (0); may be repeated",
        )


def _add_range(parser: argparse.ArgumentParser, default: str) -> None:
    span = parser.add_argument_group(f"which frames (default: {default})")
    span.add_argument("--start-frame", type=int, default=0, metavar="N", help="first frame (%(default)s)")
    span.add_argument("--num-frames", type=int, metavar="N", help="how many")
    span.add_argument("--fps", type=float, metavar="RATE", help="resample to so many frames a second first")


def _add_model(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", default="toybox", metavar="NAME", help="name, hub id or folder (%(default)s)"
    )
    model.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the model (%(default)s)")
    model.add_argument(
        "--low-memory", action="store_true", help="for GPUs of 8 to 16 GB: slower, in half precision"
    )
    _add_device(model)
    return model


def _add_device(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")


def _add_segmenter(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--segmenter", default="embedded", metavar="NAME", help="answers clicks (%(default)s)")
    group.add_argument("--checkpoint", metavar="PATH", type=Path, help="weights of the segmenter")


def given_load_options(options: argparse.Namespace) -> LoadOptions:
    """How the model is to be loaded."""
    dtype = None if options.precision == "auto" else getattr(torch, options.precision)
    if not options.low_memory:
        return LoadOptions(torch_dtype=dtype)
    return LoadOptions.low_memory() if dtype is None else LoadOptions.low_memory(torch_dtype=dtype)


def given_device(options: argparse.Namespace) -> str:
    """The device asked for; ``auto`` prefers an accelerator."""
    if options.device != "auto":
        return str(options.device)
    return "cuda" if torch.cuda.is_available() else "cpu"


def given_clip(options: argparse.Namespace, model: ModelSpec | None = None) -> Video:
    """The range of frames asked for; what was not asked for is as the model likes it best.

    Raises:
        ConfigError: if the model does not take so many frames.
        VideoError: if the clip cannot be read.
    """
    span = {"start_frame": options.start_frame, "fps": options.fps}
    if model is not None:
        return read_clip(options.video, spec=model, num_frames=options.num_frames, **span)
    if options.video.is_dir():
        span["fps"] = FOLDER_FPS if options.fps is None else options.fps
        return read_frames(options.video, max_frames=options.num_frames, **span)
    return read_video(options.video, max_frames=options.num_frames, **span)


@dataclass(frozen=True)
class Pointing:
    """What one option points at.

    Attributes:
        frame_index: 0-based, among the frames that are used.
        numbers: pixels from the left and top edge of the frame: x, y, or x0, y0, x1, y1.
    """

    frame_index: int
    numbers: tuple[float, ...]


def _on_frame(form: str) -> Callable[[str], Pointing]:
    """Reads as many numbers as ``form`` names, separated by commas, and after an @ the frame."""

    def read(text: str) -> Pointing:
        place, at, frame = text.partition("@")
        try:
            numbers = tuple(float(part) for part in place.split(","))
            index = int(frame) if at else 0
        except ValueError:
            numbers, index = (), 0
        if len(numbers) != form.count(",") + 1 or not all(map(math.isfinite, numbers)):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not of the form {form}, in pixels, or {form}@N, on frame N"
            )
        return Pointing(index, numbers)

    return read
