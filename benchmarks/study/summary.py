"""The findings of a study: means over its pairs with bootstrap intervals, and the paper's statements."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.study.runs import Measure, results_of
from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation import METRICS, Metric, figure
from dreammotion_core.evaluation.catalog import Variant

RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its bootstrap confidence interval."""

    mean: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; infinite ones as text."""
        return {k: v if math.isfinite(v) else str(v) for k, v in asdict(self).items()}


def bootstrap_mean(values: Sequence[float], *, seed: int = 0) -> Estimate | None:
    """The mean and its percentile bootstrap interval at 95 %; None for no values.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if not len(values):
        return None
    sample = np.asarray(values, np.float64)
    mean = float(sample.mean())
    if len(sample) == 1 or not math.isfinite(mean):
        return Estimate(mean, mean, mean, len(sample))
    draws = np.random.default_rng(seed).integers(len(sample), size=(RESAMPLES, len(sample)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(sample[draws].mean(axis=1), (tail, 100 - tail))
    return Estimate(mean, float(low), float(high), len(sample))


def bootstrap_difference(values: Sequence[float], *, base: Sequence[float]) -> Estimate | None:
    """The mean of paired differences ``values - base`` with its interval, without those that are infinite."""
    pairs = [(v, b) for v, b in zip(values, base, strict=True) if math.isfinite(v) and math.isfinite(b)]
    return bootstrap_mean([v - b for v, b in pairs])


FULL = "dreammotion"
SOURCE_LABEL = "source clips, by themselves"
FOREIGN = "no pair has their clip, mask and prompts now"


@dataclass(frozen=True)
class Column:
    """A metric of a study, by one judge; figures of different judges never share a column."""

    metric: Metric
    judge: str

    @property
    def heading(self) -> str:
        """The label of the metric, its judge, and which way is better."""
        judge = f" ({self.judge})" if self.judge else ""
        return f"{self.metric.label}{judge} {self.metric.arrow}".rstrip()


@dataclass(frozen=True, eq=False)
class MethodSummary:
    """The figures of one method."""

    label: str
    records: Mapping[int, Mapping[str, Any]]  # number of a finished pair -> its record
    values: Mapping[Column, Mapping[int, float]]  # column -> number of a pair -> figure
    estimates: Mapping[Column, Estimate]  # column with any value -> mean
    differences: Mapping[Column, Estimate]  # less the full method, on the same pairs
    seconds: float  # mean time of an edit


@dataclass(frozen=True, eq=False)
class StudySummary:
    """The figures of all methods."""

    methods: Mapping[str, MethodSummary]  # name -> figures, of methods with a finished pair
    source: Mapping[Column, Estimate]  # figures of the source clips by themselves
    columns: Sequence[Column]
    notes: Sequence[str]  # why metrics are missing
    others: Collection[str]
    num_foreign: int


def summarise_study(
    out: Path, *, variants: Sequence[Variant], numbers: Sequence[int], others: Collection[str]
) -> StudySummary:
    """Read all that is finished."""
    kept = {v.name: {r["index"]: r for r in results_of(out, v).records()} for v in variants}
    records = {
        name: {number: of[number] for number in sorted((n for n in of if n in numbers), key=numbers.index)}
        for name, of in kept.items()
    }
    num_foreign = sum(len(kept[name]) - len(records[name]) for name in kept)
    finished = [v for v in variants if records[v.name]]
    if not finished:
        reason = f", but {num_foreign} left out, because {FOREIGN}" if num_foreign else ""
        raise ConfigError(f"{out} holds no finished edits{reason}; run the study without --summary first")
    values = {v.name: _values(records[v.name], "value") for v in finished}
    columns = [c for c in _columns(records) if any(c in values[v.name] for v in finished)]
    full = values.get(FULL, {})
    methods = {
        v.name: MethodSummary(
            label=v.label,
            records=records[v.name],
            values=values[v.name],
            estimates=_estimates(values[v.name]),
            differences=_differences(values[v.name], full),
            seconds=sum(r["seconds"] for r in records[v.name].values()) / len(records[v.name]),
        )
        for v in finished
    }
    of_source = _values(records[finished[0].name], "source_value")
    return StudySummary(methods, _estimates(of_source), columns, _notes(records), others, num_foreign)


def estimate_text(estimate: Estimate | None, *, metric: Metric) -> str:
    """A mean with its interval, for people."""
    if estimate is None:
        return figure(None, digits=0)
    mean, low, high = (figure(v, digits=metric.digits) for v in (estimate.mean, estimate.low, estimate.high))
    return mean if low == high else f"{mean} [{low}, {high}]"


def _columns(records: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[Column]:
    found = {
        (m["metric"], m["judge"])
        for of_method in records.values()
        for record in of_method.values()
        for m in record["measures"]
        if m["value"] is not None
    }
    return [Column(METRICS[name], judge) for name in METRICS for n, judge in sorted(found) if n == name]


def _values(records: Mapping[int, Mapping[str, Any]], which: str) -> dict[Column, dict[int, float]]:
    values: dict[Column, dict[int, float]] = {}
    for index, record in records.items():
        for measure in record["measures"]:
            if measure[which] is not None:
                column = Column(METRICS[measure["metric"]], measure["judge"])
                values.setdefault(column, {})[index] = float(measure[which])
    return values


def _estimates(values: Mapping[Column, Mapping[int, float]]) -> dict[Column, Estimate]:
    found = {column: bootstrap_mean(list(by_pair.values())) for column, by_pair in values.items()}
    return {column: estimate for column, estimate in found.items() if estimate is not None}


def _differences(
    values: Mapping[Column, Mapping[int, float]], full: Mapping[Column, Mapping[int, float]]
) -> dict[Column, Estimate]:
    found = {}
    for column in values.keys() & full.keys():
        shared = sorted(values[column].keys() & full[column].keys())
        difference = bootstrap_difference(
            [values[column][i] for i in shared], base=[full[column][i] for i in shared]
        )
        if difference is not None:
            found[column] = difference
    return found


def _notes(records: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[str]:
    missing: dict[str, str] = {}
    measured: set[str] = set()
    measures: list[Measure] = [
        m for by_pair in records.values() for record in by_pair.values() for m in record["measures"]
    ]
    for measure in measures:
        if measure["value"] is None:
            missing.setdefault(measure["metric"], measure["note"])
        else:
            measured.add(measure["metric"])
    return [f"{METRICS[n].label}: {note}" for n, note in missing.items() if n not in measured]


MISSING = "not measured"


@dataclass(frozen=True)
class Claim:
    """A statement about a study."""

    statement: str
    holds: bool | None  # over the pairs that both methods have; None where means are missing
    figures: str
    is_sure: bool = True

    @property
    def verdict(self) -> str:
        """Whether it holds, in words."""
        verdict = {True: "holds", False: "does not hold", None: MISSING}[self.holds]
        return verdict if self.is_sure else f"{verdict} in the mean; the interval includes 0"


def check_claims(summary: StudySummary) -> list[Claim]:
    """The paper's statements and this project's bars, each with what the study says of it."""
    return [
        *(
            _against(summary, statement, metric, other, lower_is_better=lower)
            for statement, metric, other, lower in (
                ("Matching raises motion fidelity", "motion_fidelity", "no-matching", False),
                ("Spatial matching raises motion fidelity", "motion_fidelity", "no-spatial", False),
                ("Temporal matching raises motion fidelity", "motion_fidelity", "no-temporal", False),
                ("Temporal matching lowers the colour jitter", "colour_jitter", "no-temporal", True),
                ("Temporal matching lowers the warping error", "warping_error", "no-temporal", True),
                ("Masks keep the background nearer to the source", "ssim_outside", "no-mask", False),
            )
        ),
        _above_all(summary, "Motion fidelity is above every ablation and baseline", "motion_fidelity"),
        _bar(summary, "Motion fidelity is at least 0.92", "motion_fidelity", lambda full, _: full >= 0.92),
        _bar(
            summary,
            "Frame-Con is within 1 % of the source clips'",
            "frame_consistency",
            lambda full, source: abs(full - source) <= 0.01 * abs(source),
        ),
        _text_alignment(summary),
        _bar(summary, "The background is untouched", "background_difference", lambda full, _: full == 0),
    ]


def _column(summary: StudySummary, metric: str) -> Column | None:
    return next((column for column in summary.columns if column.metric.name == metric), None)


def _mean(summary: StudySummary, method: str, metric: str) -> Estimate | None:
    column = _column(summary, metric)
    if column is None or method not in summary.methods:
        return None
    return summary.methods[method].estimates.get(column)


def _difference(summary: StudySummary, other: str, metric: str) -> Estimate | None:
    """Another method minus the full one, over the pairs that both have."""
    column = _column(summary, metric)
    if column is None or other not in summary.methods:
        return None
    return summary.methods[other].differences.get(column)


def _compared(summary: StudySummary, metric: str, *others: str) -> str:
    column, figures = _column(summary, metric), _figures(summary, metric, FULL, *others)
    differences = {name: _difference(summary, name, metric) for name in others}
    known = {name: found for name, found in differences.items() if found is not None}
    if column is None or not known:
        return figures
    texts = [
        f"{summary.methods[name].label}: {estimate_text(found, metric=column.metric)}"
        for name, found in known.items()
    ]
    return f"{figures}; less the full method, pair by pair: {', '.join(texts)}"


def _figures(summary: StudySummary, metric: str, *methods: str) -> str:
    column = _column(summary, metric)
    if column is None:
        return MISSING
    return ", ".join(
        f"{summary.methods[m].label}: {estimate_text(_mean(summary, m, metric), metric=column.metric)}"
        for m in methods
        if m in summary.methods
    )


def _against(
    summary: StudySummary, statement: str, metric: str, other: str, *, lower_is_better: bool
) -> Claim:
    difference, figures = _difference(summary, other, metric), _compared(summary, metric, other)
    if difference is None:
        return Claim(statement, None, figures)
    holds = difference.mean > 0 if lower_is_better else difference.mean < 0
    return Claim(statement, holds, figures, is_sure=not _includes_zero(difference))


def _above_all(summary: StudySummary, statement: str, metric: str) -> Claim:
    found = [_difference(summary, name, metric) for name in summary.others]
    differences = [difference for difference in found if difference is not None]
    figures = _compared(summary, metric, *summary.others)
    if not differences or len(differences) < len(found):
        return Claim(statement, None, figures)
    if above := [difference for difference in differences if difference.mean >= 0]:
        # One method that is surely above decides, however unsure the others are.
        return Claim(statement, False, figures, is_sure=not all(map(_includes_zero, above)))
    return Claim(statement, True, figures, is_sure=not any(map(_includes_zero, differences)))


def _includes_zero(difference: Estimate) -> bool:
    return difference.low <= 0 <= difference.high


def _bar(summary: StudySummary, statement: str, metric: str, is_met: Callable[[float, float], bool]) -> Claim:
    """The full method beside a number, or beside the source clips."""
    column, full = _column(summary, metric), _mean(summary, FULL, metric)
    source = summary.source.get(column) if column else None
    if full is None or column is None:
        return Claim(statement, None, MISSING)
    figures = _figures(summary, metric, FULL, "as-shipped")
    if source is not None:
        figures += f", source clips: {estimate_text(source, metric=column.metric)}"
    return Claim(statement, is_met(full.mean, source.mean if source else float("nan")), figures)


def _text_alignment(summary: StudySummary) -> Claim:
    statement, metric = "The text is followed as well as by DDS only, less 1 %", "text_alignment"
    column, difference = _column(summary, metric), _difference(summary, "no-matching", metric)
    figures = _compared(summary, metric, "no-matching")
    if column is None or difference is None:
        return Claim(statement, None, figures)
    full, only = (summary.methods[name].values[column] for name in (FULL, "no-matching"))
    allowed = 0.01 * abs(fmean(only[number] for number in only.keys() & full.keys()))
    return Claim(statement, difference.mean <= allowed, figures)
