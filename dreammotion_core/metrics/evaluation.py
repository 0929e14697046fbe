"""Measures a finished edit by everything that its clips and the instruments at hand allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dreammotion_core.errors import InputError
from dreammotion_core.metrics.clips import check_mask, check_pair
from dreammotion_core.metrics.instruments import Instruments
from dreammotion_core.metrics.measured_edit import MEASURES, MeasuredEdit
from dreammotion_core.metrics.registry import Metric, known_metrics
from dreammotion_core.values import Frames, Mask


@dataclass(frozen=True)
class Measurement:
    """One figure of an edit.

    Attributes:
        metric: what it says.
        value: of the edit; None where it could not be measured.
        source_value: the same of the source by itself, where that tells how to read it.
        judge: the model or tracker behind it; empty for arithmetic on pixels. Figures of different judges
            must not be compared.
        note: why there is no value, and what to do about it.
    """

    metric: Metric
    value: float | None
    source_value: float | None = None
    judge: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The value for people, such as ``"0.934"``, ``"∞"`` or ``"-"``."""
        return figure(self.value, digits=self.metric.digits)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; infinite ones as text."""
        values = {"value": self.value, "source_value": self.source_value}
        readable = {name: v if v is None or math.isfinite(v) else str(v) for name, v in values.items()}
        return {"metric": self.metric.name, **readable, "judge": self.judge, "note": self.note}


def figure(value: float | None, *, digits: int) -> str:
    """A figure for people: so many digits behind the point, ``"∞"``, or ``"-"`` for None."""
    if value is None:
        return "-"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def evaluate_edit(
    source: Frames,
    *,
    edited: Frames,
    mask: Mask | None = None,
    target_prompt: str | None = None,
    object_mask: Mask | None = None,
    edited_mask: Mask | None = None,
    names: Iterable[str] | None = None,
    instruments: Instruments | None = None,
) -> tuple[Measurement, ...]:
    """Measure an edit: all of `stream_measurements` at once. Same arguments and errors."""
    return tuple(
        stream_measurements(
            source,
            edited=edited,
            mask=mask,
            target_prompt=target_prompt,
            object_mask=object_mask,
            edited_mask=edited_mask,
            names=names,
            instruments=instruments,
        )
    )


def stream_measurements(
    source: Frames,
    *,
    edited: Frames,
    mask: Mask | None = None,
    target_prompt: str | None = None,
    object_mask: Mask | None = None,
    edited_mask: Mask | None = None,
    names: Iterable[str] | None = None,
    instruments: Instruments | None = None,
) -> Iterator[Measurement]:
    """Measure an edit, one measure after the other, so that one may stop when time is up.

    Args:
        source: (F, H, W, 3) uint8 RGB.
        edited: of the same shape.
        mask: (F, H, W), what was selected; None where the whole frame was.
        target_prompt: what the edit should show, for text alignment.
        object_mask: (F, H, W), where the object is in the source, if the selection left room round it.
        edited_mask: (F, H, W), where the object is in the edit, for the overlap of outlines.
        names: of the measures wanted, from `METRICS`; None takes all.
        instruments: the models behind some measures; None takes those that need no weights.

    Yields:
        One measurement for each name, in the order of `METRICS`; those that these clips or instruments do
        not allow have no value but a note.

    Raises:
        InputError: if the clips or masks do not fit one another, or a name is unknown.
    """
    wanted = known_metrics(names)
    check_pair(source, edited=edited)
    selected, before, after = (
        given if given is None else check_mask(given, frames=source)
        for given in (mask, mask if object_mask is None else object_mask, edited_mask)
    )
    edit = MeasuredEdit(source, edited, selected, before, after, target_prompt, instruments or Instruments())
    for metric in wanted:
        yield _measured(edit, metric)


def _measured(edit: MeasuredEdit, metric: Metric) -> Measurement:
    try:
        value, source_value, judge = MEASURES[metric.name](edit)
    except InputError as error:
        return Measurement(metric, None, note=str(error))
    return Measurement(metric, value, source_value, judge)
