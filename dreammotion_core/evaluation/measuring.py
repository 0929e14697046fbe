"""An edit being measured: each measure asked of clips, masks and instruments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.composite import max_difference_outside
from dreammotion_core.errors import InputError, MetricError
from dreammotion_core.evaluation.judges import ClipJudge, frame_consistency, text_alignment
from dreammotion_core.evaluation.pixels import check_frames, check_mask, check_pair
from dreammotion_core.metrics.colour_jitter import colour_jitter
from dreammotion_core.metrics.fidelity import psnr, ssim
from dreammotion_core.metrics.instruments import Instruments
from dreammotion_core.metrics.mask_overlap import region_similarity
from dreammotion_core.metrics.measured_clip import MeasuredClip
from dreammotion_core.metrics.measurement import Measurement
from dreammotion_core.evaluation.motion import motion_fidelity
from dreammotion_core.metrics.registry import known_metrics
from dreammotion_core.metrics.tracks import DEFAULT_GRID, PointTracks, grid_points
from dreammotion_core.metrics.tracks_flow import FlowTracker
from dreammotion_core.metrics.warping import warping_error
from dreammotion_core.values import Mask

MOST_STARTS = 8
"""Frames at the most, evenly spread, on which points are sown that optical flow follows."""


@dataclass(eq=False, kw_only=True)
class MeasuredEdit:
    """An edit being measured, one measure after the other; what several need is worked out once.

    Attributes:
        source: the clip before. One that other edits share keeps what is known of it.
        edited: the clip after, of the same shape.
        mask: (F, H, W) or (H, W) bool, what was selected; None where the whole frame was.
        target_prompt: what the edit should show, for text alignment.
        object_mask: where the object is in the source, if the selection left room round it; None takes
            `mask`.
        edited_mask: where the object is in the edit, for the overlap of outlines.
        instruments: the models behind some measures; by default those that need no weights.

    Raises:
        InputError: if the clips or masks do not fit one another.
    """

    source: MeasuredClip
    edited: MeasuredClip
    mask: Mask | None = None
    target_prompt: str | None = None
    object_mask: Mask | None = None
    edited_mask: Mask | None = None
    instruments: Instruments = field(default_factory=Instruments)

    def __post_init__(self) -> None:
        check_pair(self.source.frames, edited=self.edited.frames)
        if self.object_mask is None:
            self.object_mask = self.mask
        for name in ("mask", "object_mask", "edited_mask"):
            if (given := getattr(self, name)) is not None:
                setattr(self, name, check_mask(given, frames=self.source.frames))

    def measure(self, name: str) -> Measurement:
        """One of `METRICS`; without a value but with a note where clips or instruments do not allow it.

        Raises:
            ConfigError: if there is no measure of this name.
        """
        (metric,) = known_metrics([name])
        try:
            value, source_value, judge = MEASURES[name](self)
        except InputError as error:
            return Measurement(metric, None, note=str(error))
        return Measurement(metric, value, source_value, judge)

    def beginning(self, num_frames: int) -> MeasuredEdit:
        """The first frames of it, with what is known of them; to try what a measure costs."""
        masks = [
            None if mask is None else mask[:num_frames]
            for mask in (self.mask, self.object_mask, self.edited_mask)
        ]
        return replace(
            self,
            source=self.source.part(0, num_frames),
            edited=self.edited.part(0, num_frames),
            mask=masks[0],
            object_mask=masks[1],
            edited_mask=masks[2],
        )

    @property
    def selected(self) -> Mask:
        """The mask; the whole frame where there is none."""
        return np.ones(self.source.frames.shape[:3], bool) if self.mask is None else self.mask

    @property
    def judge(self) -> ClipJudge:
        """The judge of CLIP scores; refused if there is none."""
        if self.instruments.judge is None:
            raise MetricError("no judge was given; give --judge, or load a ClipJudge")
        return self.instruments.judge

    def text_alignment(self) -> Figure:
        """Text-Align."""
        if self.target_prompt is None or not self.target_prompt.strip():
            raise MetricError("no target prompt was given")
        text = self.judge.text_features([self.target_prompt])[0]
        clips = (self.edited, self.source)
        scores = [text_alignment(clip.features(self.judge), text=text) for clip in clips]
        return scores[0], scores[1], self.judge.name

    def frame_consistency(self) -> Figure:
        """Frame-Con."""
        check_frames(self.source.frames, fewest=2)
        scores = [frame_consistency(clip.features(self.judge)) for clip in (self.edited, self.source)]
        return scores[0], scores[1], self.judge.name

    def motion_fidelity(self) -> Figure:
        """Of the object; of the frame without a mask."""
        if self.mask is None:
            return self.motion_fidelity_frame()
        appears = np.flatnonzero(self.mask.any(axis=(1, 2)))
        if not len(appears):
            raise MetricError("the mask selects nothing on any frame, so there is no object to follow")
        check_frames(self.source.frames, fewest=2)
        starts = self._starts(appears[appears < len(self.mask) - 1])
        if not len(starts):
            raise MetricError("the object is on the last frame only, so there is no motion to compare")
        return self._compared(starts, of_object=True)

    def motion_fidelity_frame(self) -> Figure:
        """Of the whole frame."""
        check_frames(self.source.frames, fewest=2)
        return self._compared(self._starts(np.arange(len(self.source.frames) - 1)), of_object=False)

    def _starts(self, frames: NDArray[np.int_]) -> NDArray[np.int_]:
        """On which of some frames points are sown.

        Flow never finds a point again that it lost, so with it they are sown throughout, as Sundaram et al.
        do in "Dense point trajectories by GPU-accelerated large displacement optical flow" (ECCV 2010).
        """
        if not isinstance(self.instruments.tracker, FlowTracker):
            return frames[:1]
        places = np.linspace(0, len(frames) - 1, min(len(frames), MOST_STARTS)).astype(int)
        return np.asarray(frames[places])

    def _compared(self, starts: NDArray[np.int_], *, of_object: bool) -> Figure:
        followed = [self._followed(int(start)) for start in starts]
        source, edited = (
            [
                tracks[clip].part(count) if of_object else tracks[clip].part(0, count)
                for count, tracks in followed
            ]
            for clip in range(2)
        )
        return motion_fidelity(source, edited=edited), None, self.instruments.tracker.name

    def _followed(self, start: int) -> tuple[int, list[PointTracks]]:
        """Points sown on a frame, over all of it and then on the object, followed in the source and the edit.

        Returns:
            How many are those over all of it, and the tracks.
        """
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

    @cached_property
    def _tracks(self) -> dict[int, tuple[int, list[PointTracks]]]:
        return {}

    def frame_lpips(self) -> Figure:
        """Frame-LPIPS."""
        lpips = self.instruments.lpips
        if lpips is None:
            raise MetricError("no LPIPS backbone was given; give --lpips, or load a FrameLpips")
        return lpips(self.source.frames, edited=self.edited.frames), None, lpips.name

    def background_difference(self) -> Figure:
        """Largest change outside the mask."""
        mask = self._given_mask()
        difference = max_difference_outside(self.source.frames, self.edited.frames, mask)
        if difference is None:
            raise MetricError("nothing lies outside the mask")
        return float(difference), None, ""

    def warping_error(self) -> Figure:
        """Within the mask, in thousandths."""
        frames = self.source.frames
        check_frames(frames, fewest=2)
        errors = [
            warping_error(clip.frames, source=frames, mask=self.selected, motion=self.source.motion)
            for clip in (self.edited, self.source)
        ]
        return 1000 * errors[0], 1000 * errors[1], ""

    def colour_jitter(self) -> Figure:
        """Within the mask."""
        check_frames(self.source.frames, fewest=2)
        jitter = [colour_jitter(clip.frames, mask=self.selected) for clip in (self.edited, self.source)]
        return jitter[0], jitter[1], ""

    def mask_overlap(self) -> Figure:
        """Of the object before and after."""
        if self.edited_mask is None or self.object_mask is None:
            raise MetricError("no masks of the object before and after were given; select it in the edit too")
        return region_similarity(self.edited_mask, truth=self.object_mask), None, ""

    def kept(self, measure: Callable[..., float], *, outside: bool) -> Figure:
        """SSIM or PSNR within or outside the mask."""
        region = ~self._given_mask() if outside else self.selected
        return measure(self.source.frames, edited=self.edited.frames, region=region), None, ""

    def _given_mask(self) -> Mask:
        if self.mask is None:
            raise MetricError("no mask was given, so there is no outside")
        return self.mask


Figure = tuple[float, float | None, str]
"""Of the edit, of the source by itself, and by which judge."""

MEASURES: Mapping[str, Callable[[MeasuredEdit], Figure]] = {
    "text_alignment": MeasuredEdit.text_alignment,
    "frame_consistency": MeasuredEdit.frame_consistency,
    "motion_fidelity": MeasuredEdit.motion_fidelity,
    "motion_fidelity_frame": MeasuredEdit.motion_fidelity_frame,
    "frame_lpips": MeasuredEdit.frame_lpips,
    "ssim_inside": lambda edit: edit.kept(ssim, outside=False),
    "psnr_inside": lambda edit: edit.kept(psnr, outside=False),
    "ssim_outside": lambda edit: edit.kept(ssim, outside=True),
    "psnr_outside": lambda edit: edit.kept(psnr, outside=True),
    "background_difference": MeasuredEdit.background_difference,
    "warping_error": MeasuredEdit.warping_error,
    "colour_jitter": MeasuredEdit.colour_jitter,
    "mask_overlap": MeasuredEdit.mask_overlap,
}
