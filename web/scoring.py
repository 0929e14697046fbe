"""Measures the runs of visitors after their results are shown, for a few seconds at most."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreammotion_core import stream_measurements
from web.failures import message_of
from web.judging import SharedInstruments
from web.run_views import RUN_OUTPUTS, run_views
from web.runs import MEASURES, RunLog, Unmeasured, write_runs
from web.visitors import VisitorStore
from web.wiring import Update

SCORE_OUTPUTS = RUN_OUTPUTS
"""Names of the components that measuring changes."""

MOST_SECONDS = 5.0
"""Of a processor that the figures of one run may take; those that are missing then stay out."""

MOST_PIXELS = 2**21
"""Of a clip as it is measured: 8 frames of 512x512. Larger ones are reduced, to stay within the time."""

_JUDGED = ("text_alignment", "frame_consistency")


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

    def measure(self, *, token: str) -> Iterator[Update]:
        """Measure the visitor's runs that are not yet, and show every figure as it becomes known."""
        log = self._visitors.get(token).runs
        for unmeasured in log.unmeasured():
            run = unmeasured.run
            try:
                # One after the other, so that the seconds of one run are not taken by another's.
                with self._turn:
                    for _ in self._measured(unmeasured):
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

    def _measured(self, unmeasured: Unmeasured) -> Iterator[None]:
        run, output = unmeasured.run, unmeasured.output
        names = {name for name in MEASURES if name not in run.figures}
        instruments, run.problem = self._instruments.get()
        if instruments.judge is None:
            names -= set(_JUDGED)
        began = time.monotonic()
        mask = output.mask if output.config.use_mask else None
        source, edited, mask = _reduced(unmeasured.source, output.frames, mask)
        figures = stream_measurements(
            source,
            edited=edited,
            mask=mask,
            target_prompt=output.target_prompt,
            names=names,
            instruments=instruments,
        )
        worked = 0.0
        while not names <= set(run.figures):
            if worked > self._seconds:
                run.problem = f"The rest would take more than {self._seconds:g} s with this clip."
                break
            # Of this thread alone: where others work too, a clip does not become a longer one.
            before = time.thread_time()
            found = next(figures)
            worked += time.thread_time() - before
            run.figures[found.metric.name] = found
            yield
        run.remark = _remark(time.monotonic() - began, source, unmeasured.source)


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


def _reduced(
    source: NDArray[np.uint8], edited: NDArray[np.uint8], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_] | None]:
    """The same clips with at most `MOST_PIXELS`."""
    count, height, width = source.shape[:3]
    scale = math.sqrt(MOST_PIXELS / (count * height * width))
    if scale >= 1:
        return source, edited, mask
    size = max(1, int(width * scale)), max(1, int(height * scale))

    def resized(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pictures = (Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in frames)
        return np.stack([np.asarray(picture) for picture in pictures])

    small = None if mask is None else resized(mask.astype(np.uint8) * 255) > 127
    return resized(source), resized(edited), small
