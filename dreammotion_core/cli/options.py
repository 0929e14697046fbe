"""From the words of the command line to values. Deliberately absent: what is done with them.

One option of the command line for every setting of an edit.

Groups of options that several commands share.

Options of the commands that measure and compare edits.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from dreammotion_core.config import CHOICES, PRESETS, EditConfig
from dreammotion_core.evaluation.ablation import ABLATION, VARIANTS
from dreammotion_core.evaluation.measuring import METRICS
from dreammotion_core.media.video import read_clip, read_folder, read_video
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.spec import ModelSpec
from dreammotion_core.surroundings import COMMAND_LINE, SMALL_MODEL, SMALL_SEGMENTER, find_surroundings
from dreammotion_core.values import Video
from dreammotion_core.version import __version__
from segmentation import list_segmenters

_WHOLE: Mapping[str, Any] = {"type": int, "metavar": "N"}
_REAL: Mapping[str, Any] = {"type": float, "metavar": "X"}
_PIXELS: Mapping[str, Any] = {"type": int, "metavar": "PIXELS"}

_SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "method": (f"of {', '.join(CHOICES['method'])}", {"choices": CHOICES["method"], "metavar": "NAME"}),
    "strength": ("of sdedit and flowedit, up to 1", _REAL),
    "num_optimization_steps": ("optimisation steps", _WHOLE),
    "seed": ("repeats a run; -1 draws one", _WHOLE),
    "optimizer": ("how the steps are taken", {"choices": CHOICES["optimizer"]}),
    "learning_rate": ("length of the steps", _REAL),
    "learning_rate_end_factor": ("share of it that is left at the end", _REAL),
    "guidance_scale": ("weight of the prompts", _REAL),
    "timestep_range": ("of the noise, in 0 to 1000", {"type": int, "nargs": 2, "metavar": ("LOW", "HIGH")}),
    "timestep_order": ("in which they are taken", {"choices": CHOICES["timestep_order"]}),
    "direction_weighting": (
        "of the text's pull over the timesteps",
        {"choices": CHOICES["direction_weighting"]},
    ),
    "appearance_weight": ("of the text's pull; 0: off", _REAL),
    "spatial_weight": ("of keeping the structure; 0: off", _REAL),
    "temporal_weight": ("of keeping the motion; 0: off", _REAL),
    "matching_limit": ("of keeping both, in lengths of the text's pull; 0: off", _REAL),
    "mask_matching": ("match outside the mask too", {"action": "store_false"}),
    "mask_grow": ("grow the mask (negative: shrink)", _PIXELS),
    "mask_feather": ("soft rim of the mask", _PIXELS),
    "keep_detail": ("show the decoded clip as it is", {"action": "store_false"}),
    "colour_smoothing": ("of the object's mean colour; 0: off", {"type": float, "metavar": "SECONDS"}),
    "key_sites": ("layers whose keys are matched, as shell patterns", {"nargs": "+", "metavar": "PATTERN"}),
    "negative_prompt": ("what to stay away from", {"metavar": "TEXT"}),
    "preview_interval": ("steps between previews", _WHOLE),
    "resolution_scale": ("sides of the model's grid; below 1: less memory, coarser", _REAL),
    "last_stage": ("of a cascade, to stop after", {"metavar": "NAME"}),
}
"""What is said of each setting, and how it is read. `use_mask` has an option among those of the mask."""

_SHORT_FLAGS = {"num_optimization_steps": "--steps"}


def add_settings(parser: argparse.ArgumentParser, *, but_for: Collection[str] = ()) -> None:
    """Add an option for each setting, and one for the preset.

    Args:
        parser: of a command.
        but_for: names of settings that the command chooses itself.
    """
    group = parser.add_argument_group("settings (default: those of the preset)")
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="fast",
        help="keep-shape: for new colours and materials; paper: its optimiser, slow (%(default)s)",
    )
    for name, (what, reading) in _SETTINGS.items():
        if name in but_for:
            continue
        no = "no-" if reading.get("action") == "store_false" else ""
        flag = _SHORT_FLAGS.get(name, f"--{no}{name.replace('_', '-')}")
        group.add_argument(flag, dest=name, default=argparse.SUPPRESS, help=what, **reading)


def given_config(options: argparse.Namespace, *, usual: Mapping[str, Any]) -> EditConfig:
    """The preset with the settings that were given; where neither says anything, the model's usual ones.

    Raises:
        ConfigError: if one is out of its range.
    """
    given = {name: value for name, value in vars(options).items() if name in EditConfig.__dataclass_fields__}
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return EditConfig.preset(options.preset, usual=usual, **changes)


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
        "--model",
        default="auto",
        metavar="NAME",
        help="name, hub id or folder (%(default)s: what fits and lies ready, else toybox)",
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
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ... (%(default)s: a GPU that works, else cpu)"
    )


def add_segmenter(group: argparse._ArgumentGroup) -> None:
    """The segmenter and its weights."""
    group.add_argument(
        "--segmenter",
        default="auto",
        metavar="NAME",
        help="answers clicks (%(default)s: SAM where its weights lie ready, else embedded)",
    )
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


def settle_choices(options: argparse.Namespace) -> tuple[str, ...]:
    """Put what the rule of `find_surroundings` chooses in the place of ``auto``.

    Args:
        options: of any command; changed in place.

    Returns:
        What the user should know: the choices that another machine would not make, and notices.

    Raises:
        ConfigError: if a wish cannot be met.
        ModelLoadError: if there is no such model.
    """
    if "device" not in options:
        return ()
    found = find_surroundings(vars(options), segmenters=list_segmenters(), is_forgiving=False)
    chosen = {"device": found.device, "model": found.model, "segmenter": found.segmenter}
    for name, choice in chosen.items():
        if name in options:
            setattr(options, name, choice.value)
    if "low_memory" in options:
        options.low_memory = found.low_memory.value
    usual = {"cpu", SMALL_MODEL, SMALL_SEGMENTER}
    told = [
        f"{name}: {choice}"
        for name, choice in chosen.items()
        if name in options and choice.by != COMMAND_LINE and choice.value not in usual
    ]
    return (*found.notices, *([", ".join(told)] if told else []))


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
