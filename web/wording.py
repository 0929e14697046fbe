"""Figures of an edit in plain words, for people who never heard of any of the measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dreammotion_core import METRICS, Measurement

Verdict = Literal["good", "fair", "poor", "open"]

# Where the words change. Chosen by us by eye; the figures themselves are always shown.
_SAME_MOTION, _ROUGHLY_SAME_MOTION = 0.9, 0.7
_SAME_COSINE = 0.02
_SAME_FLICKER, _SAME_SHIMMER = 1.25, 1.5
_STILL = {"colour_jitter": 0.05, "warping_error": 0.1}
"""Up to this much of its own, a source is so still that no multiple of it means anything."""
_HARDLY_SEEN = 1.0
"""CIELAB units a frame."""

SHORT = {
    "background_difference": "Outside",
    "text_alignment": "Words",
    "frame_consistency": "Frames",
    "motion_fidelity": "Motion",
    "warping_error": "Shimmer",
    "colour_jitter": "Flicker",
}
"""Column headings."""


@dataclass(frozen=True)
class Wording:
    """A figure as a sentence.

    Attributes:
        sentence: what it says.
        figure: the number with its scale; empty where there is none.
        verdict: whether it is as one would wish; "open" where that is not known.
    """

    sentence: str
    figure: str
    verdict: Verdict


def pending_wording(name: str) -> Wording:
    """What a measure will answer, while it is not known.

    Args:
        name: of the measure.
    """
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
                return Wording("Nothing outside your selection changed", "0 of 255", "good")
            return Wording("Something outside your selection changed", f"up to {value:.0f} of 255", "poor")
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
    """A figure for a cell of a table, in its column's own scale."""
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
    """A flicker's figure, and whether it is no more than the source's."""
    value, own, times = found.value or 0.0, found.source_value or 0.0, _multiple(found)
    if times is None:
        return _beside(value, own, digits=2), value <= own + _STILL[found.metric.name]
    return f"{times:.1f} x the source's", times <= same


def _multiple(found: Measurement) -> float | None:
    """Of the source's own flicker; None for other measures, and where the source has next to none."""
    least, own = _STILL.get(found.metric.name), found.source_value
    if least is None or own is None or own <= least or found.value is None:
        return None
    return found.value / own


def _beside(value: float, own: float | None, *, digits: int) -> str:
    return f"{value:.{digits}f}" + ("" if own is None else f", was {own:.{digits}f}")
