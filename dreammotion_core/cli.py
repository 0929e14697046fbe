"""The command line: a second consumer of the same events as the page.

``python -m dreammotion_core --help`` explains it. Only this module prints, and only this module of
the package knows `segmentation`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import assert_never

import numpy as np
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from dreammotion_core.backends.base import ModelSpec
from dreammotion_core.backends.registry import find_model, list_models
from dreammotion_core.cli_arguments import build_parser, given_clip, given_config, given_device, given_dtype
from dreammotion_core.errors import ConfigError, DreamMotionError, InputError, MaskError
from dreammotion_core.events import EditEvent, Finished, Preview, Started, StepDone
from dreammotion_core.frame_folders import write_frames
from dreammotion_core.mask_files import check_mask_target, read_masks, write_masks
from dreammotion_core.pipeline import DreamMotionPipeline
from dreammotion_core.png_files import check_empty_folder
from dreammotion_core.receipt import build_receipt, write_receipt
from dreammotion_core.values import EditOutput, Mask, Notice, StepLosses, Video
from dreammotion_core.video_io import check_target, write_video
from segmentation import (
    Box,
    Click,
    SegmentationError,
    SegmenterSpec,
    Selection,
    describe_problem,
    list_segmenters,
    load_segmenter,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after the program's name; None takes those of this process.

    Returns:
        The exit code: 0 done, 1 the model or the disk failed, 2 the input cannot be used, 130 stopped.
    """
    options = build_parser().parse_args(arguments)
    commands = {"edit": _edit, "segment": _segment, "models": _models}
    try:
        commands[options.command](options)
    except (DreamMotionError, SegmentationError) as error:
        _say(f"Error: {error}")
        is_about_input = isinstance(error, (InputError, ValueError))
        return 2 if is_about_input else 1
    except KeyboardInterrupt as stopped:
        _say(str(stopped) or "Stopped. Nothing was written.")
        return 130
    return 0


def _edit(options: argparse.Namespace) -> None:
    config = given_config(options)
    selection = _selection(options)
    _check_one_way_to_select(options, selection, uses_mask=config.use_mask)
    check_target(options.out)
    if options.frames_dir is not None:
        check_empty_folder(options.frames_dir)

    video = given_clip(options, find_model(options.model))
    mask: Mask | None = None
    if options.mask is not None:
        mask = _given_mask(options, video)
    elif config.use_mask:
        mask = _propagate(options, video, selection)
    # Its bar for reading weights from the disk would hide the messages of this command.
    disable_progress_bar()
    pipe = DreamMotionPipeline.from_pretrained(options.model, torch_dtype=given_dtype(options))
    pipe.to(given_device(options))
    events = pipe.stream(
        video,
        source_prompt=options.source_prompt,
        target_prompt=options.target_prompt,
        mask=mask,
        config=config,
    )
    output = _follow(events, video, options.out)
    _write_results(options, output, selection)


def _segment(options: argparse.Namespace) -> None:
    check_mask_target(options.out)
    video = given_clip(options)
    for notice in video.notices:
        _note(notice)
    masks = _propagate(options, video, _selection(options))
    write_masks(masks, options.out, fps=video.fps)
    print(f"{options.out}: {len(masks)} masks, the object covers {masks.mean():.1%} of the frames")


def _models(options: argparse.Namespace) -> None:
    del options
    print("Models (edit --model NAME; a hub id or a folder works too):")
    for model in list_models():
        _describe(model)
    print("\nSegmenters (--segmenter NAME):")
    for segmenter in list_segmenters():
        _describe(segmenter)


def _describe(spec: ModelSpec | SegmenterSpec) -> None:
    size = f"{spec.size_bytes / 1e6:,.0f} MB" if spec.size_bytes else "no weights"
    if isinstance(spec, SegmenterSpec):
        state = spec.describe_readiness()
    else:
        state = "ready" if spec.is_ready() else "not ready: downloaded on first use"
    print(f"\n  {spec.name}  [{state}]\n    {spec.label}; {spec.licence}; {size}; {spec.source}")
    print(f"    {spec.description}")


def _check_one_way_to_select(options: argparse.Namespace, selection: Selection, *, uses_mask: bool) -> None:
    if options.object_index is not None and options.mask is None:
        raise ConfigError("--object chooses an object of a mask file; give the file with --mask")
    ways = (not selection.is_empty, options.mask is not None, not uses_mask)
    if sum(ways) != 1:
        given = "nothing says" if not any(ways) else "more than one option says"
        raise ConfigError(
            f"{given} where to edit; give --click or --box, or --mask, or --no-mask for the whole frame"
        )


def _selection(options: argparse.Namespace) -> Selection:
    clicks = [Click(x, y) for x, y in options.click]
    clicks += [Click(x, y, is_positive=False) for x, y in options.negative_click]
    return Selection(clicks=tuple(clicks), box=Box(*options.box) if options.box else None)


def _given_mask(options: argparse.Namespace, video: Video) -> Mask:
    """The mask file, fitted to the clip; what is unusual about it is said."""
    given = read_masks(
        options.mask, num_frames=len(video), size=video.size, object_index=options.object_index
    )
    for notice in given.notices:
        _note(notice)
    return given.masks


def _propagate(options: argparse.Namespace, video: Video, selection: Selection) -> Mask:
    """The object's mask on every frame.

    Raises:
        MaskError: if nothing, or nearly everything, is selected.
    """
    segmenter = load_segmenter(options.segmenter, checkpoint=options.checkpoint, device=given_device(options))
    session = segmenter.open(video.frames)
    problem = describe_problem(session.mask_at(selection))
    if problem is not None:
        raise MaskError(problem)
    masks = np.zeros(video.frames.shape[:3], bool)
    with tqdm(total=len(video), desc="select", unit="frame", disable=None) as bar:
        for index, mask in session.propagate(selection):
            masks[index] = mask
            bar.update()
    lost = int((~masks.any(axis=(1, 2))).sum())
    if lost:
        _say(f"Note: the object was not found on {lost} of {len(masks)} frames; those stay as they are.")
    return masks


def _follow(events: Iterator[EditEvent], video: Video, out: Path) -> EditOutput:
    """Show the events of an edit as they come; Ctrl-C keeps the latest preview."""
    latest: Preview | None = None
    with tqdm(desc="edit", unit="step", disable=None) as bar:
        try:
            for event in events:
                match event:
                    case Started():
                        bar.reset(total=event.num_steps)
                    case StepDone():
                        bar.set_postfix_str(_losses(event.losses), refresh=False)
                        bar.update()
                    case Preview():
                        latest = event
                    case Notice():
                        _note(event)
                    case Finished():
                        return event.output
                    case _:
                        assert_never(event)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_keep(latest, video, out)) from None
    raise AssertionError("a stream ends with Finished or an exception")


def _losses(losses: StepLosses) -> str:
    return f"V-DDS {losses.appearance:.3f}, S-SSM {losses.spatial:.4f}, T-SSM {losses.temporal:.4f}"


def _keep(latest: Preview | None, video: Video, out: Path) -> str:
    if latest is None:
        return "Stopped before the first preview. Nothing was written."
    write_video(replace(video, frames=latest.frames), out)
    return f"Stopped. {out} shows the clip as of step {latest.step}."


def _write_results(options: argparse.Namespace, output: EditOutput, selection: Selection) -> None:
    receipt = build_receipt(
        output,
        source_path=options.video if options.video.is_file() else None,
        selection=None if selection.is_empty else selection.to_dict(),
        segmenter=None if selection.is_empty else options.segmenter,
        start_frame=options.start_frame,
    )
    write_video(output.video, options.out)
    write_receipt(receipt, options.receipt or options.out.with_suffix(".json"))
    if options.frames_dir is not None:
        write_frames(output.frames, options.frames_dir)
    print(
        f"{options.out}: {len(output.video)} frames, {len(output.losses)} steps in {output.seconds:.0f} s, "
        f"seed {output.config.seed}; {_outside(output.max_difference_outside)}"
    )


def _outside(difference: int | None) -> str:
    if difference is None:
        return "the whole frame was edited"
    if difference == 0:
        return "outside the mask: unchanged"
    return f"outside the mask: changed by up to {difference} of 255 levels"


def _note(notice: Notice) -> None:
    _say(f"Note: {notice.text}")


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
