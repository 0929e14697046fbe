"""One edit: what was asked for, and what is known of it while it runs."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dreammotion_core import (
    EditConfig,
    EditEvent,
    EditOutput,
    Finished,
    Notice,
    Preview,
    StageDone,
    Started,
    StepDone,
    StepLosses,
)
from web.clip import Clip
from web.editor import Editor
from web.views import format_seconds


@dataclass
class EditProgress:
    """What is known of a running edit.

    Attributes:
        started: the first event.
        preview: the latest preview.
        stage: the latest finished stage of a cascade.
        losses: of every step so far.
        notices: what the visitor should know, in order.
        output: the result, at the end.
    """

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

    Attributes:
        clip: the open clip.
        editor: runs it.
        source_prompt: what it shows.
        target_prompt: what it should show.
        mask: (F, H, W) bool; None edits the whole frame.
        config: the settings.
        selection: what the mask came from, as plain JSON values.
        segmenter: name of what made it.
    """

    clip: Clip
    editor: Editor
    source_prompt: str
    target_prompt: str
    mask: NDArray[np.bool_] | None
    config: EditConfig
    selection: Mapping[str, Any] | None = None
    segmenter: str | None = None

    def events(self) -> Generator[EditEvent, None, None]:
        """Run it. Closing the generator stops it within one step."""
        return self.editor.stream(
            self.clip.video,
            source_prompt=self.source_prompt,
            target_prompt=self.target_prompt,
            mask=self.mask,
            config=self.config,
        )

    def stopped_output(self, progress: EditProgress) -> EditOutput | None:
        """The latest preview as a result; None if there was none yet."""
        if progress.started is None or progress.preview is None:
            return None
        video, frames, mask = self.clip.video, progress.preview.frames, progress.started.mask
        outside = np.zeros(frames.shape[:3], bool) if mask is None else ~mask
        changes = np.abs(frames[outside].astype(np.int16) - video.frames[outside])
        return EditOutput(
            video=replace(video, frames=frames),
            mask=~outside,
            source_prompt=self.source_prompt,
            target_prompt=self.target_prompt,
            config=progress.started.config,
            model=progress.started.model,
            precision=progress.started.precision,
            losses=tuple(progress.losses[: progress.preview.step]),
            seconds=progress.seconds,
            max_difference_outside=int(changes.max()) if changes.size else None,
        )
