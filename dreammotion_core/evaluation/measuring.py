"""Evaluate a finished edit by every metric that its clips and the instruments at hand allow.

`METRICS` lists what can be asked, `evaluate_edit` asks all of it, `MeasuredEdit` one metric at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.errors import InputError, MetricError
from dreammotion_core.evaluation.catalog import Metric, known_metrics
from dreammotion_core.evaluation.judges import (
    ClipJudge,
    Features,
    FrameLpips,
    frame_consistency,
    text_alignment,
)
from dreammotion_core.evaluation.motion import (
    DEFAULT_GRID,
    ClipFlow,
    FlowTracker,
    Points,
    PointTracker,
    PointTracks,
    grid_points,
    motion_fidelity,
    warping_error,
)
from dreammotion_core.evaluation.pixels import (
    check_frames,
    check_mask,
    check_pair,
    colour_jitter,
    psnr,
    region_similarity,
    ssim,
)
from dreammotion_core.finishing import max_difference_outside
from dreammotion_core.values import Frames, Mask

MOST_STARTS = 8  # at most so many frames, evenly spread, get points that optical flow follows from there


@dataclass(frozen=True)
class Measurement:
    """One figure of an edit."""

    metric: Metric
    value: float | None  # None where it could not be measured
    source_value: float | None = None  # of the source by itself, where that tells how to read the value
    judge: str = ""  # model or tracker behind it, the same where figures compare; empty for arithmetic
    note: str = ""  # why there is no value, and what to do about it

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
    """A figure for people with so many decimals; ``"∞"``, or ``"-"`` for None."""
    if value is None:
        return "-"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Instruments:
    """The models behind some metrics. Without one, its metrics have no value but a note."""

    judge: ClipJudge | None = None  # for Text-Align and Frame-Con
    tracker: PointTracker = field(default_factory=FlowTracker)  # for motion fidelity
    lpips: FrameLpips | None = None


class MeasuredClip:
    """(F, H, W, 3) uint8 RGB frames with what metrics found out about them; share one between edits."""

    def __init__(self, frames: Frames) -> None:
        check_frames(frames)
        self.frames = frames
        self._judged: tuple[ClipJudge, Features] | None = None

    @cached_property
    def flow(self) -> ClipFlow:
        """The optical flow, the slowest thing to compute; 16 bytes a pixel."""
        return ClipFlow.of(self.frames)

    def features(self, judge: ClipJudge) -> Features:
        """(F, D) unit vectors of the frames; those of the latest judge are kept."""
        if self._judged is None or self._judged[0] is not judge:
            self._judged = judge, judge.image_features(self.frames)
        return self._judged[1]

    def tracks(self, tracker: PointTracker, *, points: Points, start: int = 0) -> PointTracks:
        """Tracks of (T, 2) points of the frame `start`, from that frame on. Raises `VideoError`."""
        check_frames(self.frames[start:], fewest=2)
        if isinstance(tracker, FlowTracker):
            return tracker.along(ClipFlow(self.flow.pairs[start:]), points=points)
        return tracker(self.frames[start:], points=points)


Figure = tuple[float, float | None, str]
"""Value of the edit, value of the source by itself, and judge, as in `Measurement`."""


class MeasuredEdit:
    """An edit that is evaluated one metric after the other; what several metrics need is computed once.

    It takes what `evaluate_edit` takes, with both clips as `MeasuredClip`, or raises `InputError`.
    """

    def __init__(
        self,
        *,
        source: MeasuredClip,
        edited: MeasuredClip,
        mask: Mask | None = None,
        target_prompt: str | None = None,
        object_mask: Mask | None = None,
        edited_mask: Mask | None = None,
        instruments: Instruments | None = None,
    ) -> None:
        check_pair(source.frames, edited=edited.frames)

        def checked(given: Mask | None) -> Mask | None:
            return None if given is None else check_mask(given, frames=source.frames)

        self.source, self.edited = source, edited
        self.target_prompt = target_prompt
        self.mask, self.edited_mask = checked(mask), checked(edited_mask)
        self.object_mask = self.mask if object_mask is None else checked(object_mask)
        self.instruments = instruments or Instruments()
        self._tracks: dict[int, tuple[int, list[PointTracks]]] = {}

    def measure(self, name: str) -> Measurement:
        """The figure of one metric; without a value but with a note where clips or instruments forbid it."""
        (metric,) = known_metrics([name])
        try:
            value, source_value, judge = _COMPUTE[name](self)
        except InputError as error:
            return Measurement(metric, None, note=str(error))
        return Measurement(metric, value, source_value, judge)

    @property
    def selected(self) -> Mask:
        """The mask, or the whole frame without one."""
        return np.ones(self.source.frames.shape[:3], bool) if self.mask is None else self.mask

    @property
    def judge(self) -> ClipJudge:
        """The judge of the instruments, or raise `MetricError`."""
        if self.instruments.judge is None:
            raise MetricError("no judge was given; give one as `judge`")
        return self.instruments.judge

    def _text_alignment(self) -> Figure:
        if self.target_prompt is None or not self.target_prompt.strip():
            raise MetricError("no target prompt was given")
        text = self.judge.text_features([self.target_prompt])[0]
        edited, source = (
            text_alignment(clip.features(self.judge), text=text) for clip in (self.edited, self.source)
        )
        return edited, source, self.judge.name

    def _frame_consistency(self) -> Figure:
        check_frames(self.source.frames, fewest=2)
        edited, source = (frame_consistency(clip.features(self.judge)) for clip in (self.edited, self.source))
        return edited, source, self.judge.name

    def _motion_fidelity(self) -> Figure:
        if self.mask is None:
            return self._motion_fidelity_frame()
        appears = np.flatnonzero(self.mask.any(axis=(1, 2)))
        if not len(appears):
            raise MetricError("the mask selects nothing on any frame, so there is no object to follow")
        check_frames(self.source.frames, fewest=2)
        starts = self._starts(appears[appears < len(self.mask) - 1])
        if not len(starts):
            raise MetricError("the object is on the last frame only, so there is no motion to compare")
        return self._fidelity_from(starts, of_object=True)

    def _motion_fidelity_frame(self) -> Figure:
        check_frames(self.source.frames, fewest=2)
        return self._fidelity_from(self._starts(np.arange(len(self.source.frames) - 1)), of_object=False)

    def _starts(self, frames: NDArray[np.int_]) -> NDArray[np.int_]:
        """The frames, among those given, on which points are sown."""
        # Flow never finds a point again that it lost, so for it they are sown throughout (Sundaram et al.,
        # Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow, ECCV 2010).
        if not isinstance(self.instruments.tracker, FlowTracker):
            return frames[:1]
        places = np.linspace(0, len(frames) - 1, min(len(frames), MOST_STARTS)).astype(int)
        return np.asarray(frames[places])

    def _fidelity_from(self, starts: NDArray[np.int_], *, of_object: bool) -> Figure:
        followed = [self._followed(int(start)) for start in starts]
        source, edited = (
            [t[clip].part(n) if of_object else t[clip].part(0, n) for n, t in followed] for clip in range(2)
        )
        return motion_fidelity(source, edited=edited), None, self.instruments.tracker.name

    def _followed(self, start: int) -> tuple[int, list[PointTracks]]:
        """The number of points sown over a whole frame, and the tracks of these and the object's, by clip."""
        if start not in self._tracks:
            size, tracker = self.source.frames.shape[1:3], self.instruments.tracker
            points = grid_points(size, mask=None, grid_size=DEFAULT_GRID)
            count = len(points)
            if self.mask is not None and self.mask[start].any():
                of_object = grid_points(size, mask=self.mask[start], grid_size=DEFAULT_GRID)
                points = np.concatenate([points, of_object])
            clips = (self.source, self.edited)
            self._tracks[start] = count, [c.tracks(tracker, points=points, start=start) for c in clips]
        return self._tracks[start]

    def _frame_lpips(self) -> Figure:
        lpips = self.instruments.lpips
        if lpips is None:
            raise MetricError("no LPIPS backbone was given; give one as `lpips`")
        return lpips(self.source.frames, edited=self.edited.frames), None, lpips.name

    def _background_difference(self) -> Figure:
        mask = self._given_mask()
        difference = max_difference_outside(self.source.frames, self.edited.frames, mask)
        if difference is None:
            raise MetricError("nothing lies outside the mask")
        return float(difference), None, ""

    def _warping_error(self) -> Figure:
        frames = self.source.frames
        check_frames(frames, fewest=2)
        edited, source = (
            1000 * warping_error(clip.frames, source=frames, mask=self.selected, flow=self.source.flow)
            for clip in (self.edited, self.source)
        )
        return edited, source, ""

    def _colour_jitter(self) -> Figure:
        check_frames(self.source.frames, fewest=2)
        edited, source = (
            colour_jitter(clip.frames, mask=self.selected) for clip in (self.edited, self.source)
        )
        return edited, source, ""

    def _mask_overlap(self) -> Figure:
        if self.edited_mask is None or self.object_mask is None:
            raise MetricError("no masks of the object before and after were given; select it in the edit too")
        return region_similarity(self.edited_mask, truth=self.object_mask), None, ""

    def _kept(self, measure: Callable[..., float], *, outside: bool) -> Figure:
        region = ~self._given_mask() if outside else self.selected
        return measure(self.source.frames, edited=self.edited.frames, region=region), None, ""

    def _given_mask(self) -> Mask:
        if self.mask is None:
            raise MetricError("no mask was given, so there is no outside")
        return self.mask


_COMPUTE: Mapping[str, Callable[[MeasuredEdit], Figure]] = {
    "text_alignment": MeasuredEdit._text_alignment,
    "frame_consistency": MeasuredEdit._frame_consistency,
    "motion_fidelity": MeasuredEdit._motion_fidelity,
    "motion_fidelity_frame": MeasuredEdit._motion_fidelity_frame,
    "frame_lpips": MeasuredEdit._frame_lpips,
    "ssim_inside": lambda edit: edit._kept(ssim, outside=False),
    "psnr_inside": lambda edit: edit._kept(psnr, outside=False),
    "ssim_outside": lambda edit: edit._kept(ssim, outside=True),
    "psnr_outside": lambda edit: edit._kept(psnr, outside=True),
    "background_difference": MeasuredEdit._background_difference,
    "warping_error": MeasuredEdit._warping_error,
    "colour_jitter": MeasuredEdit._colour_jitter,
    "mask_overlap": MeasuredEdit._mask_overlap,
}
"""What computes each of `METRICS`."""


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
    """Evaluate an edit. `MeasuredEdit.measure` does so one metric at a time. Raises `InputError`.

    Args:
        source: (F, H, W, 3) uint8 RGB, or a `MeasuredClip` of it that several edits share.
        edited: of the same shape.
        mask: (F, H, W) or (H, W) bool, the selection; None where the whole frame was edited.
        object_mask: the object in the source, if the selection left room round it; None takes `mask`.
        edited_mask: the object in the edit, for the overlap of outlines.
        names: metrics wanted, from `METRICS`; None takes all.
        instruments: None takes those that need no weights.

    Returns:
        One measurement for each name, in the order of `METRICS`; those that these clips or instruments
        forbid have no value but a note.
    """
    wanted = known_metrics(names)
    edit = MeasuredEdit(
        source=source if isinstance(source, MeasuredClip) else MeasuredClip(source),
        edited=MeasuredClip(edited),
        mask=mask,
        target_prompt=target_prompt,
        object_mask=object_mask,
        edited_mask=edited_mask,
        instruments=instruments,
    )
    return tuple(edit.measure(metric.name) for metric in wanted)
