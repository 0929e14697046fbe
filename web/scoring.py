"""Measures the runs of visitors, after their results are shown."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreammotion_core import (
    EMBEDDED_JUDGE,
    ClipJudge,
    ConfigError,
    DreamMotionError,
    Instruments,
    MeasuredClip,
    MeasuredEdit,
    judge_name,
)
from web.runs import SHORT, RunLog, Unmeasured, run_views, write_runs
from web.views import Update, download_folder
from web.visitors import VisitorStore
from web.wiring import message_of

JUDGED = ("text_alignment", "frame_consistency")  # Both look at the same features.
_BY_COST = ("colour_jitter", "warping_error", "motion_fidelity", *JUDGED)
"""Measures of every run, the cheapest first; the first three share a flow. The background needs none."""


@dataclass(frozen=True, eq=False)
class AtHand:
    """What measures; `problem` says in plain words why there is no judge."""

    instruments: Instruments
    problem: str = ""


class SharedInstruments:
    """The judges to choose from, loaded once for all visitors, and the tracker. Thread-safe.

    `judges` are as `ClipJudge.from_pretrained` takes them, the first for newcomers; the embedded one can be
    chosen in any case. `load` is called until it succeeds once for each. Raises `ModelLoadError` if there
    cannot be such a judge, and `ConfigError` if two have the same name.
    """

    def __init__(
        self, judges: Sequence[str] = (), *, load: Callable[[str], ClipJudge] = ClipJudge.from_pretrained
    ) -> None:
        self._load = load
        self._given: dict[str, str] = {}
        for given in dict.fromkeys((*judges, EMBEDDED_JUDGE)):
            name = judge_name(given)
            if name in self._given:
                raise ConfigError(f"two judges are called {name!r}; rename the folder of one")
            self._given[name] = given
        self._complete: dict[str, AtHand] = {}
        self._locks = {name: threading.Lock() for name in self._given}

    @property
    def judges(self) -> list[str]:
        """Names of the judges, the default first."""
        return list(self._given)

    def is_loaded(self, judge: str) -> bool:
        """Whether `get` is quick."""
        return judge in self._complete

    def check(self, judge: Any) -> str:
        """A checked choice of the browser; None takes the first, an unknown one is a `ConfigError`."""
        chosen = self.judges[0] if judge is None else judge
        if chosen not in self.judges:
            raise ConfigError(f"there is no judge {judge!r}; choose one of: {', '.join(self.judges)}")
        return str(chosen)

    def get(self, judge: str) -> AtHand:
        """What measures; without a judge where it cannot be loaded."""
        with self._locks[judge]:
            try:
                if judge not in self._complete:
                    self._complete[judge] = AtHand(Instruments(judge=self._load(self._given[judge])))
            except DreamMotionError as error:
                return AtHand(Instruments(), problem=f"Words and frames were not judged: {error}.")
            return self._complete[judge]


MOST_SECONDS = 30.0  # Seconds after which no further figure of a run is begun.
MOST_PIXELS = 24 * 576 * 320  # Pixels of a clip as it is measured; larger clips are reduced.
_SOURCES_KEPT = 2  # Sources whose flow and features are kept for the next edit of them, up to 70 MB each.


class Scores:
    """Measures runs and saves their table; after `seconds`, no further figure of a run is begun."""

    def __init__(
        self, *, visitors: VisitorStore, instruments: SharedInstruments, seconds: float = MOST_SECONDS
    ) -> None:
        self._visitors = visitors
        self._instruments = instruments
        self._seconds = seconds
        self._turn = threading.Lock()
        self._sources: deque[tuple[weakref.ref[NDArray[np.uint8]], MeasuredClip]] = deque(
            maxlen=_SOURCES_KEPT
        )

    def measure(self, *, token: str, judge: Any = None) -> Iterator[Update]:
        """Measure the visitor's new runs, and show every figure as it becomes known."""
        log = self._visitors.get(token).runs
        # Without any update, Gradio would empty what is on the page.
        yield {}
        for unmeasured in log.unmeasured():
            run = unmeasured.run
            try:
                # One at a time, so that runs do not take each other's seconds.
                with self._turn:
                    for _ in self._measured(unmeasured, judge):
                        yield _shown(log)
            except Exception as error:
                # The result is complete without figures: no toast.
                run.problem = f"It could not be measured; your result is complete. {message_of(error)}"
            run.is_measured = True
            yield _shown(log)

    def export(self, *, token: str) -> Iterator[Update]:
        """Save the table of the visitor's runs."""
        runs = self._visitors.get(token).runs.rows
        # What is downloaded at the end must not be the file before.
        yield {"runs_file": gr.DownloadButton(value=None)}
        with download_folder() as folder:
            path = write_runs(runs, folder / "runs.csv")
            yield {"runs_file": gr.DownloadButton(value=str(path))}

    def _measured(self, unmeasured: Unmeasured, judge: Any) -> Iterator[None]:
        run, judge = unmeasured.run, self._instruments.check(judge)
        if not self._instruments.is_loaded(judge):
            run.remark = f"{judge} is being loaded, once for this server."
            yield
        at_hand = self._instruments.get(judge)
        run.problem, run.remark = at_hand.problem, ""
        began, left_out = time.monotonic(), list[str]()
        edit = self._edit(unmeasured, at_hand)
        for name in _BY_COST:
            if name in JUDGED and at_hand.instruments.judge is None:
                continue
            if time.monotonic() - began >= self._seconds:
                left_out.append(SHORT[name].lower())
                continue
            run.figures[name] = edit.measure(name)
            yield
        if left_out:
            late = f"Left out after {self._seconds:g} s: {', '.join(left_out)}."
            run.problem = f"{run.problem} {late}".strip()
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
