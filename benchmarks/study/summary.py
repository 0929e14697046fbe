"""From the results of a study to means, intervals and the statements that the paper makes.

Means over the pairs of a study, and how far they can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study.runs import Measure, results_of
from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation import METRICS, Metric, figure
from dreammotion_core.evaluation.ablation import Variant

RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its bootstrap confidence interval.

    Attributes:
        mean: infinite if any value is.
        low, high: ends of the interval; the mean itself where it is infinite or there is one value.
        count: values behind it.
    """

    mean: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; infinite ones as text."""
        return {k: v if math.isfinite(v) else str(v) for k, v in asdict(self).items()}


def bootstrap_mean(values: Sequence[float], *, seed: int = 0) -> Estimate | None:
    """The mean and its percentile bootstrap interval at 95 %; None for no values.

    Args:
        values: one a pair.
        seed: of the resampling.

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
    """A measure of a study, by one judge.

    Attributes:
        metric: what it says.
        judge: who said it; figures of several judges never share a column.
    """

    metric: Metric
    judge: str

    @property
    def heading(self) -> str:
        """For people."""
        judge = f" ({self.judge})" if self.judge else ""
        return f"{self.metric.label}{judge} {self.metric.arrow}".rstrip()


@dataclass(frozen=True, eq=False)
class MethodSummary:
    """A line of the table.

    Attributes:
        label: for people.
        records: of its finished pairs, by number.
        values: of each column, by the number of the pair.
        estimates: of each column with any value.
        differences: to the full method on the same pairs, of each column that both have.
        seconds: mean time of an edit.
    """

    label: str
    records: Mapping[int, Mapping[str, Any]]
    values: Mapping[Column, Mapping[int, float]]
    estimates: Mapping[Column, Estimate]
    differences: Mapping[Column, Estimate]
    seconds: float


@dataclass(frozen=True, eq=False)
class StudySummary:
    """All lines.

    Attributes:
        methods: name -> line; only those with a finished pair.
        source: the figures of the source clips by themselves.
        columns: with any figure, in the order of `METRICS`.
        notes: why measures are missing.
        others: names of the ablations and baselines that the model can do, finished or not.
        num_foreign: finished edits of pairs that the study does not have; they are left out.
    """

    methods: Mapping[str, MethodSummary]
    source: Mapping[Column, Estimate]
    columns: Sequence[Column]
    notes: Sequence[str]
    others: Collection[str]
    num_foreign: int


def summarise_study(
    out: Path, *, variants: Sequence[Variant], numbers: Sequence[int], others: Collection[str]
) -> StudySummary:
    """Read all that is finished.

    Args:
        out: folder of the study.
        variants: the methods, in the order of the table.
        numbers: of all pairs of the study, in order.
        others: names of all ablations and baselines that the full method has to be above.

    Raises:
        ConfigError: if nothing is finished, or a line of the results is damaged.
    """
    kept = {v.name: {r["index"]: r for r in results_of(out, v).records()} for v in variants}
    records = {name: _in_order(by_number, numbers) for name, by_number in kept.items()}
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


def _in_order(
    records: Mapping[int, Mapping[str, Any]], numbers: Sequence[int]
) -> dict[int, Mapping[str, Any]]:
    """The records of the pairs of some numbers, in that order."""
    known = sorted((number for number in records if number in numbers), key=numbers.index)
    return {number: records[number] for number in known}


def estimate_text(estimate: Estimate | None, *, metric: Metric) -> str:
    """A mean with its interval, for people."""
    if estimate is None:
        return figure(None, digits=0)
    mean, low, high = (figure(v, digits=metric.digits) for v in (estimate.mean, estimate.low, estimate.high))
    return mean if low == high else f"{mean} [{low}, {high}]"


def _columns(records: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[Column]:
    """All columns that any record has a value in, in the order of `METRICS`."""
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
    """Measures without any value, with the reason of the first record."""
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
