"""What the command ``metrics`` does. Deliberately absent: printing; text is handed on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dreammotion_core.atomic_files import check_writable, written_atomically
from dreammotion_core.cli_arguments import given_device
from dreammotion_core.errors import ConfigError
from dreammotion_core.frame_folders import kept_fps, read_frames
from dreammotion_core.mask_files import read_masks
from dreammotion_core.metrics import (
    ClipJudge,
    CoTracker,
    FlowTracker,
    FrameLpips,
    Instruments,
    Measurement,
    PointTracker,
    evaluate_edit,
    known_metrics,
)
from dreammotion_core.metrics.measurement import figure
from dreammotion_core.reports.measurement_table import heading, missing_reasons
from dreammotion_core.reports.page import markdown_table
from dreammotion_core.values import Mask, Notice, Video
from dreammotion_core.video_io import read_video

_ANY_FPS = 24.0
"""Of folders of frames, which are not resampled and whose rate matters to no measure."""

Note = Callable[[Notice], None]
"""Is told what the user should know, as it comes."""


def measured_text(options: argparse.Namespace, *, note: Note) -> str:
    """Run ``metrics``.

    Args:
        options: of the command line.
        note: is told what reading changed.

    Returns:
        A table in Markdown, and what could not be measured and why.

    Raises:
        InputError: if clips, masks or names cannot be used.
        ModelLoadError: if a judge, tracker or backbone cannot be loaded.
        OutputError: if the JSON cannot be written.
    """
    known_metrics(options.metrics)
    if options.json is not None:
        check_writable(options.json)
    edited = _clip(options.edited, note)
    source = _clip(
        options.video,
        note,
        start_frame=options.start_frame,
        max_frames=len(edited) if options.num_frames is None else options.num_frames,
        fps=_source_fps(options, edited),
    )
    measurements = evaluate_edit(
        source.frames,
        edited=edited.frames,
        mask=_mask(options.mask, source, note, options.object_index),
        edited_mask=_mask(options.edited_mask, source, note, options.edited_object),
        target_prompt=options.target_prompt,
        names=options.metrics,
        instruments=given_instruments(options),
    )
    if options.json is not None:
        with written_atomically(options.json) as part:
            part.write_text(json.dumps([m.to_dict() for m in measurements], indent=2) + "\n", "utf-8")
    return _listed(measurements)


def given_instruments(options: argparse.Namespace) -> Instruments:
    """The judge, tracker and LPIPS backbone asked for.

    Raises:
        ModelLoadError: if one cannot be loaded.
    """
    device = given_device(options)
    judge = None if options.judge == "none" else ClipJudge.from_pretrained(options.judge, device=device)
    tracker: PointTracker = FlowTracker()
    if options.cotracker is not None:
        tracker = CoTracker.from_checkpoint(options.cotracker, device=device)
    lpips = None
    if options.lpips is not None:
        lpips = FrameLpips(options.lpips, allow_download=True, device=device)
    return Instruments(judge=judge, tracker=tracker, lpips=lpips)


def _clip(
    path: Path, note: Note, *, start_frame: int = 0, max_frames: int | None = None, fps: float | None = None
) -> Video:
    span: dict[str, Any] = {"start_frame": start_frame, "max_frames": max_frames}
    clip = read_frames(path, fps=_ANY_FPS, **span) if path.is_dir() else read_video(path, fps=fps, **span)
    _tell(clip.notices, path, note)
    return clip


def _source_fps(options: argparse.Namespace, edited: Video) -> float | None:
    """At which rate a source video shows the same moments as the edit; None for a folder, which has none."""
    if options.video.is_dir() or options.fps is not None:
        return options.fps  # type: ignore[no-any-return]
    if not options.edited.is_dir():
        return edited.fps
    fps = kept_fps(options.edited)
    if fps is None:
        raise ConfigError(
            f"the frames in {options.edited} do not say at how many a second the source was read; give it "
            "with --fps (“fps” in the receipt of the edit), or measure the edited .mp4 instead of its frames"
        )
    return fps


def _mask(path: Path | None, video: Video, note: Note, object_index: int | None) -> Mask | None:
    if path is None:
        if object_index is not None:
            raise ConfigError(f"object {object_index} was chosen of a mask that is not given; give its file")
        return None
    given = read_masks(path, num_frames=len(video), size=video.size, object_index=object_index)
    _tell(given.notices, path, note)
    return np.asarray(given.masks)


def _tell(notices: Iterable[Notice], path: Path, note: Note) -> None:
    for notice in notices:
        note(replace(notice, text=f"{path.name}: {notice.text}"))


def _listed(measurements: Sequence[Measurement]) -> str:
    rows = [
        [heading(m), m.text, figure(m.source_value, digits=m.metric.digits), m.metric.question]
        for m in measurements
        if m.value is not None
    ]
    notes = [f"not measured: {reason}" for reason in missing_reasons({"": measurements})]
    return "\n".join([markdown_table(["", "edit", "source itself", "what it says"], rows=rows), *notes])
