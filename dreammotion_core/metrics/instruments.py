"""What measures: the judge of CLIP scores, the tracker of motion, the backbone of LPIPS."""

from __future__ import annotations

from dataclasses import dataclass, field

from dreammotion_core.evaluation.judges import ClipJudge
from dreammotion_core.metrics.perceptual import FrameLpips
from dreammotion_core.metrics.tracks import PointTracker
from dreammotion_core.metrics.tracks_flow import FlowTracker


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
