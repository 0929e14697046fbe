"""The orderings that the paper claims and the bars of this project, held against a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

from benchmarks.study.summary import FULL, Column, Estimate, StudySummary, estimate_text

MISSING = "not measured"


@dataclass(frozen=True)
class Claim:
    """A statement about a study.

    Attributes:
        statement: in plain words.
        holds: whether the means say so, of two methods those over the pairs that both have; None where they
            are missing.
        figures: those that decide, with their intervals.
        is_sure: False where a difference decides whose interval includes 0.
    """

    statement: str
    holds: bool | None
    figures: str
    is_sure: bool = True

    @property
    def verdict(self) -> str:
        """For people."""
        verdict = {True: "holds", False: "does not hold", None: MISSING}[self.holds]
        return verdict if self.is_sure else f"{verdict} in the mean; the interval includes 0"


def check_claims(summary: StudySummary) -> list[Claim]:
    """All statements with what the study says of them."""
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
    """What another method has less the full one, over the pairs that both have."""
    column = _column(summary, metric)
    if column is None or other not in summary.methods:
        return None
    return summary.methods[other].differences.get(column)


def _compared(summary: StudySummary, metric: str, *others: str) -> str:
    """The means of the full method and others, and what these have less it."""
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
    """The full method against one with a part switched off."""
    difference, figures = _difference(summary, other, metric), _compared(summary, metric, other)
    if difference is None:
        return Claim(statement, None, figures)
    holds = difference.mean > 0 if lower_is_better else difference.mean < 0
    return Claim(statement, holds, figures, is_sure=not _includes_nought(difference))


def _above_all(summary: StudySummary, statement: str, metric: str) -> Claim:
    found = [_difference(summary, name, metric) for name in summary.others]
    differences = [difference for difference in found if difference is not None]
    figures = _compared(summary, metric, *summary.others)
    if not differences or len(differences) < len(found):
        return Claim(statement, None, figures)
    if above := [difference for difference in differences if difference.mean >= 0]:
        # One that is surely above decides, however unsure the others are.
        return Claim(statement, False, figures, is_sure=not all(map(_includes_nought, above)))
    return Claim(statement, True, figures, is_sure=not any(map(_includes_nought, differences)))


def _includes_nought(difference: Estimate) -> bool:
    return difference.low <= 0 <= difference.high


def _bar(summary: StudySummary, statement: str, metric: str, is_met: Callable[[float, float], bool]) -> Claim:
    """The full method against a number, or against the source clips."""
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
    allowed = 0.01 * abs(mean(only[number] for number in only.keys() & full.keys()))
    return Claim(statement, difference.mean <= allowed, figures)
