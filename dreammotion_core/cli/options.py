"""The commands and options of the command line, and what is made of them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NoReturn

import torch

from dreammotion_core import __version__
from dreammotion_core.config import (
    AUTO,
    FLAG,
    PRESETS,
    SETTINGS,
    EditConfig,
    Interval,
    Kind,
    OneOf,
    Setting,
    Whole,
)
from dreammotion_core.errors import MaskError
from dreammotion_core.evaluation.catalog import ABLATION, METRICS, VARIANTS
from dreammotion_core.media.frames import read_folder
from dreammotion_core.media.mask_levels import GivenMasks
from dreammotion_core.media.masks import read_masks
from dreammotion_core.media.video import read_clip, read_video
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.project import SUFFIX
from dreammotion_core.spec import ModelSpec
from dreammotion_core.surroundings import COMMAND_LINE, SMALL_MODEL, SMALL_SEGMENTER, find_surroundings
from dreammotion_core.values import Video
from segmentation import list_segmenters

PRECISIONS = ("auto", "float32", "bfloat16", "float16")

_EXAMPLES = """
examples:
  python -m dreammotion_core edit car.mp4 --source-prompt "a red car, road" \\
      --target-prompt "a blue car, road" --click 64,70 --out blue.mp4
  python -m dreammotion_core segment car.mp4 --click 64,70 --click 80,66@12 --out masks
  python -m dreammotion_core edit car.mp4 --source-prompt "a red car, road" \\
      --target-prompt "a green car, road" --mask masks --out green.mp4

exit codes: 0 done, 1 model or disk failed, 2 input or a setting cannot be used,
3 other pixels (verify), 130 stopped by Ctrl-C, 141 nobody reads on
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

    def command(name: str, brief: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=brief, description=description)

    segment = "Select an object and write one mask a frame, white on the object."
    preflight = "Try a step of an edit. Say how long the edit takes, whether it fits into memory, "
    preflight += "and what fits otherwise."
    metrics = "Evaluate an edit beside its source. Frames as PNG give exact figures of the "
    metrics += "background; a video file has been compressed."
    ablate = "Edit a clip with parts of the method switched off, or by baselines, with the same "
    ablate += "seed. Write a page that shows and evaluates them side by side."
    _add_edit(command("edit", "edit a clip", "Edit a clip."))
    replay = "Make a finished or begun edit again, from what its result or its receipt says of it."
    verify = "Make an edit again. Say whether its result has the same pixels, or where the first other ones "
    verify += "are, by how much they differ, and what changed since."
    _add_replay(command("replay", "make an edit again from its result", replay))
    _add_verify(command("verify", "see whether a result can be made again", verify))
    project = "Keep a clip and its edits in one file, with masks, states and results, or take them out."
    _add_project(command("project", "keep a clip and its edits in one file", project))
    _add_segment(command("segment", "select an object and write its masks", segment))
    _add_preflight(command("preflight", "find the time and memory of an edit", preflight))
    _add_metrics(command("metrics", "evaluate an edit", metrics))
    _add_ablate(command("ablate", "compare variants of the method", ablate))
    command("models", "list the models and the segmenters", "List them.")
    return parser


def _add_edit(parser: argparse.ArgumentParser) -> None:
    _add_video(parser)
    _add_prompts(parser, several=True)
    _add_setting(_add_place(parser, several=True), "use_mask", SETTINGS["use_mask"])
    _add_range(parser, default="the model's own length and frame rate")
    _add_results(parser).add_argument(
        "--out", required=True, metavar="OUT.mp4", type=Path, help="the edited clip"
    )
    _add_segmenter(_add_model(parser))
    _add_settings(parser)


def _add_results(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    results = parser.add_argument_group("results")
    results.add_argument(
        "--frames-dir", metavar="DIR", type=Path, help="also write its frames as lossless PNG"
    )
    results.add_argument(
        "--receipt", metavar="PATH", type=Path, help="settings and facts as JSON (next to OUT)"
    )
    results.add_argument(
        "--state", metavar="DIR", type=Path, help="keep the edit after every step; the same command goes on"
    )
    results.add_argument(
        "--continue-anyway",
        action="store_true",
        help="go on with a state of another device, precision, version or number of threads",
    )
    return results


_RECORDS = f"a result (.mp4), a receipt (.json), the folder of --state, or a project ({SUFFIX})"
_FROM_RECORD = "name, hub id or folder (%(default)s: the one that made the result, if it lies ready)"


def _add_replay(parser: argparse.ArgumentParser) -> None:
    _add_record(parser, "RESULT", help=_RECORDS)
    parser.add_argument(
        "--anyway", action="store_true", help="also with another clip or model, or from an altered record"
    )
    _add_results(parser).add_argument(
        "--out", metavar="OUT.mp4", type=Path, help="the edited clip (RESULT-again.mp4 in this folder)"
    )
    _add_model(parser, usual=_FROM_RECORD)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_record(parser, "RESULT", help=_RECORDS)
    parser.add_argument(
        "--receipt",
        dest="given_receipt",
        metavar="PATH",
        type=Path,
        help="the receipt of the result, if others coded it again and its record is lost",
    )
    _add_model(parser, usual=_FROM_RECORD)


def _add_record(parser: argparse.ArgumentParser, metavar: str, *, help: str) -> None:
    parser.add_argument("record", metavar=metavar, type=Path, help=help)
    parser.add_argument(
        "--source", metavar="CLIP", type=Path, help="the clip that was edited; a project may hold it"
    )
    parser.add_argument(
        "--edit", default=1, metavar="K", type=int, help="number of the edit in a project (1)"
    )


def _add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("pack", "open"), help="write a project, or look into one")
    parser.add_argument("project", metavar=f"PROJECT{SUFFIX}", type=Path, help="the file")
    parser.add_argument(
        "items",
        nargs="*",
        metavar="EDIT",
        type=Path,
        help="pack: results (.mp4), receipts (.json) and folders of --state",
    )
    parser.add_argument("--source", metavar="CLIP", type=Path, help="pack: the clip that was edited")
    parser.add_argument(
        "--without-source", action="store_true", help="pack: keep only name, size and digest of the clip"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="open: write everything into a new folder")


def _add_segment(parser: argparse.ArgumentParser) -> None:
    _add_video(parser)
    _add_pointing(parser.add_argument_group("the object, on the first frame or on any"))
    _add_range(parser, default="the whole clip; give what `edit` will be given")
    parser.add_argument(
        "--out", required=True, metavar="OUT", type=Path, help="a new folder, .zip, .npz or .mp4"
    )
    model = parser.add_argument_group("segmenter")
    _add_segmenter(model)
    _add_device(model)


def _add_preflight(parser: argparse.ArgumentParser) -> None:
    _add_video(parser)
    _add_range(parser, default="the model's own length and frame rate")
    _add_model(parser)
    _add_settings(parser)


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="SOURCE", type=Path, help="the source: a video, or a folder of PNG")
    parser.add_argument(
        "edited",
        metavar="EDITED",
        type=Path,
        help="the edit: a video, or a folder of PNG; frames of `edit --frames-dir` keep their rate, for "
        "others of a source video give --fps",
    )
    parser.add_argument("--target-prompt", metavar="TEXT", help="what the edit should show")
    parser.add_argument("--mask", metavar="PATH", type=Path, help="what was selected, as for `edit`")
    _add_object(parser, "--object", of="mask", dest="object_index")
    parser.add_argument(
        "--mask-grow",
        metavar="PIXELS",
        type=int,
        default=0,
        help="grows the mask, or shrinks it if negative, as for `edit`",
    )
    parser.add_argument(
        "--mask-edge",
        metavar="PIXELS",
        type=int,
        default=EditConfig.mask_edge,
        help="band round the outline that the edit could change, as for `edit` (%(default)s)",
    )
    parser.add_argument(
        "--edited-mask", metavar="PATH", type=Path, help="where the object is in the edit, for its outline"
    )
    _add_object(parser, "--edited-object", of="edited mask", dest="edited_object")
    _add_start(
        parser,
        default="of the source, as many and as fast as the edit's",
        rate="frames a second at which a source video is read",
    )
    _add_device(_add_metric_names(parser))
    parser.add_argument("--json", metavar="PATH", type=Path, help="also write the figures as JSON")


def _add_ablate(parser: argparse.ArgumentParser) -> None:
    _add_video(parser)
    _add_prompts(parser)
    _add_place(parser)
    _add_range(parser, default="the model's own length and frame rate")
    parser.add_argument("--out", required=True, metavar="OUT.html", type=Path, help="the page")
    parser.add_argument(
        "--variants",
        nargs="+",
        default=ABLATION,
        metavar="NAME",
        help=f"of {', '.join(VARIANTS)} (default: {' '.join(ABLATION)})",
    )
    _add_metric_names(parser)
    _add_segmenter(_add_model(parser))
    # Every variant names its method.
    _add_settings(parser, but_for=("method",))


def _add_video(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of PNG frames")


def _add_prompts(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    group = parser.add_argument_group("what to change")
    group.add_argument("--source-prompt", required=True, metavar="TEXT", help="describes the clip as it is")
    repeated = "; may be repeated, one for each --object" if several else ""
    group.add_argument(
        "--target-prompt",
        required=True,
        metavar="TEXT",
        help=f"describes it as it should be{repeated}",
        action="append" if several else "store",
    )


def _add_place(parser: argparse.ArgumentParser, *, several: bool = False) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("where to change it (point at the object, or give its mask)")
    _add_pointing(group)
    group.add_argument(
        "--mask",
        metavar="PATH",
        type=Path,
        help="one mask a frame: a folder or .zip of PNG, .npz or .mp4; or one .png for all; white = object",
    )
    _add_object(group, "--object", of="mask", dest="object_index", several=several)
    return group


def _add_object(
    group: argparse._ActionsContainer, flag: str, *, of: str, dest: str, several: bool = False
) -> None:
    repeated = "; may be repeated, each with its --target-prompt" if several else ""
    group.add_argument(
        flag,
        dest=dest,
        metavar="K",
        type=int,
        help=f"number of the object, if the {of} holds several{repeated}",
        action="append" if several else "store",
    )


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
            type=_pointing(form),
            help=f"{meaning}; @N: on frame N of those that are used, from 0 (0); may be repeated",
        )


Pointing = tuple[int, tuple[float, ...]]
"""A click or a box: 0-based number of its frame, and x, y, or x0, y0, x1, y1 in pixels of the frame."""


def _pointing(form: str) -> Callable[[str], Pointing]:
    """A reader of as many numbers as `form` names, separated by commas, and of the frame after an @."""

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
        return index, numbers

    return read


def _add_range(parser: argparse.ArgumentParser, *, default: str) -> None:
    rate = "frames a second to which a video is resampled; the rate of frames that keep none"
    span = _add_start(parser, default=default, rate=rate)
    span.add_argument(
        *("--num-frames", "--frames"), dest="num_frames", type=int, metavar="N", help="number of frames"
    )


def _add_start(parser: argparse.ArgumentParser, *, default: str, rate: str) -> argparse._ArgumentGroup:
    span = parser.add_argument_group(f"which frames (default: {default})")
    span.add_argument("--start-frame", type=int, default=0, metavar="N", help="first frame (%(default)s)")
    span.add_argument("--fps", type=float, metavar="RATE", help=rate)
    return span


_USUAL_MODEL = "name, hub id or folder (%(default)s: what fits and lies ready, else toybox)"


def _add_model(parser: argparse.ArgumentParser, *, usual: str = _USUAL_MODEL) -> argparse._ArgumentGroup:
    model = parser.add_argument_group("model")
    model.add_argument("--model", default="auto", metavar="NAME", help=usual)
    model.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the model (%(default)s: on a GPU that of the published weights; on a CPU bfloat16 where the "
        "processor has it, else float32)",
    )
    model.add_argument(
        "--low-memory", action="store_true", help="for GPUs of 8 to 16 GB: slower, one part at a time"
    )
    _add_device(model)
    return model


def _add_device(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ... (%(default)s: a GPU that works, else cpu)"
    )


def _add_segmenter(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--segmenter",
        default="auto",
        metavar="NAME",
        help="answers clicks (%(default)s: SAM where its weights lie ready, else embedded)",
    )
    group.add_argument("--checkpoint", metavar="PATH", type=Path, help="weights of the segmenter")


def _add_metric_names(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = add_instruments(parser)
    group.add_argument(
        "--metrics", nargs="+", metavar="NAME", help=f"of {', '.join(METRICS)} (default: all that can be)"
    )
    return group


def add_instruments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the judge, the tracker and the LPIPS backbone of an evaluation."""
    group = parser.add_argument_group("metrics, and the models behind them")
    group.add_argument(
        "--judge",
        default="toybox-clip",
        metavar="NAME",
        help="of text and frames: toybox-clip (knows the cartoon world only), a folder with a CLIP model, "
        "owner/name@revision, or none (%(default)s)",
    )
    group.add_argument(
        "--cotracker", metavar="PATH", type=Path, help="weights of CoTracker (default: optical flow tracks)"
    )
    group.add_argument(
        "--lpips", choices=("alex", "squeeze", "vgg"), help="backbone of Frame-LPIPS, downloaded if missing"
    )
    return group


def _add_settings(parser: argparse.ArgumentParser, *, but_for: Collection[str] = ()) -> None:
    """Add an option for the preset and one for each setting, except those that the command itself chooses."""
    group = parser.add_argument_group("settings (default: those of the preset)")
    group.add_argument(
        "--preset",
        choices=(AUTO, *PRESETS),
        default=AUTO,
        help="keep-shape: for new colours and materials; fast: for another thing; paper: its optimiser, "
        "slow; auto: keep-shape or fast, by the words (%(default)s)",
    )
    for name, setting in SETTINGS.items():
        # The mask has its option beside the other ways to say where to edit.
        if name not in {"use_mask", *but_for}:
            _add_setting(group, name, setting)


def _add_setting(group: argparse._ArgumentGroup, name: str, setting: Setting) -> None:
    accepted, flag = setting.accepted, f"--{name.replace('_', '-')}"
    said = f"{setting.label[0].lower()}{setting.label[1:]}: {setting.help}"
    reading: dict[str, Any]
    match accepted:
        case OneOf(names) if len(names) > 3:  # too many to fit into the usage
            reading, said = {"choices": tuple(names), "metavar": "NAME"}, f"{said}: {', '.join(names)}"
        case OneOf(names):
            reading = {"choices": tuple(names)}
        case Interval():
            reading = {"type": int, "nargs": 2, "metavar": ("LOW", "HIGH")}
        case Whole():
            reading = {"type": int, "metavar": setting.unit.upper() or "N"}
        case Kind() if accepted is FLAG:
            flag, reading, said = f"--no-{flag.removeprefix('--')}", {"action": "store_false"}, setting.help
        case Kind(type=kind) if kind is tuple:
            reading = {"nargs": "+", "metavar": "PATTERN"}
        case Kind():
            reading = {"metavar": "NAME" if accepted.optional else "TEXT"}
        case _:
            reading = {"type": float, "metavar": setting.unit.upper() or "X"}
    group.add_argument(setting.option or flag, dest=name, default=argparse.SUPPRESS, help=said, **reading)


def given_config(
    options: argparse.Namespace, model: ModelSpec, *, size: tuple[int, int] | None = None
) -> tuple[EditConfig, str]:
    """The settings that were given, over those of preset and model; and why the words chose the preset.

    Args:
        size: (height, width) of the clip.

    Raises:
        ConfigError: if one is out of its range.
    """
    given = {name: value for name, value in vars(options).items() if name in SETTINGS}
    changes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    if options.preset != AUTO or "target_prompt" not in options:
        return model.config(options.preset, **changes), ""
    choice = model.choose_preset(options.source_prompt, options.target_prompt, size=size)
    config = model.config(choice.preset, **{"mask_grow": choice.mask_grow} | changes)
    return config, choice.describe(config)


def given_load_options(options: argparse.Namespace) -> LoadOptions:
    """The options with which the model is loaded."""
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
    """The frames asked for; length and rate default to those of the model, if there is one.

    Raises:
        ConfigError: if the model does not take so many frames, or a folder keeps another rate.
        VideoError: if the clip cannot be read.
    """
    span = {"start_frame": options.start_frame, "fps": options.fps}
    if model is not None:
        return read_clip(options.video, spec=model, num_frames=options.num_frames, **span)
    read = read_folder if options.video.is_dir() else read_video
    return read(options.video, max_frames=options.num_frames, **span)


def given_masks(path: Path, *, video: Video, object_index: int | None, option: str) -> GivenMasks:
    """The masks of a file, fitted to the clip; errors name the option for the number of the object.

    Raises:
        MaskError: if the file cannot be read or does not fit.
    """
    try:
        return read_masks(path, num_frames=len(video), size=video.size, object_index=object_index)
    except MaskError as error:
        raise MaskError(str(error).replace("object_index", option)) from error
