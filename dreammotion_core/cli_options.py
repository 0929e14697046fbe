"""Groups of options that several commands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def add_words(parser: argparse.ArgumentParser) -> None:
    """The two prompts."""
    words = parser.add_argument_group("what to change")
    words.add_argument("--source-prompt", required=True, metavar="TEXT", help="describes the clip as it is")
    words.add_argument("--target-prompt", required=True, metavar="TEXT", help="describes it as it should be")


def add_place(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Where to change it: by pointing, or by a mask file."""
    where = parser.add_argument_group("where to change it (point at the object, or give its mask)")
    add_pointing(where)
    where.add_argument(
        "--mask",
        metavar="PATH",
        type=Path,
        help="one a frame: a folder or .zip of PNG, .npz or .mp4; or one .png for all; white = object",
    )
    where.add_argument(
        "--object", dest="object_index", metavar="K", type=int, help="which one, if the mask numbers several"
    )
    return where


def add_pointing(group: argparse._ArgumentGroup) -> None:
    """Clicks and boxes."""
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


def add_range(parser: argparse.ArgumentParser, default: str) -> None:
    """Which frames of the clip are used."""
    rate = "resample a video to so many frames a second first; of frames that keep no rate: what it is"
    span = add_start(parser, default, rate=rate)
    span.add_argument("--num-frames", type=int, metavar="N", help="how many")


def add_start(parser: argparse.ArgumentParser, default: str, *, rate: str) -> argparse._ArgumentGroup:
    """Where the frames that are used begin, and how fast they are."""
    span = parser.add_argument_group(f"which frames (default: {default})")
    span.add_argument("--start-frame", type=int, default=0, metavar="N", help="first frame (%(default)s)")
    span.add_argument("--fps", type=float, metavar="RATE", help=rate)
    return span


def add_model(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The model, how it computes, and where."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", default="toybox", metavar="NAME", help="name, hub id or folder (%(default)s)"
    )
    model.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the model; auto: on a GPU that of its published weights, on a CPU bfloat16 where it has it, "
        "else float32 (%(default)s)",
    )
    model.add_argument(
        "--low-memory", action="store_true", help="for GPUs of 8 to 16 GB: slower, one part at a time"
    )
    add_device(model)
    return model


def add_device(group: argparse._ArgumentGroup) -> None:
    """Where it computes."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")


def add_segmenter(group: argparse._ArgumentGroup) -> None:
    """The segmenter and its weights."""
    group.add_argument("--segmenter", default="embedded", metavar="NAME", help="answers clicks (%(default)s)")
    group.add_argument("--checkpoint", metavar="PATH", type=Path, help="weights of the segmenter")


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
