"""A clip being measured: what several measures of it, or of several edits of it, share is worked out once."""

from __future__ import annotations

from functools import cached_property

from dreammotion_core.evaluation.judges import ClipJudge, Features
from dreammotion_core.evaluation.pixels import check_frames
from dreammotion_core.metrics.flow import Motion
from dreammotion_core.metrics.tracks import Points, PointTracker, PointTracks
from dreammotion_core.metrics.tracks_flow import FlowTracker
from dreammotion_core.values import Frames


class MeasuredClip:
    """Keeps what measuring found out about a clip. Hand the same one to every edit of a source.

    Args:
        frames: (F, H, W, 3) uint8 RGB.

    Raises:
        VideoError: if it is no clip.
    """

    def __init__(self, frames: Frames) -> None:
        check_frames(frames)
        self.frames = frames
        self._judged: tuple[ClipJudge, Features] | None = None

    @cached_property
    def motion(self) -> Motion:
        """Its optical flow; the costliest thing to know, 16 bytes a pixel."""
        return Motion.of(self.frames)

    def knows_features(self, judge: ClipJudge) -> bool:
        """Whether `features` costs nothing."""
        return self._judged is not None and self._judged[0] is judge

    def features(self, judge: ClipJudge) -> Features:
        """(F, D) unit vectors of its frames; those of the latest judge are kept."""
        if self._judged is None or self._judged[0] is not judge:
            self._judged = judge, judge.image_features(self.frames)
        return self._judged[1]

    def tracks(self, tracker: PointTracker, *, points: Points, start: int = 0) -> PointTracks:
        """Tracks of (T, 2) points of one of its frames, from that frame on.

        Raises:
            VideoError: if there are fewer than two frames from there on.
        """
        check_frames(self.frames[start:], fewest=2)
        if isinstance(tracker, FlowTracker):
            return tracker.along(self.motion.part(start, None), points=points)
        return tracker(self.frames[start:], points=points)

    def part(self, first: int, end: int | None = None) -> MeasuredClip:
        """The clip from one frame to before another, with what is known of it."""
        part = MeasuredClip(self.frames[first:end])
        if "motion" in vars(self):
            part.motion = self.motion.part(first, end)
        if self._judged is not None:
            judge, features = self._judged
            part._judged = judge, features[first:end]
        return part
