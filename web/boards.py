"""The ablation board: the visitor's edit with parts of the method switched off, side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import gradio as gr

from dreammotion_core import (
    ABLATION,
    METRICS,
    VARIANTS,
    EditConfig,
    Instruments,
    OutOfMemoryError,
    Started,
    StepDone,
    Variant,
    VariantEvent,
    VariantResult,
    ablation_board,
    run_ablation,
    write_ablation_board,
)
from web.clip import Clip, Snapshot, edited_masks
from web.device import DeviceQueue, waiting
from web.editing import check_choice
from web.editor import Editor
from web.form import read_fields, read_refinement, read_settings
from web.lending import HostedEditor
from web.models import Models
from web.scoring import SharedInstruments
from web.selection import follow, require_clip
from web.views import Throttle, Update, download_folder, format_seconds, render
from web.visitors import VisitorStore
from web.wiring import message_of


@dataclass
class BoardProgress:
    """The variants in order, how far each is, and what came of those that are finished.

    `problem` says in plain words why some figures are missing.
    """

    variants: tuple[Variant, ...] = tuple(VARIANTS[name] for name in ABLATION)
    results: list[VariantResult] = field(default_factory=list)
    is_over: bool = False
    problem: str = ""
    _step: int = 0
    _num_steps: int = 0
    _begun: float = 0.0

    def accept(self, event: VariantEvent | VariantResult) -> bool:
        """Take note of an event. True if a variant is finished by it."""
        if isinstance(event, VariantResult):
            self.results.append(event)
            self._step = self._num_steps = 0
            return True
        match event.event:
            case Started():
                self._num_steps, self._begun = event.event.num_steps, time.monotonic()
            case StepDone():
                self._step = event.event.step
        return False

    def line(self, index: int) -> dict[str, Any]:
        """A variant: its label, state, how much of it is done in per cent, and how far it is in words."""
        state, percent, words = "waiting", 0, "waiting"
        if index < len(self.results):
            state, percent = "done", 100
            words = f"done in {format_seconds(self.results[index].output.seconds)}"
        elif self.is_over:
            words = "left out"
        elif index == len(self.results):
            state, words = "running", self._running()
            percent = round(100 * self._step / self._num_steps) if self._num_steps else 0
        return {"label": self.variants[index].label, "state": state, "percent": percent, "words": words}

    def _running(self) -> str:
        if not self._num_steps:
            return "next"
        if self._step == self._num_steps:
            return "finishing and measuring"
        if not self._step:
            return "starting"
        rest = (time.monotonic() - self._begun) / self._step * (self._num_steps - self._step)
        return f"step {self._step} of {self._num_steps}, about {format_seconds(rest)} left"


def status_html(progress: BoardProgress, *, words: str = "", is_problem: bool = False) -> str:
    """A line for each variant with its bar, and a sentence about the whole."""
    variants = [progress.line(index) for index in range(len(progress.variants))]
    return render("progress", variants=variants, words=words, is_problem=is_problem)


BOARD_OUTPUTS = ("canvas", "board_status", "board", "board_file", "board_stop")
MEASURES = tuple(name for name in METRICS if name not in ("frame_lpips", "mask_overlap"))
"""Measures that need neither another model nor another selection."""


@dataclass(kw_only=True, eq=False)
class Boards:
    """Runs ablations for visitors, one at a time on the device that edits run on."""

    visitors: VisitorStore
    device: DeviceQueue
    models: Models
    instruments: SharedInstruments

    def run(
        self, *, token: str, source_prompt: Any, target_prompt: Any, judge: Any = None, **form: Any
    ) -> Iterator[Update]:
        """Run all variants of the edit in the form, always by DreamMotion and with a selection."""
        visitor = self.visitors.get(token)
        clip, editor = require_clip(visitor), self.models.of(visitor)
        prompts = read_fields(source_prompt, target_prompt)
        config = read_settings(form, spec=editor.spec)
        self.models.check(editor, config, num_frames=len(clip.video))
        clip.refinement = read_refinement(form)
        snapshot = clip.snapshot()
        check_choice(snapshot)
        judge = self.instruments.check(judge)
        progress = BoardProgress()
        with visitor.job() as stop:
            shown, hidden = gr.Button(visible=True), gr.DownloadButton(visible=False)
            yield _told(progress) | {"board": None, "board_file": hidden, "board_stop": shown}
            if not snapshot.is_followed:
                yield _told(progress, "Following what is selected first.")
                yield from follow(clip, stop)
                if not snapshot.is_followed:
                    yield _told(progress, "Stopped while following. Nothing was changed.")
                    return
            with self.device.enter(visitor) as ticket:
                for words in waiting(ticket, stop):
                    yield {} if words is None else _told(progress, words)
                if not stop.is_set():
                    self.models.begin(editor, visitor)
                    yield _told(progress, "Loading the model and what measures…")
                    at_hand = self.instruments.get(judge)
                    progress.problem = at_hand.problem
                    events = self._events(editor, snapshot, prompts, config, at_hand.instruments)
                    yield from _watched(events, clip, progress, stop)

    def _events(
        self,
        editor: Editor,
        snapshot: Snapshot,
        prompts: tuple[str, str],
        config: EditConfig,
        instruments: Instruments,
    ) -> Generator[VariantEvent | VariantResult, None, None]:
        mask, config = edited_masks(snapshot), config.with_changes(use_mask=True, preview_interval=0)
        config = config.with_drawn_seed()
        asked: dict[str, Any] = {"source_prompt": prompts[0], "target_prompt": prompts[1], "mask": mask}
        configs = [VARIANTS[name].of(config) for name in ABLATION]
        with (
            editor.at_once(snapshot.video, **asked, configs=configs)
            if isinstance(editor, HostedEditor)
            else nullcontext(editor)
        ) as source:
            yield from run_ablation(
                source, video=snapshot.video, config=config, names=MEASURES, instruments=instruments, **asked
            )


def _watched(
    events: Generator[VariantEvent | VariantResult, None, None],
    clip: Clip,
    progress: BoardProgress,
    stop: threading.Event,
) -> Iterator[Update]:
    failure: Exception | None = None
    throttle = Throttle()
    try:
        with closing(events):
            for event in events:
                if stop.is_set():
                    break
                if progress.accept(event):
                    board = asdict(ablation_board(progress.results, source=clip.video))
                    yield _told(progress) | {"board": board}
                elif throttle.is_due():
                    yield _told(progress)
    except OutOfMemoryError as error:
        # A new one, because the old traceback keeps tensors on the device.
        failure = OutOfMemoryError(f"{error}. “How long will it take?” under Clip and model finds what fits.")
    except Exception as error:
        # Unforeseen errors too: finished variants must not be lost.
        failure = error
    progress.is_over = True
    yield from _ended(progress, clip, failure)
    if failure is not None:
        raise failure


def _told(progress: BoardProgress, words: str = "", *, is_problem: bool = False) -> Update:
    return {"board_status": status_html(progress, words=words, is_problem=is_problem)}


def _ended(progress: BoardProgress, clip: Clip, failure: Exception | None) -> Iterator[Update]:
    done, total = len(progress.results), len(progress.variants)
    kept = f"{done} of {total} variants are finished and kept." if done else "No variant was finished."
    words = "Done." if done == total else f"Stopped. {kept}"
    if failure is not None:
        words = f"{message_of(failure).rstrip('.')}. {kept}"
    words = f"{words} {progress.problem}".strip()
    told = _told(progress, words, is_problem=failure is not None)
    if not progress.results:
        yield told
        return
    with download_folder() as folder:
        path = write_ablation_board(progress.results, folder / "ablation.html", source=clip.video)
        yield told | {"board_file": gr.DownloadButton(value=str(path), visible=True)}
