"""The figures of a visitor's edits: a card for the latest, a table of all, and the same as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from dreammotion_core import EMBEDDED_JUDGE, METRICS, ConfigError, EditOutput, Measurement
from web.clip import Clip
from web.views import render

MEASURES = (
    *("background_difference", "text_alignment", "frame_consistency"),
    *("motion_fidelity", "warping_error", "colour_jitter"),
)
"""Names of the measures of every run."""

MOST_RUNS = 200  # Number of runs that are remembered; the oldest go first.
MOST_KEPT = 12  # Number of results that can be opened again, of up to some megabytes each.
_FACTS = ("run", "clip", "clip_shows", "should_show", "method", "model", "seed", "steps", "seconds")
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class KeptResult:
    """What of a run can be shown again; `picture` is a small data URI.

    `views` are of the player, the losses and the facts, `files` the names and contents of MP4 and receipt.
    """

    views: dict[str, Any]
    files: tuple[tuple[str, bytes], ...]
    picture: str


@dataclass(eq=False)
class Run:
    """One edit and its figures so far, by the names of `MEASURES`; no more will come once it `is_measured`.

    `number` is 1-based among the visitor's runs; `problem` says why some figures are missing, `remark` how
    they were measured, in plain words.
    """

    number: int
    clip: str
    source_prompt: str
    target_prompt: str
    method: str
    model: str
    seed: int
    num_steps: int
    seconds: float
    figures: dict[str, Measurement] = field(default_factory=dict)
    is_measured: bool = False
    problem: str = ""
    remark: str = ""
    kept: KeptResult | None = None


@dataclass(frozen=True, eq=False)
class Unmeasured:
    """A run that is still to be measured, with its clips; `source` is (F, H, W, 3) uint8 RGB."""

    run: Run
    source: NDArray[np.uint8]
    output: EditOutput


@dataclass(eq=False)
class RunLog:
    """The runs of one visitor, the latest at the end; the card of `on_card` is on the page."""

    rows: list[Run] = field(default_factory=list)
    on_card: Run | None = None
    _unmeasured: list[Unmeasured] = field(default_factory=list)
    _count: int = 0

    def add(self, output: EditOutput, *, clip: Clip) -> Run:
        """Add a result, to be measured later, and put it on the card."""
        self._count += 1
        run = Run(
            number=self._count,
            clip=clip.path.name,
            source_prompt=output.source_prompt,
            target_prompt=output.target_prompt,
            method=output.config.method,
            model=output.model,
            seed=output.config.seed,
            num_steps=len(output.losses),
            seconds=output.seconds,
        )
        run.figures["background_difference"] = _background(output)
        self.rows = [*self.rows[1 - MOST_RUNS :], run]
        self.on_card = run
        self._unmeasured.append(Unmeasured(run, clip.video.frames, output))
        return run

    def keep(self, run: Run, result: KeptResult) -> None:
        """Keep a result to be opened again; of the oldest ones only the figures stay."""
        run.kept = result
        for old in [each for each in self.rows if each.kept][:-MOST_KEPT]:
            old.kept = None

    def find(self, number: Any) -> Run:
        """A run whose result is kept; without one, a `ConfigError`."""
        for run in self.rows:
            if run.number == number and run.kept:
                return run
        raise ConfigError("this result is no longer kept; only its figures are")

    def unmeasured(self) -> Iterator[Unmeasured]:
        """The runs to measure; each is handed out once, so that its clips can go afterwards."""
        while self._unmeasured:
            yield self._unmeasured.pop(0)


@dataclass(frozen=True)
class Column:
    """Figures that may stand below one another; without a judge those of pixels, or not judged yet."""

    name: str
    judge: str

    @property
    def title(self) -> str:
        """Its heading."""
        return SHORT[self.name]

    @property
    def question(self) -> str:
        """What its figures answer."""
        return METRICS[self.name].question

    def cell(self, run: Run) -> str:
        """What stands in the row of a run."""
        if self.name not in run.figures and not run.is_measured:
            return "…"
        return short_figure(self.figure_of(run))

    def figure_of(self, run: Run) -> Measurement | None:
        """The figure of a run, unless another judge gave it."""
        found = run.figures.get(self.name)
        return None if found is None or found.value is None or found.judge != self.judge else found


def columns(runs: Sequence[Run]) -> list[Column]:
    """The measures in the order of `MEASURES`, each with a column for every judge that was asked."""
    shown = []
    for name in MEASURES:
        found = (run.figures[name] for run in runs if name in run.figures)
        judges = dict.fromkeys(each.judge for each in found if each.value is not None)
        shown += [Column(name, judge) for judge in judges or ("",)]
    return shown


def write_runs(runs: list[Run], path: Path) -> Path:
    """Write runs as CSV in UTF-8, with the mark by which spreadsheets recognise it.

    Each measure has two columns for each judge of it, who is named in brackets: of the edit, and of the
    source by itself. Words that a spreadsheet would take for a formula begin with an apostrophe.
    """
    shown = columns(runs)
    header = [*_FACTS]
    for column in shown:
        by = f" ({column.judge})" if column.judge else ""
        header += [f"{column.name}{by}", f"{column.name}_of_source{by}"]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([_cell(value) for value in _values(run, shown)] for run in runs)
    return path


def _values(run: Run, shown: Sequence[Column]) -> Iterator[str | int | float | None]:
    yield from (run.number, run.clip, run.source_prompt, run.target_prompt, run.method, run.model)
    yield from (run.seed, run.num_steps, round(run.seconds, 1))
    for column in shown:
        found = column.figure_of(run)
        yield from (None, None) if found is None else (found.value, found.source_value)


def _cell(value: str | int | float | None) -> str | int | float | None:
    if isinstance(value, str) and (value.lstrip(" ") or " ").startswith(_FORMULA_SIGNS):
        return f"'{value}"
    return value


def _background(output: EditOutput) -> Measurement:
    """The figure that comes with every edit, at full size and before encoding."""
    difference = output.max_difference_outside
    metric = METRICS["background_difference"]
    if difference is None:
        return Measurement(metric, None, note="the whole frame was edited, so there is no outside")
    edge = output.config.mask_edge
    return Measurement(metric, float(difference), note=f", its edge of {edge} pixels aside" if edge else "")


Verdict = Literal["good", "fair", "poor", "open"]

# Limits between the words, chosen by eye; the figures are always shown.
_SAME_MOTION, _ROUGHLY_SAME_MOTION = 0.9, 0.7
_SAME_COSINE = 0.02
_SAME_FLICKER, _SAME_SHIMMER = 1.25, 1.5
_STILL = {
    "colour_jitter": 0.05,
    "warping_error": 0.1,
}  # A source's flicker up to which multiples say nothing.
_HARDLY_SEEN = 1.0  # Flicker that is hardly seen, in CIELAB units a frame.
SHORT = {
    "background_difference": "Outside",
    "text_alignment": "Words",
    "frame_consistency": "Frames",
    "motion_fidelity": "Motion",
    "warping_error": "Shimmer",
    "colour_jitter": "Flicker",
}
"""Column headings."""

SCALES = {
    "Outside": "largest change outside the selection and its edge, of 255",
    "Words": "agreement with the words, more is better",
    "Frames": "likeness of neighbouring frames, 1 is a still picture",
    "Motion": "1 moves like the source",
    "Shimmer": "against the source's",
    "Flicker": "against the source's",
}
"""What the figures under a heading mean."""


@dataclass(frozen=True)
class Wording:
    """A figure as a sentence; `verdict` is whether it is as one would wish, or "open"."""

    sentence: str
    figure: str
    verdict: Verdict


def pending_wording(name: str) -> Wording:
    """The question of a measure, while its answer is not known."""
    return Wording(METRICS[name].question, "measuring…", "open")


def worded(found: Measurement) -> Wording:
    """A measurement in plain words. It may be any of `web.runs.MEASURES`."""
    name, value, own = found.metric.name, found.value, found.source_value
    if value is None:
        if name == "background_difference":
            return Wording("The whole frame was edited, so nothing had to stay as it was", "", "open")
        return Wording(found.metric.question, "not measured", "open")
    match name:
        case "background_difference":
            if value == 0:
                return Wording(f"Nothing outside your selection changed{found.note}", "0 of 255", "good")
            sentence = f"Something outside your selection changed{found.note}"
            return Wording(sentence, f"up to {value:.0f} of 255", "poor")
        case "motion_fidelity":
            return _motion(value)
        case "text_alignment":
            is_closer = own is not None and value > own + _SAME_COSINE
            how = "better" if is_closer else "no better"
            sentence = f"Fits your words {how} than the source did"
            return Wording(sentence, _beside(value, own, digits=2), "good" if is_closer else "fair")
        case "frame_consistency":
            figure = _beside(value, own, digits=3)
            if own is None or value >= own - _SAME_COSINE:
                return Wording("Frame follows frame as in the source", figure, "good")
            return Wording("Neighbouring frames differ more than in the source", figure, "fair")
        case "colour_jitter":
            return _flicker(found)
        case _:
            figure, is_calm = _against_source(found, same=_SAME_SHIMMER)
            if is_calm:
                return Wording("Its detail is as calm as in the source", figure, "good")
            return Wording("Its detail shimmers more than in the source", figure, "poor")


def short_figure(found: Measurement | None) -> str:
    """A figure for a cell of the table, in the scale of its column."""
    if found is None or found.value is None:
        return "-"
    times = _multiple(found)
    return found.text if times is None else f"{times:.1f} x"


def _motion(value: float) -> Wording:
    figure = f"{value:.2f} of 1"
    if value >= _SAME_MOTION:
        return Wording("Moves like the source", figure, "good")
    if value >= _ROUGHLY_SAME_MOTION:
        return Wording("Moves roughly like the source", figure, "fair")
    return Wording("Moves differently from the source", figure, "poor")


def _flicker(found: Measurement) -> Wording:
    figure, is_calm = _against_source(found, same=_SAME_FLICKER)
    if is_calm:
        return Wording("Its colour is as steady as in the source", figure, "good")
    if (found.value or 0.0) < _HARDLY_SEEN:
        return Wording("Its colour flickers, too little to be seen", figure, "good")
    return Wording("Its colour flickers more than in the source", figure, "poor")


def _against_source(found: Measurement, *, same: float) -> tuple[str, bool]:
    """The figure of a flicker, and whether the source flickers as much."""
    value, own, times = found.value or 0.0, found.source_value or 0.0, _multiple(found)
    if times is None:
        return _beside(value, own, digits=2), value <= own + _STILL[found.metric.name]
    return f"{times:.1f} x the source's", times <= same


def _multiple(found: Measurement) -> float | None:
    """None for other measures and for sources that hardly flicker."""
    least, own = _STILL.get(found.metric.name), found.source_value
    if least is None or own is None or own <= least or found.value is None:
        return None
    return found.value / own


def _beside(value: float, own: float | None, *, digits: int) -> str:
    return f"{value:.{digits}f}" + ("" if own is None else f", was {own:.{digits}f}")


RUN_OUTPUTS = ("card", "runs", "runs_export")
_BY_JUDGE = ("text_alignment", "frame_consistency")
_EXPLAINED = {*_BY_JUDGE, "background_difference"}
"""Measures whose absence is explained elsewhere: by the run's problem, or by their own sentence."""


def run_views(log: RunLog) -> dict[str, Any]:
    """Card, table and the button that saves it."""
    return {
        "card": "" if log.on_card is None else card_html(log.on_card),
        "runs": runs_html(log.rows),
        "runs_export": gr.Button(visible=bool(log.rows)),
    }


def card_html(run: Run) -> str:
    """What the figures of a run say, in plain words; those that are still to come say so."""
    rows = []
    for name in MEASURES:
        found = run.figures.get(name)
        if found is not None:
            rows.append((name, worded(found)))
        elif not run.is_measured:
            rows.append((name, pending_wording(name)))
    notes = [note for note in (run.problem, *_reasons(run), *_judges(run), run.remark) if note]
    return render("card", run=run, rows=rows, notes=notes)


def runs_html(runs: Sequence[Run]) -> str:
    """A row for each run, the latest first; a sentence if there are none."""
    judges = list(dict.fromkeys(sentence for run in runs for sentence in _judges(run)))
    return render("runs", runs=runs[::-1], columns=columns(runs), scales=SCALES, judges=judges)


def _reasons(run: Run) -> list[str]:
    return [
        f"{SHORT[name]} not measured: {found.note}."
        for name, found in run.figures.items()
        if found.value is None and name not in _EXPLAINED
    ]


def _judges(run: Run) -> list[str]:
    words, motion = (
        next((run.figures[name].judge for name in names if name in run.figures), "")
        for names in (_BY_JUDGE, ("motion_fidelity",))
    )
    said = []
    if words:
        knows = ", which knows its own cartoon world and nothing else" if words == EMBEDDED_JUDGE else ""
        said.append(f"Words and frames are judged by {words}{knows}.")
    if motion:
        said.append(f"Motion is followed by {motion}.")
    return said
