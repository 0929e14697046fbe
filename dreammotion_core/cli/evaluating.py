"""The commands ``metrics`` and ``ablate``, which yield text for `main` to print."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dreammotion_core.cli.options import given_config, given_masks
from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError, OutputError, PromptError
from dreammotion_core.evaluation import (
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
from dreammotion_core.evaluation.ablation import VariantEvent, VariantResult, run_ablation
from dreammotion_core.evaluation.board import (
    heading,
    markdown_table,
    measurement_cells,
    missing_reasons,
    write_ablation_board,
)
from dreammotion_core.evaluation.catalog import known_variants
from dreammotion_core.evaluation.measuring import figure
from dreammotion_core.finishing import changeable, grown_mask
from dreammotion_core.media.atomic import check_writable, written_atomically
from dreammotion_core.media.frames import kept_fps
from dreammotion_core.media.video import is_same_rate, read_folder, read_video
from dreammotion_core.method.baselines import method_for
from dreammotion_core.pipeline import DreamMotionPipeline
from dreammotion_core.values import Mask, Notice, StepDone, Video

Note = Callable[[Notice], None]  # takes what the user should know, as it comes


def run_metrics(options: argparse.Namespace, *, note: Note) -> Iterator[str]:
    """Run ``metrics``: a table in Markdown and what is missing and why, before the JSON is written."""
    known_metrics(options.metrics)
    if options.target_prompt is not None and not options.target_prompt.strip():
        raise PromptError(
            "the target prompt is empty; describe in a few words what the edit should show, or leave "
            "--target-prompt out"
        )
    config = _given_rim(options)
    if options.json is not None:
        check_writable(options.json)
    source, edited = _read_clips(options, note)
    given = _read_mask(options.mask, source, note, options.object_index, option="--object")
    measurements = evaluate_edit(
        source.frames,
        edited=edited.frames,
        mask=None if given is None else changeable(grown_mask(given, pixels=options.mask_grow), config),
        object_mask=given,
        edited_mask=_read_mask(
            options.edited_mask, source, note, options.edited_object, option="--edited-object"
        ),
        target_prompt=options.target_prompt,
        names=options.metrics,
        instruments=given_instruments(options),
    )
    changed = any(m.metric.name == "background_difference" and m.value for m in measurements)
    # Frames, unlike a compressed video, hardly change by themselves.
    if changed and not options.mask_grow and options.edited.is_dir():
        text = "Pixels outside the mask changed. Give the same --mask-grow and --mask-edge as for the edit."
        note(Notice("grown", text))
    rows = [
        [heading(m), m.text, figure(m.source_value, digits=m.metric.digits), m.metric.question]
        for m in measurements
        if m.value is not None
    ]
    yield _with_reasons(["", "edit", "source itself", "what it says"], rows, {"": measurements})
    if options.json is not None:
        with written_atomically(options.json) as part:
            part.write_text(json.dumps([m.to_dict() for m in measurements], indent=2) + "\n", "utf-8")


def given_instruments(options: argparse.Namespace) -> Instruments:
    """The judge, tracker and LPIPS backbone asked for; a `ModelLoadError` if one cannot be loaded."""
    device = options.device
    judge = None if options.judge == "none" else ClipJudge.from_pretrained(options.judge, device=device)
    tracker: PointTracker = FlowTracker()
    if options.cotracker is not None:
        tracker = CoTracker.from_checkpoint(options.cotracker, device=device)
    lpips = None
    if options.lpips is not None:
        lpips = FrameLpips(options.lpips, allow_download=True, device=device)
    return Instruments(judge=judge, tracker=tracker, lpips=lpips)


def _given_rim(options: argparse.Namespace) -> EditConfig:
    # The limits are those of the setting.
    config = EditConfig(mask_grow=options.mask_grow, mask_edge=options.mask_edge)
    if options.mask_grow and options.mask is None:
        raise ConfigError(
            f"the mask is to grow by {options.mask_grow} pixels, but none is given; give it with --mask"
        )
    return config


def _read_clips(options: argparse.Namespace, note: Note) -> tuple[Video, Video]:
    if options.video.is_dir() and options.fps is not None:
        raise ConfigError(
            f"--fps resamples a source video, and {options.video} is a folder of frames, which are compared "
            "as they are; leave --fps out"
        )
    edited = _read_clip(options.edited, note)
    edited_fps = kept_fps(options.edited) if options.edited.is_dir() else edited.fps
    source = _read_clip(
        options.video,
        note,
        start_frame=options.start_frame,
        max_frames=len(edited),
        fps=_source_fps(options, edited_fps),
    )
    if options.fps is not None and edited_fps is not None and not is_same_rate(options.fps, edited_fps):
        rates = f"The edit is {edited_fps:.6g} frames a second; the source is read at {options.fps:g}"
        note(Notice("other_fps", f"{rates}, as --fps says."))
    return source, edited


def _read_clip(path: Path, note: Note, **span: Any) -> Video:
    clip = read_folder(path, **span) if path.is_dir() else read_video(path, **span)
    _tell(clip.notices, path, note)
    return clip


def _source_fps(options: argparse.Namespace, edited_fps: float | None) -> float | None:
    """The rate at which the source shows the same moments as the edit; None reads a folder as it is."""
    if options.video.is_dir():
        kept = kept_fps(options.video)
        if kept is None or edited_fps is None or is_same_rate(kept, edited_fps):
            return None
        raise ConfigError(
            f"the frames in {options.video} are {kept:.6g} a second, those of {options.edited} "
            f"{edited_fps:.6g}, so they show other moments; give the source video, which is resampled, "
            f"or frames of it at {edited_fps:.6g} a second"
        )
    fps = edited_fps if options.fps is None else options.fps
    if fps is None:
        raise ConfigError(
            f"the frames in {options.edited} do not say at how many a second the source was read; give it "
            "with --fps (“fps” in the receipt of the edit), or measure the edited .mp4 instead of its frames"
        )
    return fps


def _read_mask(
    path: Path | None, video: Video, note: Note, object_index: int | None, *, option: str
) -> Mask | None:
    if path is None:
        if object_index is not None:
            raise ConfigError(f"object {object_index} was chosen of a mask that is not given; give its file")
        return None
    given = given_masks(path, video=video, object_index=object_index, option=option)
    _tell(given.notices, path, note)
    return np.asarray(given.masks)


def _tell(notices: Iterable[Notice], path: Path, note: Note) -> None:
    for notice in notices:
        note(replace(notice, text=f"{path.name}: {notice.text}"))


def check_ablate(options: argparse.Namespace) -> None:
    """Refuse at once an unknown variant or metric, or a page that cannot be written."""
    known_variants(options.variants)
    known_metrics(options.metrics)
    check_writable(options.out)


def run_ablate(
    options: argparse.Namespace, *, pipe: DreamMotionPipeline, video: Video, mask: Mask, note: Note
) -> Iterator[str]:
    """Run ``ablate`` on a loaded model and a selected object. Stopped or failing, it writes what is finished.

    Yields a table in Markdown before the page is written, and where the page is. Stopped, it says what
    was kept, as `note` does where an edit failed.
    """
    config, reason = given_config(options, pipe.spec, size=video.size)
    if reason:
        note(Notice("preset", reason))
    for variant in known_variants(options.variants):
        # Refused now, not after the edits before it.
        method_for(variant.of(config), backend=pipe.backend)
    results: list[VariantResult] = []
    events = run_ablation(
        pipe,
        video=video,
        source_prompt=options.source_prompt,
        target_prompt=options.target_prompt,
        mask=mask,
        config=config,
        variants=options.variants,
        instruments=given_instruments(options),
        names=options.metrics,
    )
    try:
        for result in _finished(events, note):
            results.append(result)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped. {_kept(results, options.out, video)}") from None
    except Exception:
        note(Notice("kept", _kept(results, options.out, video)))
        raise
    yield _table(results)
    write_ablation_board(results, options.out, source=video)
    yield f"\n{options.out}: {len(results)} variants side by side"


def _finished(events: Iterable[VariantEvent | VariantResult], note: Note) -> Iterator[VariantResult]:
    """The finished variants as they come, with a bar for their steps; equal notices are told once."""
    told: set[Notice] = set()
    with tqdm(desc="ablate", unit="step", disable=None) as bar:
        for event in events:
            if isinstance(event, VariantResult):
                yield event
            elif isinstance(event.event, Notice):
                if event.event not in told:
                    note(event.event)
                    told.add(event.event)
            elif isinstance(event.event, StepDone):
                bar.set_description(f"{event.variant.label} ({event.index} of {event.num_variants})")
                bar.update()


def _table(results: Sequence[VariantResult]) -> str:
    measured = {r.variant.label: r.measurements for r in results}
    header, rows, _ = measurement_cells(measured)
    return _with_reasons(header, rows, measured)


def _with_reasons(
    header: Sequence[str], rows: Sequence[Sequence[str]], measured: Mapping[str, Sequence[Measurement]]
) -> str:
    # Options stand in place of the library's arguments.
    reasons = (re.sub(r"`(judge|lpips)`", r"--\1", reason) for reason in missing_reasons(measured))
    notes = [f"not measured: {reason}" for reason in reasons]
    return "\n".join([markdown_table(header, rows=rows), *notes])


def _kept(results: Sequence[VariantResult], out: Path, video: Video) -> str:
    """Write the page of what is finished, and say so; give the figures where it cannot be written."""
    if not results:
        return "No variant was finished. Nothing was written."
    try:
        write_ablation_board(results, out, source=video)
    except OutputError as error:
        return f"{error}. What was finished:\n{_table(results)}"
    return f"{out} shows what was finished: {', '.join(r.variant.label for r in results)}."
