"""The edit: waits for the device, streams to the page, and keeps a result in any case."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, assert_never

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from dreammotion_core import (
    BackendError,
    DreamMotionError,
    EditConfig,
    EditEvent,
    EditOutput,
    Finished,
    MaskError,
    MeasuredClip,
    MeasuredEdit,
    ModelLoadError,
    Notice,
    OutOfMemoryError,
    Preview,
    StageDone,
    Started,
    StepDone,
    StepLosses,
    build_receipt,
    write_receipt,
    write_video,
)
from segmentation import SelectionError
from web.clip import Clip, Snapshot, edited_masks
from web.device import DeviceQueue
from web.editor import Editor
from web.encoding import encode_frame, encode_frames
from web.form import FIRST_PRESET, read_fields, read_refinement, read_settings
from web.models import Models
from web.preflight import PREFLIGHT_PARTS, said, try_settings
from web.runs import RUN_OUTPUTS, KeptResult, run_views
from web.selection import follow, require_clip
from web.views import (
    Throttle,
    Update,
    captioned,
    download_folder,
    facts_view,
    format_seconds,
    losses_view,
    player_view,
    refusal_view,
    wait_for_device,
)
from web.visitors import Visitor, VisitorStore
from web.wiring import message_of


@dataclass
class EditProgress:
    """What is known of a running edit."""

    started: Started | None = None
    preview: Preview | None = None
    stage: StageDone | None = None
    losses: list[StepLosses] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    output: EditOutput | None = None
    _begun: float = 0.0

    def accept(self, event: EditEvent) -> None:
        """Take note of an event."""
        match event:
            case Started():
                self.started, self._begun = event, time.monotonic()
            case StepDone():
                self.losses.append(event.losses)
            case Preview():
                self.preview = event
            case StageDone():
                self.preview = Preview(len(self.losses), event.frames)
                self.stage = event
            case Notice():
                self.notices.append(event.text)
            case Finished():
                self.output = event.output
            case _:
                assert_never(event)

    @property
    def num_steps(self) -> int:
        """Steps in all; 0 before the edit has started."""
        return self.started.num_steps if self.started else 0

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return len(self.losses) / self.num_steps if self.num_steps else 0.0

    @property
    def seconds(self) -> float:
        """Since the first event."""
        return time.monotonic() - self._begun

    @property
    def caption(self) -> str:
        """Step counter, remaining time and seed, for the visitor."""
        if self.started is None:
            return "Loading the model…"
        done, seed = len(self.losses), self.started.seed
        if not done:
            return f"Starting with seed {seed}."
        if self.stage is not None:
            place = f"stage {self.stage.index} of {self.stage.num_stages}"
            return f"{self.stage.name} done: {place} · seed {seed}"
        if done == self.num_steps:
            return f"All {done} steps are done. Finishing · seed {seed}"
        remaining = format_seconds(self.seconds / done * (self.num_steps - done))
        return f"Step {done} of {self.num_steps} · about {remaining} left · seed {seed}"


@dataclass(frozen=True, eq=False)
class EditJob:
    """What a visitor asked for.

    `mask` is (F, H, W) bool, or None for the whole frame; it came from `selection`, plain JSON values, by
    `segmenter`. `preset` is what was asked for, and why the words chose one.
    """

    clip: Clip
    editor: Editor
    source_prompt: str
    target_prompt: str
    mask: NDArray[np.bool_] | None
    config: EditConfig
    selection: Mapping[str, Any] | None = None
    segmenter: str | None = None
    preset: Mapping[str, str] | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """Where clip, mask and settings come from, for the record and the receipt."""
        told = {"selection": self.selection, "segmenter": self.segmenter, "preset": self.preset}
        return {"start_frame": self.clip.start_frame, **told}

    def events(self) -> Generator[EditEvent, None, None]:
        """Run it. Closing the generator stops it within one step."""
        return self.editor.stream(
            self.clip.video,
            source_prompt=self.source_prompt,
            target_prompt=self.target_prompt,
            mask=self.mask,
            config=self.config,
            origin=self.origin,
        )

    def stopped_output(self, progress: EditProgress) -> EditOutput | None:
        """The latest preview as a result; None if there was none yet."""
        if progress.started is None or progress.preview is None:
            return None
        video, frames, mask = self.clip.video, progress.preview.frames, progress.started.mask
        mask = np.ones(frames.shape[:3], bool) if mask is None else mask
        measured = MeasuredEdit(source=MeasuredClip(video.frames), edited=MeasuredClip(frames), mask=mask)
        difference = measured.measure("background_difference").value
        return EditOutput(
            video=replace(video, frames=frames),
            mask=mask,
            source_prompt=self.source_prompt,
            target_prompt=self.target_prompt,
            config=progress.started.config,
            model=progress.started.model,
            precision=progress.started.precision,
            losses=tuple(progress.losses[: progress.preview.step]),
            seconds=progress.seconds,
            max_difference_outside=None if difference is None else int(difference),
        )


def write_result(output: EditOutput, job: EditJob, *, folder: Path) -> tuple[list[Path], str]:
    """Write the MP4 and the receipt of an edit; gives those that could be written, and why one could not."""
    words = re.sub(r"[^a-z0-9]+", "-", output.target_prompt.lower())[:48].strip("-")
    stem = f"{words or 'edit'}-{output.config.seed}"
    told = {**job.origin, "stopped_early": len(output.losses) < output.config.num_optimization_steps}
    files, problems = list[Path](), list[str]()
    record = None
    with suppress(DreamMotionError):
        record = build_receipt(output).get("record")
    try:
        files.append(write_video(output.video, folder / f"{stem}.mp4", record=record))
    except DreamMotionError as error:
        problems.append(f"The MP4 is missing: {str(error).rstrip('.')}.")
    try:
        told["result_path"] = files[0] if files else None
        receipt = build_receipt(output, source_path=job.clip.path, **told)
        files.append(write_receipt(receipt, folder / f"{stem}.json"))
    except DreamMotionError as error:
        problems.append(f"The receipt is missing: {str(error).rstrip('.')}.")
    # A visitor has no business with the folders of the server.
    return files, " ".join(problem.replace(f"{folder}/", "") for problem in problems)


EDIT_OUTPUTS = (
    *("canvas", "player", "losses", "facts", "movie", "receipt", "stop", "refusal"),
    *RUN_OUTPUTS,
    *PREFLIGHT_PARTS,
)


_OF_NO_CLIP = ("runs", "runs_export", "stop")
SHOWN_AGAIN = ("player", "losses", "facts", "movie", "receipt", *RUN_OUTPUTS)


@dataclass(kw_only=True, eq=False)
class Edits:
    """Runs edits for visitors, one at a time on the device."""

    visitors: VisitorStore
    device: DeviceQueue
    models: Models

    def run(self, *, token: str, source_prompt: Any, target_prompt: Any, **form: Any) -> Iterator[Update]:
        """Edit the selected objects, following them through the clip first if necessary.

        Once another clip is open, only the table of runs is told of this one.
        """
        visitor = self.visitors.get(token)
        clip = require_clip(visitor)
        with closing(self._run(visitor, clip, source_prompt, target_prompt, form)) as updates:
            for update in updates:
                is_open = visitor.clip is clip
                yield update if is_open else {name: update[name] for name in _OF_NO_CLIP if name in update}

    def _run(
        self, visitor: Visitor, clip: Clip, source_prompt: Any, target_prompt: Any, form: Mapping[str, Any]
    ) -> Generator[Update, None, None]:
        prompts = read_fields(source_prompt, target_prompt)
        editor = self.models.of(visitor)
        place: dict[str, Any] = {"size": clip.video.size, "room": clip.rooms.get(prompts[1])}
        config = read_settings(form, spec=editor.spec, prompts=prompts, **place)
        self.models.check(editor, config, num_frames=len(clip.video))
        clip.refinement = replace(read_refinement(form), grow=config.mask_grow)
        snapshot = clip.snapshot()
        if config.use_mask:
            check_choice(snapshot)
        with visitor.job() as stop:
            visitor.runs.on_card = None
            yield _cleared()
            yield captioned(clip, "Starting.", progress=0.0)
            if config.use_mask and not snapshot.is_followed:
                yield captioned(clip, "Following what is selected first.")
                yield from follow(clip, stop)
                if not snapshot.is_followed:
                    yield captioned(clip, "Stopped while following. Nothing was changed.")
                    return
            preset = {"asked": form["preset"], "reason": ""}
            if form["preset"] == FIRST_PRESET:
                preset["reason"] = editor.spec.choose_preset(*prompts, **place).describe(config)
            job = EditJob(clip, editor, *prompts, None, config, preset=preset)
            if config.use_mask:
                mask = edited_masks(snapshot)
                job = replace(job, mask=mask, selection=snapshot.record(), segmenter=snapshot.segmenter)
            with self.device.enter(visitor) as ticket:
                yield from wait_for_device(ticket, clip, stop)
                if not stop.is_set():
                    self.models.begin(job.editor, visitor)
                    yield from self._edit(job, visitor, stop)

    def show_again(self, *, token: str, runs: Any) -> Iterator[Update]:
        """Show an earlier result with its downloads and its card; `runs` is its number."""
        visitor = self.visitors.get(token)
        run = visitor.runs.find(runs)
        kept = run.kept
        if kept is None or visitor.is_busy:
            return
        visitor.runs.on_card = run
        with download_folder() as folder:
            paths = [folder / name for name, _ in kept.files]
            for path, (_, content) in zip(paths, kept.files, strict=True):
                path.write_bytes(content)
            player = kept.views["player"] | {"badge": f"Run {run.number}"}
            yield kept.views | _downloads(paths) | {"player": player} | run_views(visitor.runs)

    def stop(self, token: str) -> Update:
        """End the visitor's running job within one step."""
        self.visitors.get(token).stop.set()
        return {}

    def _edit(self, job: EditJob, visitor: Visitor, stop: threading.Event) -> Iterator[Update]:
        progress = EditProgress()
        failure: DreamMotionError | None = None
        try:
            yield from self._watch(job, progress, stop)
        except OutOfMemoryError as error:
            # A new one, because the old traceback keeps tensors on the device.
            failure = OutOfMemoryError(f"{error}. Under Clip and model it says what fits.")
        except DreamMotionError as error:
            failure = error
        if isinstance(failure, ModelLoadError) and visitor.editor is job.editor is not self.models.first:
            # The page goes back to the first model; see `ModelPicker.go_back`.
            visitor.editor, visitor.model_problem = None, _sentence(failure)
        output = progress.output or job.stopped_output(progress)
        if output is None:
            reason = "Stopped before the first preview." if failure is None else _sentence(failure)
            yield captioned(job.clip, f"{reason} Nothing was changed.", is_problem=failure is not None)
        else:
            run = visitor.runs.add(output, clip=job.clip)
            if visitor.clip is not job.clip:
                visitor.runs.on_card = None
            with download_folder() as folder:
                files, problems = write_result(output, job, folder=folder)
                views = _finished(output, job, progress, failure, problems)
                picture = encode_frame(output.frames[len(output.frames) // 2], side=80)
                contents = tuple((path.name, path.read_bytes()) for path in files)
                visitor.runs.keep(run, KeptResult(views, contents, picture))
                yield views | _downloads(files) | run_views(visitor.runs)
        if isinstance(failure, OutOfMemoryError) and not stop.is_set():
            yield from _what_fits(job, visitor, stop)
        if failure is not None:
            raise failure

    def _watch(self, job: EditJob, progress: EditProgress, stop: threading.Event) -> Iterator[Update]:
        frames, preview, throttle = job.clip.source_uris, None, Throttle()
        yield _running(job, progress, frames)
        with closing(job.events()) as events:
            for event in events:
                progress.accept(event)
                if stop.is_set():
                    return
                self.models.limits.check_minutes(progress.seconds)
                if progress.preview is not None and progress.preview is not preview:
                    preview = progress.preview
                    frames = tuple(encode_frames(preview.frames))
                elif not throttle.is_due():
                    continue
                yield _running(job, progress, frames)


def check_choice(snapshot: Snapshot) -> None:
    """Raise a `MaskError` early if nothing is selected, or all of it is to be left alone."""
    if not snapshot.selected:
        raise MaskError("first click the object that you want to change")
    if not snapshot.chosen:
        raise MaskError("every selected object is to be left alone; let the edit change one of them first")


def _sentence(failure: DreamMotionError) -> str:
    return f"{message_of(failure).rstrip('.')}."


def _cleared() -> Update:
    hidden = gr.DownloadButton(visible=False)
    files, shown = {"movie": hidden, "receipt": hidden}, gr.Button(visible=True)
    cleared = {"losses": None, "facts": "", "card": "", "refusal": refusal_view()}
    return {"stop": shown} | cleared | files


def refusal_of(error: Exception) -> Update:
    """What is said beside the button of an edit that did not begin; where one failed, the player says it."""
    if isinstance(error, BackendError):
        return {}
    at = "canvas" if isinstance(error, (MaskError, SelectionError)) else getattr(error, "field", "")
    return {"refusal": refusal_view(message_of(error), at=at)}


def _what_fits(job: EditJob, visitor: Visitor, stop: threading.Event) -> Iterator[Update]:
    yield said("Out of memory. Trying what fits…")
    try:
        yield from try_settings(job.editor, clip=job.clip, config=job.config, visitor=visitor, stop=stop)
    except OutOfMemoryError:
        yield said("Not even the model fits: choose a smaller one, or start the page with --low-memory.")


def _running(job: EditJob, progress: EditProgress, frames: Sequence[str]) -> Update:
    view = player_view(
        job.clip,
        stage="preview",
        frames=frames,
        caption=progress.caption,
        progress=progress.fraction,
        badge=progress.stage.name if progress.stage else None,
    )
    return {"player": view, "losses": losses_view(progress.losses, num_steps=progress.num_steps)}


def _finished(
    output: EditOutput, job: EditJob, progress: EditProgress, failure: DreamMotionError | None, problems: str
) -> Update:
    done = f"Done. {problems}".strip()
    if not progress.output:
        reason = "Stopped." if failure is None else _sentence(failure)
        done = f"{reason} This is the clip as of step {len(output.losses)}."
    frames = encode_frames(output.frames, quality=90)
    return {
        "player": player_view(
            job.clip,
            stage="result",
            frames=frames,
            caption=f"{done} Drag the line to compare with the source.",
            is_problem=failure is not None or bool(problems),
        ),
        "losses": losses_view(output.losses, num_steps=progress.num_steps),
        "facts": facts_view(output, notices=progress.notices),
    }


def _downloads(files: Sequence[Path]) -> Update:
    by_kind = {path.suffix: str(path) for path in files}
    return {
        name: gr.DownloadButton(value=by_kind.get(suffix), visible=suffix in by_kind)
        for name, suffix in (("movie", ".mp4"), ("receipt", ".json"))
    }
