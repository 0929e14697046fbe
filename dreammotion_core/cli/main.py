"""The commands of ``python -m dreammotion_core``: a second consumer of the same events as the page.

Results go to stdout, messages and bars to stderr. What needs torch is imported by the commands that need it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
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
)
from dreammotion_core.media.atomic import check_writable, keep_result
from dreammotion_core.media.frames import check_empty_folder, write_frames
from dreammotion_core.media.masks import check_mask_target, write_masks
from dreammotion_core.media.video import check_target, write_video
from dreammotion_core.memory import usable_memory
from dreammotion_core.models.catalog import find_model, list_models
from dreammotion_core.receipt import build_receipt, write_receipt
from dreammotion_core.spec import ModelSpec
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
from segmentation import SegmentationError, SegmenterSpec, list_segmenters

if TYPE_CHECKING:
    from dreammotion_core.pipeline import DreamMotionPipeline

_READ = {
    "video": "the clip",
    "edited": "the edit",
    "mask": "--mask",
    "edited_mask": "--edited-mask",
    "checkpoint": "--checkpoint",
    "cotracker": "--cotracker",
}
_WRITTEN = {"out": "--out", "frames_dir": "--frames-dir", "receipt": "--receipt", "json": "--json"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after the program's name; None takes those of this process.

    Returns:
        The exit code: 0 done, 1 the model or the disk failed, 2 the input or a setting cannot be used, 130
        stopped.
    """
    options = build_parser().parse_args(arguments)
    commands = {
        "edit": _edit,
        "segment": _segment,
        "preflight": _preflight,
        "metrics": _metrics,
        "ablate": _ablate,
        "models": _models,
    }
    try:
        check_places(options)
        for note in settle_choices(options):
            _say(f"Note: {note}")
        commands[options.command](options)
    except (DreamMotionError, SegmentationError) as error:
        _say(f"Error: {error}")
        return 2 if isinstance(error, (InputError, NumericsError, ValueError)) else 1
    except KeyboardInterrupt as stopped:
        _say(str(stopped) or "Stopped. Nothing is left half-written.")
        return 130
    return 0


def check_places(options: argparse.Namespace) -> None:
    """Refuse a command whose results would overwrite what it reads, or one another.

    Links do not hide that two places are one.

    Raises:
        ConfigError: if a result would replace something that is read or become part of it, or two results
            would go to one place.
    """
    read = _places(options, _READ)
    written = _places(options, _WRITTEN)
    if "receipt" in options:
        written["--receipt"] = _receipt_path(options)
    for name, place in written.items():
        for what, path in read.items():
            if _is_same(place, path) or (place.suffix.lower() == ".png" and _is_same(place.parent, path)):
                raise ConfigError(
                    f"{name} {place} would be written over {what} ({path}), which is read; choose another "
                    f"place for {name}"
                )
    for (name, place), (other, path) in permutations(written.items(), 2):
        if _is_same(place, path) or (other == "--frames-dir" and _lies_in(place, path)):
            raise ConfigError(
                f"{name} {place} and {other} {path} would get in each other's way; choose another place for "
                "one of them"
            )


def _places(options: argparse.Namespace, names: dict[str, str]) -> dict[str, Path]:
    given = {said: getattr(options, name, None) for name, said in names.items()}
    return {said: path for said, path in given.items() if path is not None}


def _receipt_path(options: argparse.Namespace) -> Path:
    return options.receipt or options.out.with_suffix(".json")  # type: ignore[no-any-return]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        # At least one does not exist yet.
        return os.path.realpath(one) == os.path.realpath(other)


def _lies_in(place: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(place)).parents


def _edit(options: argparse.Namespace) -> None:
    model = find_model(options.model)
    config, _ = given_config(options, model)
    check_one_way_to_select(options, uses_mask=config.use_mask)
    check_target(options.out)
    check_writable(_receipt_path(options))
    if options.frames_dir is not None:
        check_empty_folder(options.frames_dir)

    video = given_clip(options, model)
    config, reason = given_config(options, model, size=video.size)
    if reason:
        _say(f"Note: {reason}")
    selected = _selected(options, video) if config.use_mask else None
    events = _pipeline(options).stream(
        video,
        source_prompt=options.source_prompt,
        target_prompt=options.target_prompt,
        mask=None if selected is None else selected.masks,
        config=config,
    )
    output = _follow(events, video, options.out)

    moved = [keep_result(partial(write_video, output.video), options.out)]
    if options.frames_dir is not None:
        keep_frames = partial(write_frames, output.frames, fps=output.video.fps)
        moved.append(keep_result(keep_frames, options.frames_dir))
    # The last, because it reads files that may be gone.
    receipt = build_receipt(
        output,
        source_path=options.video if options.video.is_file() else None,
        result_path=options.out if moved[0] is None else None,
        start_frame=options.start_frame,
        preset={"asked": options.preset, "reason": reason},
        **(selected.record if selected else {}),
    )
    moved.append(keep_result(partial(write_receipt, receipt), _receipt_path(options)))
    print(
        f"{options.out}: {len(output.video)} frames, {len(output.losses)} steps in {output.seconds:.0f} s, "
        f"seed {output.config.seed}; {_describe_outside(output)}"
    )
    if problems := [sentence for sentence in moved if sentence is not None]:
        raise OutputError(". ".join(problems))


def _selected(options: argparse.Namespace, video: Video) -> SelectedObject:
    if options.mask is not None:
        selected = read_given_mask(options, video=video)
    else:
        selected = follow_selection(options, video=video).selected()
    for note in selected.notes:
        _say(f"Note: {note}")
    return selected


def _pipeline(options: argparse.Namespace) -> DreamMotionPipeline:
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


def _follow(events: Iterator[EditEvent], video: Video, out: Path) -> EditOutput:
    """Show the events of an edit as they come; Ctrl-C and a failing device keep the latest preview."""
    latest: Preview | None = None
    with tqdm(desc="edit", unit="step", disable=None) as bar:
        try:
            for event in events:
                match event:
                    case Started():
                        bar.reset(total=event.num_steps)
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
            raise KeyboardInterrupt(_keep(latest, video, out)) from None
        except (BackendError, NumericsError) as error:
            _say(_keep(latest, video, out))
            if isinstance(error, OutOfMemoryError):
                _say("`preflight` with the same options finds the largest setting that fits.")
            raise
    raise AssertionError("a stream ends with Finished or an exception")


def _keep(latest: Preview | None, video: Video, out: Path) -> str:
    if latest is None:
        return "Stopped before the first preview. Nothing was written."
    write_video(replace(video, frames=latest.frames), out)
    return f"Stopped. {out} shows the clip as of step {latest.step}."


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


def _segment(options: argparse.Namespace) -> None:
    check_mask_target(options.out)
    video = given_clip(options)
    for notice in video.notices:
        _note(notice)
    followed = follow_selection(options, video=video)
    for note in followed.notes:
        _say(f"Note: {note}")
    write_masks(followed.stream(), options.out, fps=video.fps)
    print(f"{options.out}: {len(video)} masks, the object covers {followed.coverage:.1%} of the frames")


def _preflight(options: argparse.Namespace) -> None:
    from dreammotion_core.preflight import Trial, describe_preflight, measure_edit

    model = find_model(options.model)
    (config, _), video = given_config(options, model), given_clip(options, model)
    for found in measure_edit(_pipeline(options), video=video, config=config):
        if isinstance(found, Trial):
            verdict = "fits" if found.fits else "does not fit"
            _say(f"{found.num_frames} frames at {found.grid[1]}x{found.grid[0]}: {verdict}")
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
    selected = _selected(options, video)
    for text in run_ablate(options, pipe=_pipeline(options), video=video, mask=selected.masks, note=_note):
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
    _say(f"Note: {notice.text}")


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
