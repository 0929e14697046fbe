"""Measures the runs of visitors after their results are shown, for a few seconds at most."""

from __future__ import annotations

import math
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreammotion_core import MeasuredClip, MeasuredEdit
from web.budget import Step, planned, working_seconds
from web.failures import message_of
from web.judging import AtHand, SharedInstruments
from web.run_views import RUN_OUTPUTS, run_views
from web.runs import MEASURES, Run, RunLog, Unmeasured, write_runs
from web.visitors import VisitorStore
from web.wiring import Update
from web.wording import SHORT

SCORE_OUTPUTS = RUN_OUTPUTS
"""Names of the components that measuring changes."""

MOST_SECONDS = 5.0
"""Of a processor that the figures of one run may take; those that are missing then stay out."""

MOST_PIXELS = 24 * 576 * 320
"""Of a clip as it is measured. Larger ones are reduced, to stay within the time."""

_SOURCES_KEPT = 2
"""Clips of which it is kept what measuring found out, for the next edit of them: up to 70 MB each, as
they are measured. The clips themselves are not held on to."""


class Scores:
    """Measures runs and saves their table.

    Args:
        visitors: who is here.
        instruments: that measure.
        seconds: of a processor that one run may take.
    """

    def __init__(
        self,
        *,
        visitors: VisitorStore,
        instruments: SharedInstruments,
        seconds: float = MOST_SECONDS,
    ) -> None:
        self._visitors = visitors
        self._instruments = instruments
        self._seconds = seconds
        self._turn = threading.Lock()
        self._sources: deque[tuple[weakref.ref[NDArray[np.uint8]], MeasuredClip]] = deque(
            maxlen=_SOURCES_KEPT
        )

    def measure(self, *, token: str, judge: Any = None) -> Iterator[Update]:
        """Measure the visitor's runs that are not yet, and show every figure as it becomes known.

        Args:
            token: of the visitor.
            judge: name of the one that judges words and frames, as the browser sent it.
        """
        log = self._visitors.get(token).runs
        for unmeasured in log.unmeasured():
            run = unmeasured.run
            try:
                # One after the other, so that the seconds of one run are not taken by another's.
                with self._turn:
                    for _ in self._measured(unmeasured, judge):
                        yield _shown(log)
            except Exception as error:
                # The result is there all the same, and whoever made it should not be startled by a toast.
                run.problem = f"It could not be measured; your result is complete. {message_of(error)}"
            run.is_measured = True
            yield _shown(log)

    def export(self, *, token: str) -> Iterator[Update]:
        """Save the table of the visitor's runs."""
        runs = self._visitors.get(token).runs.rows
        # What is downloaded at the end must not be the file before.
        yield {"runs_file": gr.DownloadButton(value=None)}
        # Gradio copies the file into its own cache before it asks for more.
        with tempfile.TemporaryDirectory(prefix="dreammotion-") as folder:
            path = write_runs(runs, Path(folder) / "runs.csv")
            yield {"runs_file": gr.DownloadButton(value=str(path))}

    def _measured(self, unmeasured: Unmeasured, judge: Any) -> Iterator[None]:
        run, judge = unmeasured.run, self._instruments.check(judge)
        if not self._instruments.is_loaded(judge):
            run.remark = f"{judge} is being loaded, once for this server."
            yield
        at_hand = self._instruments.get(judge)
        run.problem, run.remark = at_hand.problem, ""
        began, worked, left_out = time.monotonic(), 0.0, list[Step]()
        edit = self._edit(unmeasured, at_hand)
        names = [name for name in MEASURES if name not in run.figures]
        for step in planned(edit, names=names, judge_seconds=at_hand.judge_seconds):
            if worked + step.seconds > self._seconds:
                left_out.append(step)
                continue
            for name in step.names:
                worked += working_seconds(partial(_note, run, edit, name))
                yield
        if left_out:
            run.problem = f"{run.problem} {_left_out(left_out, self._seconds)}".strip()
        run.remark = _remark(time.monotonic() - began, edit.source.frames, unmeasured.source)

    def _edit(self, unmeasured: Unmeasured, at_hand: AtHand) -> MeasuredEdit:
        output, whole = unmeasured.output, unmeasured.source
        kept = next((source for frames, source in self._sources if frames() is whole), None)
        if kept is None:
            kept = MeasuredClip(_reduced(whole))
            self._sources.append((weakref.ref(whole), kept))
        return MeasuredEdit(
            source=kept,
            edited=MeasuredClip(_reduced(output.frames)),
            mask=_reduced_mask(output.mask) if output.config.use_mask else None,
            target_prompt=output.target_prompt,
            instruments=at_hand.instruments,
        )


def _note(run: Run, edit: MeasuredEdit, name: str) -> None:
    run.figures[name] = edit.measure(name)


def _shown(log: RunLog) -> Update:
    views = run_views(log)
    if log.on_card is None:
        # Another edit runs, which has cleared the card.
        del views["card"]
    return views


def _remark(seconds: float, measured: NDArray[np.uint8], whole: NDArray[np.uint8]) -> str:
    remark = f"Measured in {seconds:.1f} s"
    if measured.shape == whole.shape:
        return f"{remark}."
    height, width = measured.shape[1:3]
    return f"{remark}, reduced to {width}x{height}; what is outside at full size."


def _left_out(steps: list[Step], limit: float) -> str:
    names = [SHORT[name].lower() for step in steps for name in step.names]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    more = sum(step.seconds for step in steps)
    return f"Left out, to stay within {limit:g} s: {listed}, which would take about {math.ceil(more)} s more."


def _reduced(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same clip, or mask, with at most `MOST_PIXELS`."""
    count, height, width = frames.shape[:3]
    scale = math.sqrt(MOST_PIXELS / (count * height * width))
    if scale >= 1:
        return frames
    size = max(1, int(width * scale)), max(1, int(height * scale))
    pictures = (Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in frames)
    return np.stack([np.asarray(picture) for picture in pictures])


def _reduced_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _reduced(mask.astype(np.uint8) * 255) > 127
