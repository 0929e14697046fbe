"""What a visitor's edits came to: a row each, kept while the page is open, and all of them as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dreammotion_core import METRICS, EditOutput, Measurement
from web.clip import Clip

MEASURES = (
    "background_difference",
    "text_alignment",
    "frame_consistency",
    "motion_fidelity",
    "warping_error",
    "colour_jitter",
)
"""Names of what is measured of every run."""

MOST_RUNS = 200
"""That are remembered; the oldest go first."""

_FACTS = ("run", "clip", "clip_shows", "should_show", "method", "model", "seed", "steps", "seconds")
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(eq=False)
class Run:
    """One edit and its figures, as far as they are known.

    Attributes:
        number: 1-based, among the visitor's runs.
        clip: name of the file.
        source_prompt, target_prompt: the words.
        method: as `EditConfig.method`.
        model: that edited.
        seed: that was used.
        num_steps: that were made.
        seconds: that they took.
        figures: measurements by the names of `MEASURES`, as they become known.
        is_measured: whether no more will come.
        problem: why some are missing, in plain words; empty where none is.
        remark: how they were measured, in plain words; empty where nothing is to be said.
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


@dataclass(frozen=True, eq=False)
class Unmeasured:
    """A run whose clips are still held, because they are to be measured.

    Attributes:
        run: the row.
        source: (F, H, W, 3) uint8 RGB.
        output: the edit.
    """

    run: Run
    source: NDArray[np.uint8]
    output: EditOutput


@dataclass(eq=False)
class RunLog:
    """The runs of one visitor, the latest at the end.

    Attributes:
        rows: the runs.
        on_card: the one whose card is on the page; None while another edit runs.
    """

    rows: list[Run] = field(default_factory=list)
    on_card: Run | None = None
    _unmeasured: list[Unmeasured] = field(default_factory=list)
    _count: int = 0

    def add(self, output: EditOutput, *, clip: Clip) -> Run:
        """Note a result, which is then to be measured, and put it on the card.

        Args:
            output: the edit.
            clip: its source.
        """
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

    def unmeasured(self) -> Iterator[Unmeasured]:
        """What is still to be measured; each is handed out once, so that its clips can go afterwards."""
        while self._unmeasured:
            yield self._unmeasured.pop(0)


@dataclass(frozen=True)
class Column:
    """Figures that may stand below one another.

    Attributes:
        name: of the measure.
        judge: whose figures these are; empty for arithmetic on pixels, and where nobody has judged yet.
    """

    name: str
    judge: str

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
    """Write runs as CSV in UTF-8, with a mark by which spreadsheets know it.

    Each measure has two columns for each judge of it, who is named in brackets: of the edit, and of the
    source by itself. Words that a spreadsheet would take for a formula begin with an apostrophe.

    Args:
        runs: the rows.
        path: where to.
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
    """The proof that every edit brings along, at full size and before encoding."""
    difference = output.max_difference_outside
    metric = METRICS["background_difference"]
    if difference is None:
        return Measurement(metric, None, note="the whole frame was edited, so there is no outside")
    return Measurement(metric, float(difference))
