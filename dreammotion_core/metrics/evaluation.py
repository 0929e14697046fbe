"""Measures a finished edit by everything that its clips and the instruments at hand allow."""

from __future__ import annotations

from collections.abc import Iterable

from dreammotion_core.metrics.instruments import Instruments
from dreammotion_core.metrics.measured_clip import MeasuredClip
from dreammotion_core.evaluation.measuring import MeasuredEdit
from dreammotion_core.metrics.measurement import Measurement
from dreammotion_core.metrics.registry import known_metrics
from dreammotion_core.values import Frames, Mask


def evaluate_edit(
    source: Frames | MeasuredClip,
    *,
    edited: Frames,
    mask: Mask | None = None,
    target_prompt: str | None = None,
    object_mask: Mask | None = None,
    edited_mask: Mask | None = None,
    names: Iterable[str] | None = None,
    instruments: Instruments | None = None,
) -> tuple[Measurement, ...]:
    """Measure an edit. `MeasuredEdit.measure` does so one measure at a time.

    Args:
        source: (F, H, W, 3) uint8 RGB, or a `MeasuredClip` of it that several edits share.
        edited: of the same shape.
        mask: (F, H, W), what was selected; None where the whole frame was.
        target_prompt: what the edit should show, for text alignment.
        object_mask: (F, H, W), where the object is in the source, if the selection left room round it.
        edited_mask: (F, H, W), where the object is in the edit, for the overlap of outlines.
        names: of the measures wanted, from `METRICS`; None takes all.
        instruments: the models behind some measures; None takes those that need no weights.

    Returns:
        One measurement for each name, in the order of `METRICS`; those that these clips or instruments do
        not allow have no value but a note.

    Raises:
        InputError: if the clips or masks do not fit one another, or a name is unknown.
    """
    wanted = known_metrics(names)
    edit = MeasuredEdit(
        source=source if isinstance(source, MeasuredClip) else MeasuredClip(source),
        edited=MeasuredClip(edited),
        mask=mask,
        target_prompt=target_prompt,
        object_mask=object_mask,
        edited_mask=edited_mask,
        instruments=instruments or Instruments(),
    )
    return tuple(edit.measure(metric.name) for metric in wanted)
