"""From the words of the command line to values. Deliberately absent: what is done with them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

import torch

from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.backends.load_options import LoadOptions, checked_device
from dreammotion_core.cli_evaluation import add_evaluation_commands
from dreammotion_core.cli_options import (
    add_device,
    add_model,
    add_place,
    add_pointing,
    add_range,
    add_segmenter,
    add_words,
)
from dreammotion_core.cli_settings import add_settings
from dreammotion_core.clip_reading import read_clip, read_folder
from dreammotion_core.values import Video
from dreammotion_core.version import __version__
from dreammotion_core.media.video import read_video

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
    add_evaluation_commands(commands)
    commands.add_parser("models", help="list the models and the segmenters", description="List them.")
    return parser


def _add_edit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")
    add_words(parser)
    where = add_place(parser)
    where.add_argument(
        "--no-mask",
        dest="use_mask",
        action="store_false",
        default=argparse.SUPPRESS,
        help="edit the whole frame",
    )
    add_range(parser, "the model's own length and frame rate")
    results = parser.add_argument_group("results")
    results.add_argument("--out", required=True, metavar="OUT.mp4", type=Path, help="the edited clip")
    results.add_argument(
        "--frames-dir", metavar="DIR", type=Path, help="also write its frames as lossless PNG"
    )
    results.add_argument(
        "--receipt", metavar="PATH", type=Path, help="settings and facts as JSON (next to OUT)"
    )
    add_segmenter(add_model(parser))
    add_settings(parser)


def _add_preflight(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")
    add_range(parser, "the model's own length and frame rate")
    add_model(parser)
    add_settings(parser)


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")
    add_pointing(parser.add_argument_group("the object, on the first frame or on any"))
    add_range(parser, "the whole clip; give what `edit` will be given")
    parser.add_argument(
        "--out", required=True, metavar="OUT", type=Path, help="a new folder, .zip, .npz or .mp4"
    )
    model = parser.add_argument_group("segmenter")
    add_segmenter(model)
    add_device(model)


def given_load_options(options: argparse.Namespace) -> LoadOptions:
    """How the model is to be loaded."""
    dtype = None if options.precision == "auto" else getattr(torch, options.precision)
    load = LoadOptions.low_memory if options.low_memory else LoadOptions
    return load(torch_dtype=dtype)


def given_device(options: argparse.Namespace) -> str:
    """The device asked for; ``auto`` prefers an accelerator.

    Raises:
        ConfigError: if there is no such device.
    """
    if options.device != "auto":
        return str(checked_device(options.device))
    return "cuda" if torch.cuda.is_available() else "cpu"


def given_clip(options: argparse.Namespace, model: ModelSpec | None = None) -> Video:
    """The range of frames asked for; what was not asked for is as the model likes it best.

    Raises:
        ConfigError: if the model does not take so many frames, or a folder keeps another rate.
        VideoError: if the clip cannot be read.
    """
    span = {"start_frame": options.start_frame, "fps": options.fps}
    if model is not None:
        return read_clip(options.video, spec=model, num_frames=options.num_frames, **span)
    if options.video.is_dir():
        return read_folder(options.video, max_frames=options.num_frames, **span)
    return read_video(options.video, max_frames=options.num_frames, **span)
