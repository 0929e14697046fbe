"""Measures a finished edit by everything that its clips and the instruments at hand allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dreammotion_core.errors import InputError, MetricError
from dreammotion_core.metrics.background import background_proof
from dreammotion_core.metrics.clip_scores import ClipJudge, Features, frame_consistency, text_alignment
from dreammotion_core.metrics.clips import check_mask, check_pair
from dreammotion_core.metrics.colour_jitter import colour_jitter
from dreammotion_core.metrics.fidelity import psnr, ssim
from dreammotion_core.metrics.mask_overlap import region_similarity
from dreammotion_core.metrics.motion_fidelity import motion_fidelity
from dreammotion_core.metrics.perceptual import FrameLpips
from dreammotion_core.metrics.registry import Metric, known_metrics
from dreammotion_core.metrics.tracks import DEFAULT_GRID, PointTracker, PointTracks, grid_points
from dreammotion_core.metrics.tracks_flow import FlowTracker
from dreammotion_core.metrics.warping import warping_error
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Instruments:
    """What measures. Those that are missing leave their figures out, with a note.

    Attributes:
        judge: of CLIP scores.
        tracker: of motion.
        lpips: of perceptual distance.
    """

    judge: ClipJudge | None = None
    tracker: PointTracker = field(default_factory=FlowTracker)
    lpips: FrameLpips | None = None


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
    """Measure an edit.

    Args:
        source: (F, H, W, 3) uint8 RGB.
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
    check_pair(source, edited=edited)
    selected, before, after = (
        given if given is None else check_mask(given, frames=source)
        for given in (mask, mask if object_mask is None else object_mask, edited_mask)
    )
    edit = _Edit(source, edited, selected, before, after, target_prompt, instruments or Instruments())
    return tuple(edit.measured(metric) for metric in wanted)


@dataclass(frozen=True, eq=False)
class _Edit:
    """An edit being measured; what several measures need is worked out once."""

    source: Frames
    edited: Frames
    mask: Mask | None
    object_mask: Mask | None
    edited_mask: Mask | None
    target_prompt: str | None
    instruments: Instruments

    def measured(self, metric: Metric) -> Measurement:
        try:
            value, source_value, judge = _MEASURES[metric.name](self)
        except InputError as error:
            return Measurement(metric, None, note=str(error))
        return Measurement(metric, value, source_value, judge)

    @property
    def selected(self) -> Mask:
        """The mask; the whole frame where there is none."""
        return np.ones(self.source.shape[:3], bool) if self.mask is None else self.mask

    @property
    def judge(self) -> ClipJudge:
        if self.instruments.judge is None:
            raise MetricError("no judge was given; load one with ClipJudge.from_pretrained")
        return self.instruments.judge

    @cached_property
    def features(self) -> Features:
        return self.judge.image_features(self.edited)

    @cached_property
    def source_features(self) -> Features:
        return self.judge.image_features(self.source)

    def text_alignment(self) -> _Figure:
        if self.target_prompt is None:
            raise MetricError("no target prompt was given")
        text = self.judge.text_features([self.target_prompt])[0]
        scores = [text_alignment(features, text=text) for features in (self.features, self.source_features)]
        return scores[0], scores[1], self.judge.name

    def frame_consistency(self) -> _Figure:
        check_pair(self.source, edited=self.edited, fewest=2)
        scores = frame_consistency(self.features), frame_consistency(self.source_features)
        return *scores, self.judge.name

    def motion_fidelity(self) -> _Figure:
        if self.mask is None:
            return self.motion_fidelity_frame()
        appears = np.flatnonzero(self.mask.any(axis=(1, 2)))
        start = appears[0] if len(appears) else 0
        points = grid_points(self.source.shape[1:3], mask=self.mask[start], grid_size=DEFAULT_GRID)
        tracks = [self.instruments.tracker(c[start:], points=points) for c in (self.source, self.edited)]
        return self._compared(*tracks)

    def motion_fidelity_frame(self) -> _Figure:
        points = grid_points(self.source.shape[1:3], mask=None, grid_size=DEFAULT_GRID)
        return self._compared(
            *(self.instruments.tracker(clip, points=points) for clip in (self.source, self.edited))
        )

    def _compared(self, source: PointTracks, edited: PointTracks) -> _Figure:
        return motion_fidelity(source, edited=edited), None, self.instruments.tracker.name

    def frame_lpips(self) -> _Figure:
        lpips = self.instruments.lpips
        if lpips is None:
            raise MetricError("no LPIPS backbone was given; load one with FrameLpips")
        return lpips(self.source, edited=self.edited), None, lpips.name

    def background_difference(self) -> _Figure:
        difference = background_proof(self.source, edited=self.edited, mask=self._given_mask()).max_difference
        if difference is None:
            raise MetricError("nothing lies outside the mask")
        return float(difference), None, ""

    def warping_error(self) -> _Figure:
        errors = [
            warping_error(c, source=self.source, mask=self.selected) for c in (self.edited, self.source)
        ]
        return 1000 * errors[0], 1000 * errors[1], ""

    def colour_jitter(self) -> _Figure:
        check_pair(self.source, edited=self.edited, fewest=2)
        jitter = [colour_jitter(clip, mask=self.selected) for clip in (self.edited, self.source)]
        return jitter[0], jitter[1], ""

    def mask_overlap(self) -> _Figure:
        if self.edited_mask is None or self.object_mask is None:
            raise MetricError("no masks of the object before and after were given; select it in the edit too")
        return region_similarity(self.edited_mask, truth=self.object_mask), None, ""

    def kept(self, measure: Callable[..., float], *, outside: bool) -> _Figure:
        region = ~self._given_mask() if outside else self.selected
        return measure(self.source, edited=self.edited, region=region), None, ""

    def _given_mask(self) -> Mask:
        if self.mask is None:
            raise MetricError("no mask was given, so there is no outside")
        return self.mask


_Figure = tuple[float, float | None, str]
"""Of the edit, of the source by itself, and by which judge."""

_MEASURES: Mapping[str, Callable[[_Edit], _Figure]] = {
    "text_alignment": _Edit.text_alignment,
    "frame_consistency": _Edit.frame_consistency,
    "motion_fidelity": _Edit.motion_fidelity,
    "motion_fidelity_frame": _Edit.motion_fidelity_frame,
    "frame_lpips": _Edit.frame_lpips,
    "ssim_inside": lambda edit: edit.kept(ssim, outside=False),
    "psnr_inside": lambda edit: edit.kept(psnr, outside=False),
    "ssim_outside": lambda edit: edit.kept(ssim, outside=True),
    "psnr_outside": lambda edit: edit.kept(psnr, outside=True),
    "background_difference": _Edit.background_difference,
    "warping_error": _Edit.warping_error,
    "colour_jitter": _Edit.colour_jitter,
    "mask_overlap": _Edit.mask_overlap,
}
