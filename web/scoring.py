"""Measures the runs of visitors after their results are shown, for a few seconds at most.

What measuring an edit will take: tried on two frames first, so that nothing too long is begun.

What measures results on this server: loaded once, when first asked for, for all visitors.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
from web.runs import MEASURES, RUN_OUTPUTS, SHORT, Run, RunLog, Unmeasured, run_views, write_runs
from web.views import Update
from web.visitors import VisitorStore
from web.wiring import message_of

JUDGED = ("text_alignment", "frame_consistency")
"""Measures that ask the judge; both look at the same features."""

_BY_PIXEL = ("colour_jitter", "warping_error", "motion_fidelity")
"""Measures that look at every pixel, those first of which the others take over what was worked out."""


@dataclass(frozen=True)
class Step:
    """Measures that are taken together or not at all.

    Attributes:
        names: of them.
        seconds: that they will take once the steps before are done.
    """

    names: tuple[str, ...]
    seconds: float


def working_seconds(work: Callable[[], Any]) -> float:
    """How long something keeps this thread at work: where others work too, that does not become longer."""
    before = time.thread_time()
    work()
    return time.thread_time() - before


def planned(edit: MeasuredEdit, *, names: Collection[str], judge_seconds: float) -> list[Step]:
    """The steps of measuring an edit, the cheapest first.

    Args:
        edit: with what is known of its source by now.
        names: of the measures wanted; those that ask a judge are left out where there is none.
        judge_seconds: that the judge takes for a frame.
    """
    beginning, pairs = edit.beginning(2), len(edit.source.frames) - 1
    ranked: list[tuple[float, Step]] = []
    so_far = 0.0
    for name in (name for name in _BY_PIXEL if name in names):
        seconds = pairs * working_seconds(partial(beginning.measure, name))
        so_far += seconds
        ranked.append((so_far, Step((name,), seconds)))
    judge = edit.instruments.judge
    if judge is not None:
        clips = [clip for clip in (edit.source, edit.edited) if not clip.knows_features(judge)]
        seconds = judge_seconds * sum(len(clip.frames) for clip in clips)
        ranked.append((seconds, Step(tuple(name for name in JUDGED if name in names), seconds)))
    return [step for _, step in sorted(ranked, key=lambda entry: entry[0])]


@dataclass(frozen=True, eq=False)
class AtHand:
    """What measures.

    Attributes:
        instruments: the judge, if there is one, and the tracker.
        judge_seconds: that the judge takes for a frame.
        problem: why there is no judge, in plain words; empty where there is one.
    """

    instruments: Instruments
    judge_seconds: float = 0.0
    problem: str = ""


class SharedInstruments:
    """The judges that visitors can choose from, and the tracker. Safe to use from several threads.

    Args:
        judges: of words and frames, as `ClipJudge.from_pretrained` takes them, the first for newcomers. The
            embedded one can be chosen in any case.
        load: loads one; called until it succeeds once for each.

    Raises:
        ModelLoadError: if there cannot be such a judge.
        ConfigError: if two have the same name, so that their figures could not be told apart.
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
        """Names of the judges, that of newcomers first."""
        return list(self._given)

    def is_loaded(self, judge: str) -> bool:
        """Whether `get` is quick."""
        return judge in self._complete

    def check(self, judge: Any) -> str:
        """A choice out of whatever the browser sent; None takes the first.

        Raises:
            ConfigError: if there is no such judge.
        """
        chosen = self.judges[0] if judge is None else judge
        if chosen not in self.judges:
            raise ConfigError(f"there is no judge {judge!r}; choose one of: {', '.join(self.judges)}")
        return str(chosen)

    def get(self, judge: str) -> AtHand:
        """What measures; without a judge where it cannot be loaded."""
        with self._locks[judge]:
            try:
                if judge not in self._complete:
                    self._complete[judge] = _timed(self._load(self._given[judge]))
            except DreamMotionError as error:
                return AtHand(Instruments(), problem=f"Words and frames were not judged: {error}.")
            return self._complete[judge]


def _timed(judge: ClipJudge) -> AtHand:
    look = partial(judge.image_features, np.zeros((1, 224, 224, 3), np.uint8))
    # The first look also sets things up.
    look()
    return AtHand(Instruments(judge=judge), working_seconds(look))


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
