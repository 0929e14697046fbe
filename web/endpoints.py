"""The same work without the page: two endpoints for programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image
from pydantic import ValidationError

from dreammotion_core import VideoError, write_video
from segmentation import Click, Prompt, Segmenter, Selection, Tracks
from web.clip import Clip, edited_masks
from web.device import DeviceQueue
from web.editing import EditJob, EditProgress
from web.editor import Editor
from web.form import read_prompts, read_seed
from web.guard import long_job
from web.models import Models
from web.opening import read_upload, sender
from web.views import download_folder
from web.wiring import told_to_visitor


@dataclass(kw_only=True, eq=False)
class Endpoints:
    """What `gr.api` publishes; the line before the device is shared with the page."""

    models: Models
    segmenter: Segmenter
    device: DeviceQueue

    @property
    def editor(self) -> Editor:
        """The one of newcomers."""
        return self.models.first

    @long_job
    def segment(self, video: gr.FileData, x: float, y: float) -> Iterator[gr.FileData]:
        """Select the object at one point of the first frame.

        Args:
            video: an uploaded clip.
            x: pixels from the left edge of the frame.
            y: pixels from the top edge of the frame.

        Yields:
            A PNG of the frame's size: white on the object, black elsewhere.
        """
        with told_to_visitor(), download_folder() as folder:
            mask = self._open(video).tracks.preview(_at(x, y))
            path = folder / "mask.png"
            Image.fromarray(mask.astype(np.uint8) * 255).save(path)
            yield gr.FileData(path=str(path))

    @long_job
    def edit_video(
        self,
        video: gr.FileData,
        x: float,
        y: float,
        source_prompt: str,
        target_prompt: str,
        steps: int | None = None,
        seed: int = -1,
        request: gr.Request | None = None,
    ) -> Iterator[gr.FileData | None]:
        """Edit the object at one point of the first frame.

        Args:
            video: an uploaded clip.
            x: pixels from the left edge of the frame.
            y: pixels from the top edge of the frame.
            source_prompt: what the clip shows.
            target_prompt: what it should show.
            steps: of the optimisation; the default is the model's own.
            seed: of all randomness; -1 draws one.

        Yields:
            Nothing while it waits and works, so that it can be cancelled; the edited MP4 at the end.
        """
        with told_to_visitor(), download_folder() as folder:
            prompts = read_prompts(source_prompt, target_prompt)
            changes: dict[str, Any] = {"seed": read_seed(seed)}
            if steps is not None:
                changes["num_optimization_steps"] = steps
            clip = self._open(video)
            config = self.editor.spec.config(
                source_prompt=prompts[0], target_prompt=prompts[1], size=clip.video.size, **changes
            )
            self.models.check(self.editor, config, num_frames=len(clip.video))
            number = clip.project.objects[0].number
            clip.history = clip.history.do(lambda project: project.with_prompt(number, _at(x, y)))
            for _ in clip.tracks.update(clip.project):
                yield None
            progress = EditProgress()
            with self.device.enter(sender(request) or None) as ticket, ExitStack() as after:
                after.callback(self.models.let_go, clip)
                while not ticket.wait(seconds=0.5):
                    yield None
                self.models.begin(self.editor, clip)
                job = EditJob(clip, self.editor, *prompts, edited_masks(clip.snapshot()), config)
                with closing(job.events()) as events:
                    for event in events:
                        progress.accept(event)
                        self.models.limits.check_minutes(progress.seconds)
                        yield None
            if progress.output is not None:
                yield gr.FileData(path=str(write_video(progress.output.video, folder / "edit.mp4")))

    def _open(self, upload: Any) -> Clip:
        path = _uploaded(upload)
        video = read_upload(
            path, spec=self.editor.spec, start_frame=0, num_frames=None, limits=self.models.limits
        )
        tracks = Tracks(self.segmenter.open(video.frames), video.frames)
        return Clip(path, video, tracks, self.segmenter.spec.name)


def _uploaded(upload: Any) -> Path:
    # Gradio checks only what says that it is an upload; anything else may be a file of the server.
    try:
        return Path(gr.FileData.model_validate(upload, context={"validate_meta": True}).path)
    except ValidationError as error:
        raise VideoError("video is no uploaded file; send one with handle_file of gradio_client") from error


def _at(x: float, y: float) -> Prompt:
    return Prompt(Selection(clicks=(Click(x, y),)))
