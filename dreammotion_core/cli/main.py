"""The commands of ``python -m dreammotion_core``: a second consumer of the same events as the page.

Results go to stdout, messages and bars to stderr. What needs torch is imported by the commands that need it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from tqdm import tqdm

from dreammotion_core.cli.options import (
    build_parser,
    given_clip,
    given_config,
    given_load_options,
    settle_choices,
)
from dreammotion_core.cli.selecting import (
    SelectedObject,
    check_one_way_to_select,
    follow_selection,
    read_given_mask,
)
from dreammotion_core.errors import (
    BackendError,
    ConfigError,
    DreamMotionError,
    InputError,
    NumericsError,
    OutOfMemoryError,
    OutputError,
    VideoError,
)
from dreammotion_core.media.atomic import check_writable, keep_result
from dreammotion_core.media.frames import check_empty_folder, write_frames
from dreammotion_core.media.masks import check_mask_target, write_masks
from dreammotion_core.media.video import check_target, write_video
from dreammotion_core.memory import usable_memory
from dreammotion_core.models.catalog import find_model, list_models
from dreammotion_core.receipt import build_receipt, describe_file, write_receipt
from dreammotion_core.spec import ModelSpec
from dreammotion_core.states import StateFolder
from dreammotion_core.surroundings import best_first, find_surroundings
from dreammotion_core.values import (
    EditEvent,
    EditOutput,
    Finished,
    Notice,
    Preview,
    StageDone,
    Started,
    StepDone,
    Video,
)
from segmentation import SegmentationError, SegmenterSpec, find_cuts, list_segmenters

if TYPE_CHECKING:
    from dreammotion_core.pipeline import DreamMotionPipeline

_READ = {
    "video": "the clip",
    "record": "the result",
    "source": "--source",
    "given_receipt": "--receipt",
    "edited": "the edit",
    "mask": "--mask",
    "edited_mask": "--edited-mask",
    "checkpoint": "--checkpoint",
    "cotracker": "--cotracker",
}
_WRITTEN = {
    "out": "--out",
    "frames_dir": "--frames-dir",
    "receipt": "--receipt",
    "json": "--json",
    "state": "--state",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after the program's name; None takes those of this process.

    Returns:
        The exit code: 0 done, 1 the model or the disk failed, 2 the input or a setting cannot be used, 3
        `verify` found other pixels, 130 stopped, 141 nobody reads what is printed any more.
    """
    options = build_parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "edit": _edit,
        "replay": _replay,
        "verify": _verify,
        "project": _project,
        "segment": _segment,
        "preflight": _preflight,
        "metrics": _metrics,
        "ablate": _ablate,
        "models": _models,
    }
    try:
        check_places(options)
        if "record" not in options:
            settle(options)
        code = commands[options.command](options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                # Python flushes once more when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 141
    except (DreamMotionError, SegmentationError) as error:
        say(f"Error: {error}")
        return 2 if isinstance(error, (InputError, NumericsError, ValueError)) else 1
    except KeyboardInterrupt as stopped:
        say(str(stopped) or "Stopped. Nothing is left half-written.")
        return 130


def settle(options: argparse.Namespace) -> None:
    """Put what fits in the place of ``auto``, and say what the user should know."""
    for note in settle_choices(options):
        say(f"Note: {note}")


def check_places(options: argparse.Namespace) -> None:
    """Refuse a command whose results would overwrite what it reads, or one another.

    Links do not hide that two places are one.

    Raises:
        ConfigError: if a result would replace something that is read or become part of it, or two results
            would go to one place.
    """
    read = _places(options, _READ)
    written = _places(options, _WRITTEN)
    if "receipt" in options and options.out is not None:
        written["--receipt"] = _receipt_path(options)
    for name, place in written.items():
        for what, path in read.items():
            if name == "--state" and path is read.get("the result"):
                continue  # an edit that goes on
            if is_same_place(place, path) or (
                place.suffix.lower() == ".png" and is_same_place(place.parent, path)
            ):
                raise ConfigError(
                    f"{name} {place} would be written over {what} ({path}), which is read; choose another "
                    f"place for {name}"
                )
    for (name, place), (other, path) in permutations(written.items(), 2):
        if is_same_place(place, path) or (other == "--frames-dir" and _lies_in(place, path)):
            raise ConfigError(
                f"{name} {place} and {other} {path} would get in each other's way; choose another place for "
                "one of them"
            )


def _places(options: argparse.Namespace, names: dict[str, str]) -> dict[str, Path]:
    given = {said: getattr(options, name, None) for name, said in names.items()}
    return {said: path for said, path in given.items() if path is not None}


def _receipt_path(options: argparse.Namespace) -> Path:
    return options.receipt or options.out.with_suffix(".json")  # type: ignore[no-any-return]


def is_same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to one place, of links and of places that are not there yet too."""
    try:
        return one.samefile(other)
    except OSError:
        # At least one does not exist yet.
        return os.path.realpath(one) == os.path.realpath(other)


def _lies_in(place: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(place)).parents


def _edit(options: argparse.Namespace) -> None:
    model = find_model(options.model)
    targets, numbers = _each_object(options, model)
    config, _ = given_config(options, model)
    check_one_way_to_select(options, uses_mask=config.use_mask)
    state = check_results(options)
    # The folder is taken before any work, so that a second process need not begin.
    with state or nullcontext():
        output = _edited(options, model, targets, numbers, state)
    write_results(options, output, source=options.video)


def check_results(options: argparse.Namespace) -> StateFolder | None:
    """Try the places of the results before any work; the folder of the states, if one was named."""
    if options.continue_anyway and options.state is None:
        raise ConfigError("--continue-anyway goes on with a kept edit; name its folder with --state")
    check_target(options.out)
    check_writable(_receipt_path(options))
    if options.frames_dir is not None:
        check_empty_folder(options.frames_dir)
    return StateFolder(options.state, goes_anywhere=options.continue_anyway) if options.state else None


def write_results(options: argparse.Namespace, output: EditOutput, *, source: Path) -> None:
    """Write clip, receipt and frames, and say what they are; `OutputError` if one is kept elsewhere.

    A source that is gone costs only its entry in the receipt.
    """
    known = ("start_frame", "preset", "selection", "segmenter", "mask_file", "mask_object")
    told = {name: value for name, value in output.request["origin"].items() if name in known}
    moved: list[str | None] = []
    try:
        receipt = build_receipt(output, source_path=source if source.is_file() else None, **told)
    except VideoError as error:
        receipt = build_receipt(output, **told)
        moved.append(str(error))
    moved.append(keep_result(partial(write_video, output.video, record=receipt["record"]), options.out))
    if moved[-1] is None:
        receipt["result"]["file"] = describe_file(options.out)
    moved.append(keep_result(partial(write_receipt, receipt), _receipt_path(options)))
    if options.frames_dir is not None:
        keep_frames = partial(write_frames, output.frames, fps=output.video.fps)
        moved.append(keep_result(keep_frames, options.frames_dir))
    print(
        f"{options.out}: {len(output.video)} frames, {len(output.losses)} steps in {output.seconds:.0f} s, "
        f"seed {output.config.seed}; {_describe_outside(output)}"
    )
    if problems := [sentence for sentence in moved if sentence is not None]:
        raise OutputError(". ".join(problems))


def _edited(
    options: argparse.Namespace,
    model: ModelSpec,
    targets: Sequence[str],
    numbers: Sequence[int],
    state: StateFolder | None,
) -> EditOutput:
    video = given_clip(options, model)
    config, reason = given_config(options, model, size=video.size)
    if reason:
        say(f"Note: {reason}")
    asked: Sequence[int | None] = numbers or [None]
    selected = []
    for number in asked if config.use_mask else ():
        options.object_index = number
        selected.append(_selected(options, video))
    masks = [each.masks for each in selected]
    mask = masks[0] if masks else None
    # In one window a cut changes nothing.
    is_long = len(video) > model.window(len(video), asked=config.window)
    origin = {
        "file": describe_file(options.video) if options.video.is_file() else None,
        "start_frame": options.start_frame,
        "preset": {"asked": options.preset, "reason": reason},
        **(selected[0].record if selected else {}),
    }
    events = load_pipeline(options).stream(
        video,
        source_prompt=options.source_prompt,
        target_prompt=targets if len(targets) > 1 else targets[0],
        mask=masks if len(targets) > 1 else mask,
        config=config,
        state=state,
        origin=origin,
        cuts=find_cuts(video.frames) if is_long else (),
    )
    with closing(events):
        return follow_edit(events, video, options)


def _each_object(options: argparse.Namespace, model: ModelSpec) -> tuple[list[str], list[int]]:
    """The target prompts and the numbers of the objects; the options keep those that decide for all.

    Of one object the last prompt counts, as of every option that is given twice.

    Raises:
        ConfigError: unless there is a prompt for each of several objects.
    """
    targets, numbers = options.target_prompt, options.object_index or []
    if len(numbers) < 2:
        targets = targets[-1:]
    elif len(targets) != len(numbers) or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"--object was given {len(numbers)} times ({', '.join(map(str, numbers))}) and --target-prompt "
            f"{len(targets)} times; give each object once, and a prompt for each"
        )
    # Where one object becomes another thing, the settings are those for another thing.
    choices = [model.choose_preset(options.source_prompt, each).preset for each in targets]
    options.target_prompt = targets[choices.index(min(choices))]
    options.object_index = numbers[0] if numbers else None
    return targets, numbers


def _selected(options: argparse.Namespace, video: Video) -> SelectedObject:
    if options.mask is not None:
        selected = read_given_mask(options, video=video)
    else:
        selected = follow_selection(options, video=video).selected()
    for note in selected.notes:
        say(f"Note: {note}")
    return selected


def load_pipeline(options: argparse.Namespace) -> DreamMotionPipeline:
    """The model of the options, downloaded if it is not at hand."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from dreammotion_core.models.download import download_model
    from dreammotion_core.pipeline import DreamMotionPipeline

    with tqdm(desc="download", unit="B", unit_scale=True, disable=None, leave=False) as bar:
        for progress in download_model(options.model):
            bar.total = progress.total_bytes
            bar.update(progress.received_bytes - bar.n)
    # The libraries' bars for reading weights from the disk would hide the messages of the command.
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    return DreamMotionPipeline.from_pretrained(
        options.model, options=given_load_options(options), device=options.device
    )


def follow_edit(events: Iterator[EditEvent], video: Video, options: argparse.Namespace) -> EditOutput:
    """Show the events of an edit as they come; Ctrl-C and a failing device keep the latest preview."""
    latest: Preview | None = None
    with tqdm(desc="edit", unit="step", disable=None) as bar:
        try:
            for event in events:
                match event:
                    case Started():
                        bar.reset(total=event.num_steps)
                        bar.update(len(event.losses))
                    case StepDone(losses=losses):
                        bar.set_postfix_str(
                            f"V-DDS {losses.appearance:.3f}, S-SSM {losses.spatial:.4f}, "
                            f"T-SSM {losses.temporal:.4f}",
                            refresh=False,
                        )
                        bar.update()
                    case Preview():
                        latest = event
                    case StageDone():
                        latest = Preview(int(bar.n), event.frames)
                        bar.set_postfix_str(f"{event.name} done")
                    case Notice():
                        _note(event)
                    case Finished():
                        return event.output
                    case _:
                        assert_never(event)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_keep(latest, video, options)) from None
        except (BackendError, NumericsError) as error:
            say(_keep(latest, video, options))
            if isinstance(error, OutOfMemoryError):
                say("`preflight` with the same options finds the largest setting that fits.")
            raise
    raise AssertionError("a stream ends with Finished or an exception")


def _keep(latest: Preview | None, video: Video, options: argparse.Namespace) -> str:
    """Write the latest preview, and say what is left of the edit and how to go on."""
    if "out" not in options:
        return "Stopped."
    if options.state is None:
        further = "With --state DIR an edit is kept, and the same command goes on."
    else:
        further = f"The same command goes on from the step that {options.state} holds."
    if latest is None:
        return f"Stopped before the first preview. No clip was written. {further}"
    write_video(replace(video, frames=latest.frames), options.out)
    return f"Stopped. {options.out} shows the clip as of step {latest.step}. {further}"


def _describe_outside(output: EditOutput) -> str:
    """How much the edit changed outside its mask, which may be grown and has an edge."""
    difference, config = output.max_difference_outside, output.config
    if difference is None:
        return "the whole frame was edited"
    grow, edge = config.mask_grow, config.mask_edge
    resized = f", {'grown' if grow > 0 else 'shrunk'} by {abs(grow)} pixels" if grow else ""
    resized += f", and its edge of {edge}" if edge else ""
    changed = f"changed by up to {difference} of 255 levels" if difference else "unchanged"
    return f"outside the mask{resized}: {changed}"


def _replay(options: argparse.Namespace) -> None:
    from dreammotion_core.cli.replaying import replay

    replay(options)


def _verify(options: argparse.Namespace) -> int:
    from dreammotion_core.cli.replaying import verify

    found = verify(options)
    print("\n".join(found.describe()))
    return 0 if found.is_same else 3


def _project(options: argparse.Namespace) -> None:
    from dreammotion_core.cli.replaying import open_or_pack

    for text in open_or_pack(options):
        print(text)


def _segment(options: argparse.Namespace) -> None:
    check_mask_target(options.out)
    video = given_clip(options)
    for notice in video.notices:
        _note(notice)
    followed = follow_selection(options, video=video)
    for note in followed.notes:
        say(f"Note: {note}")
    write_masks(followed.stream(), options.out, fps=video.fps)
    print(f"{options.out}: {len(video)} masks, the object covers {followed.coverage:.1%} of the frames")


def _preflight(options: argparse.Namespace) -> None:
    from dreammotion_core.preflight import Trial, describe_preflight, measure_edit

    model = find_model(options.model)
    (config, _), video = given_config(options, model), given_clip(options, model)
    for found in measure_edit(load_pipeline(options), video=video, config=config):
        if isinstance(found, Trial):
            verdict = "fits" if found.fits else "does not fit"
            say(f"{found.num_frames} frames at {found.grid[1]}x{found.grid[0]}: {verdict}")
        else:
            print("\n".join(describe_preflight(found)))


def _metrics(options: argparse.Namespace) -> None:
    from dreammotion_core.cli.evaluating import run_metrics

    for text in run_metrics(options, note=_note):
        print(text)


def _ablate(options: argparse.Namespace) -> None:
    from dreammotion_core.cli.evaluating import check_ablate, run_ablate

    check_one_way_to_select(options, uses_mask=True)
    check_ablate(options)
    video = given_clip(options, find_model(options.model))
    mask = _selected(options, video).masks
    for text in run_ablate(options, pipe=load_pipeline(options), video=video, mask=mask, note=_note):
        print(text)


def _models(_options: argparse.Namespace) -> None:
    models, device = (
        list_models(),
        find_surroundings({}, segmenters=list_segmenters(), is_forgiving=True).device.value,
    )
    if device != "cpu":
        models = tuple(best_first(models, room=usable_memory(device)))
    print("Models (edit --model NAME; a hub id or a folder works too):")
    for model in models:
        _describe(model)
    print("\nSegmenters (--segmenter NAME):")
    for segmenter in list_segmenters():
        _describe(segmenter)


def _describe(spec: ModelSpec | SegmenterSpec) -> None:
    from dreammotion_core.preflight import describe_download, describe_memory

    size, need = f"{spec.size_bytes / 1e6:,.0f} MB" if spec.size_bytes else "no weights", ""
    if isinstance(spec, SegmenterSpec):
        state = spec.describe_readiness()
    else:
        state = "ready" if spec.is_ready() else "not ready: downloaded on first use"
        need = f"; {words}" if (words := describe_memory(spec)) else ""
    if spec.size_bytes and not spec.is_ready():
        size += f", {describe_download(spec.size_bytes)}"
    print(f"\n  {spec.name}  [{state}]\n    {spec.label}; {spec.licence}; {size}{need}; {spec.source}")
    print(f"    {spec.description}")


def _note(notice: Notice) -> None:
    say(f"Note: {notice.text}")


def say(text: str) -> None:
    """Write a message to stderr, above a bar."""
    tqdm.write(text, file=sys.stderr)
