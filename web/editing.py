"""The edit itself: wait for the device, stream the events to the page, keep a result in any case."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from dreammotion_core import DreamMotionError, EditOutput, MaskError, OutOfMemoryError
from web.clip import Clip
from web.device import DeviceQueue, Ticket, waiting
from web.encoding import encode_frames
from web.failures import message_of, told_to_visitor
from web.jobs import EditJob, EditProgress
from web.models import Models
from web.proposals import PREFLIGHT_PARTS, said, try_settings
from web.refining import edited_masks
from web.results import write_result
from web.run_views import RUN_OUTPUTS, run_views
from web.selection import follow, require_clip
from web.form import read_prompts, read_refinement, read_settings
from web.snapshots import Snapshot
from web.views import facts_view, losses_view, player_view
from web.visitors import Visitor, VisitorStore
from web.wiring import Update

EDIT_OUTPUTS = (
    *("canvas", "player", "losses", "facts", "movie", "receipt", "stop"),
    *RUN_OUTPUTS,
    *PREFLIGHT_PARTS,
)
"""Names of the components that an edit changes."""

_SECONDS_BETWEEN_UPDATES = 0.3


class Edits:
    """Runs edits for visitors, one at a time on the device.

    Args:
        visitors: who is here.
        device: the line before the device.
        models: whose editors run the edits.
    """

    def __init__(self, *, visitors: VisitorStore, device: DeviceQueue, models: Models) -> None:
        self._visitors = visitors
        self._device = device
        self._models = models

    def run(self, *, token: str, source_prompt: Any, target_prompt: Any, **form: Any) -> Iterator[Update]:
        """Edit the selected object. Follows the selection through the clip first if nobody did."""
        visitor = self._visitors.get(token)
        clip = require_clip(visitor)
        prompts = read_prompts(source_prompt, target_prompt)
        config = read_settings(form, spec=self._models.of(visitor).spec)
        clip.refinement = read_refinement(form)
        snapshot = clip.snapshot()
        if config.use_mask:
            check_choice(snapshot)
        with visitor.job() as stop:
            visitor.runs.on_card = None
            yield _cleared()
            if config.use_mask and not snapshot.is_followed:
                yield _said(clip, "Following what is selected first.")
                yield from follow(clip, stop)
                if not snapshot.is_followed:
                    yield _said(clip, "Stopped while following. Nothing was changed.")
                    return
            job = EditJob(clip, self._models.of(visitor), *prompts, None, config)
            if config.use_mask:
                mask = edited_masks(snapshot)
                job = replace(job, mask=mask, selection=snapshot.record(), segmenter=snapshot.segmenter)
            with self._device.enter() as ticket:
                yield from wait_for_device(ticket, clip, stop)
                if not stop.is_set():
                    self._models.make_room(job.editor)
                    yield from self._edit(job, visitor, stop)

    def settle(self, *, token: str) -> Update:
        """Offer Stop only while there is something to stop."""
        return {"stop": gr.Button(visible=self._visitors.get(token).is_busy)}

    def stop(self, token: str) -> None:
        """End the visitor's running job within one step."""
        with told_to_visitor():
            self._visitors.get(token).stop.set()

    def _edit(self, job: EditJob, visitor: Visitor, stop: threading.Event) -> Iterator[Update]:
        progress = EditProgress()
        failure: DreamMotionError | None = None
        try:
            yield from self._watch(job, progress, stop)
        except OutOfMemoryError as error:
            # A new one: the traceback of the old one holds on to what lies on the device.
            failure = OutOfMemoryError(f"{error}. Under Edit it says what fits.")
        except DreamMotionError as error:
            failure = error
        output = progress.output or job.stopped_output(progress)
        if output is None:
            reason = "Stopped before the first preview." if failure is None else _sentence(failure)
            yield _said(job.clip, f"{reason} Nothing was changed.", is_problem=failure is not None)
        else:
            visitor.runs.add(output, clip=job.clip)
            # Gradio copies the files into its own cache before it asks for more.
            with tempfile.TemporaryDirectory(prefix="dreammotion-") as folder:
                yield _finished(output, job, progress, failure, Path(folder)) | run_views(visitor.runs)
        if isinstance(failure, OutOfMemoryError) and not stop.is_set():
            yield from _what_fits(job, visitor, stop)
        if failure is not None:
            raise failure

    def _watch(self, job: EditJob, progress: EditProgress, stop: threading.Event) -> Iterator[Update]:
        frames, preview, shown_at = job.clip.source_uris, None, time.monotonic()
        yield _running(job, progress, frames)
        with closing(job.events()) as events:
            for event in events:
                progress.accept(event)
                if stop.is_set():
                    return
                if progress.preview is not None and progress.preview is not preview:
                    preview = progress.preview
                    frames = tuple(encode_frames(preview.frames))
                elif time.monotonic() - shown_at < _SECONDS_BETWEEN_UPDATES:
                    continue
                shown_at = time.monotonic()
                yield _running(job, progress, frames)


def check_choice(snapshot: Snapshot) -> None:
    """Refuse early what would leave nothing to edit.

    Raises:
        MaskError: if nothing is selected, or all of it is to be left alone.
    """
    if not snapshot.selected:
        raise MaskError("nothing is selected; click the object that you want to change first")
    if not snapshot.chosen:
        raise MaskError("every selected object is to be left alone; let the edit change one of them first")


def _said(clip: Clip, caption: str, **state: Any) -> Update:
    return {"player": player_view(clip, stage="source", frames=clip.source_uris, caption=caption, **state)}


def _sentence(failure: DreamMotionError) -> str:
    return f"{message_of(failure).rstrip('.')}."


def _cleared() -> Update:
    hidden = gr.DownloadButton(visible=False)
    files, shown = {"movie": hidden, "receipt": hidden}, gr.Button(visible=True)
    return {"losses": None, "facts": "", "card": "", "stop": shown} | files


def wait_for_device(ticket: Ticket, clip: Clip, stop: threading.Event) -> Iterator[Update]:
    """Wait until a ticket holds the device or the visitor has had enough, and say so in the player."""
    for words in waiting(ticket, stop):
        yield {} if words is None else _said(clip, words, progress=None if stop.is_set() else 0)


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
    output: EditOutput,
    job: EditJob,
    progress: EditProgress,
    failure: DreamMotionError | None,
    folder: Path,
) -> Update:
    movie, receipt = write_result(output, job, folder=folder)
    done = "Done."
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
            is_problem=failure is not None,
        ),
        "losses": losses_view(output.losses, num_steps=progress.num_steps),
        "facts": facts_view(output, notices=progress.notices),
        "movie": gr.DownloadButton(value=str(movie), visible=True),
        "receipt": gr.DownloadButton(value=str(receipt), visible=True),
    }
