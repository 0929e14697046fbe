"""An edit being measured: each measure asked of clips, masks and instruments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dreammotion_core.errors import MetricError
from dreammotion_core.metrics.background import background_proof
from dreammotion_core.metrics.clip_scores import ClipJudge, Features, frame_consistency, text_alignment
from dreammotion_core.metrics.clips import check_pair
from dreammotion_core.metrics.colour_jitter import colour_jitter
from dreammotion_core.metrics.fidelity import psnr, ssim
from dreammotion_core.metrics.flow import consecutive_flows
from dreammotion_core.metrics.instruments import Instruments
from dreammotion_core.metrics.mask_overlap import region_similarity
from dreammotion_core.metrics.motion_fidelity import motion_fidelity
from dreammotion_core.metrics.tracks import DEFAULT_GRID, Points, PointTracks, grid_points
from dreammotion_core.metrics.warping import warping_error
from dreammotion_core.values import Frames, Mask


@dataclass(frozen=True, eq=False)
class MeasuredEdit:
    """An edit being measured; what several measures need is worked out once.

    Attributes:
        source, edited: (F, H, W, 3) uint8 RGB, checked.
        mask: (F, H, W), what was selected, or None for the whole frame.
        object_mask, edited_mask: (F, H, W), where the object is before and after, or None.
        target_prompt: for text alignment.
        instruments: that measure.
    """

    source: Frames
    edited: Frames
    mask: Mask | None
    object_mask: Mask | None
    edited_mask: Mask | None
    target_prompt: str | None
    instruments: Instruments

    @property
    def selected(self) -> Mask:
        """The mask; the whole frame where there is none."""
        return np.ones(self.source.shape[:3], bool) if self.mask is None else self.mask

    @property
    def judge(self) -> ClipJudge:
        """The judge of CLIP scores; refused if there is none."""
        if self.instruments.judge is None:
            raise MetricError("no judge was given; load one with ClipJudge.from_pretrained")
        return self.instruments.judge

    @cached_property
    def features(self) -> Features:
        """CLIP features of the edit."""
        return self.judge.image_features(self.edited)

    @cached_property
    def source_features(self) -> Features:
        """CLIP features of the source."""
        return self.judge.image_features(self.source)

    def text_alignment(self) -> Figure:
        """Text-Align."""
        if self.target_prompt is None:
            raise MetricError("no target prompt was given")
        text = self.judge.text_features([self.target_prompt])[0]
        scores = [text_alignment(features, text=text) for features in (self.features, self.source_features)]
        return scores[0], scores[1], self.judge.name

    def frame_consistency(self) -> Figure:
        """Frame-Con."""
        check_pair(self.source, edited=self.edited, fewest=2)
        scores = frame_consistency(self.features), frame_consistency(self.source_features)
        return *scores, self.judge.name

    @cached_property
    def first_frame_points(self) -> tuple[Points, Points]:
        """Points of the whole first frame, and of the object on it, if there is one to be seen."""
        size = self.source.shape[1:3]
        everywhere = grid_points(size, mask=None, grid_size=DEFAULT_GRID)
        if self.mask is None or not self.mask[0].any():
            return everywhere, everywhere[:0]
        return everywhere, grid_points(size, mask=self.mask[0], grid_size=DEFAULT_GRID)

    @cached_property
    def first_frame_tracks(self) -> list[PointTracks]:
        """Of all these points, in the source and in the edit."""
        points = np.concatenate(self.first_frame_points)
        return [self.instruments.tracker(clip, points=points) for clip in (self.source, self.edited)]

    def motion_fidelity(self) -> Figure:
        """Of the object, from the first frame that it is on; of the frame without a mask."""
        if self.mask is None:
            return self.motion_fidelity_frame()
        everywhere, of_object = self.first_frame_points
        if len(of_object):
            return self._compared(*(tracks.part(len(everywhere)) for tracks in self.first_frame_tracks))
        appears = np.flatnonzero(self.mask.any(axis=(1, 2)))
        start = appears[0] if len(appears) else 0
        points = grid_points(self.source.shape[1:3], mask=self.mask[start], grid_size=DEFAULT_GRID)
        clips = (self.source[start:], self.edited[start:])
        return self._compared(*(self.instruments.tracker(clip, points=points) for clip in clips))

    def motion_fidelity_frame(self) -> Figure:
        """Of the whole frame."""
        count = len(self.first_frame_points[0])
        return self._compared(*(tracks.part(0, count) for tracks in self.first_frame_tracks))

    def _compared(self, source: PointTracks, edited: PointTracks) -> Figure:
        return motion_fidelity(source, edited=edited), None, self.instruments.tracker.name

    def frame_lpips(self) -> Figure:
        """Frame-LPIPS."""
        lpips = self.instruments.lpips
        if lpips is None:
            raise MetricError("no LPIPS backbone was given; load one with FrameLpips")
        return lpips(self.source, edited=self.edited), None, lpips.name

    def background_difference(self) -> Figure:
        """Largest change outside the mask."""
        difference = background_proof(self.source, edited=self.edited, mask=self._given_mask()).max_difference
        if difference is None:
            raise MetricError("nothing lies outside the mask")
        return float(difference), None, ""

    def warping_error(self) -> Figure:
        """Within the mask, in thousandths."""
        check_pair(self.source, edited=self.edited, fewest=2)
        flows = consecutive_flows(self.source)
        errors = [
            warping_error(clip, source=self.source, mask=self.selected, flows=flows)
            for clip in (self.edited, self.source)
        ]
        return 1000 * errors[0], 1000 * errors[1], ""

    def colour_jitter(self) -> Figure:
        """Within the mask."""
        check_pair(self.source, edited=self.edited, fewest=2)
        jitter = [colour_jitter(clip, mask=self.selected) for clip in (self.edited, self.source)]
        return jitter[0], jitter[1], ""

    def mask_overlap(self) -> Figure:
        """Of the object before and after."""
        if self.edited_mask is None or self.object_mask is None:
            raise MetricError("no masks of the object before and after were given; select it in the edit too")
        return region_similarity(self.edited_mask, truth=self.object_mask), None, ""

    def kept(self, measure: Callable[..., float], *, outside: bool) -> Figure:
        """SSIM or PSNR within or outside the mask."""
        region = ~self._given_mask() if outside else self.selected
        return measure(self.source, edited=self.edited, region=region), None, ""

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
