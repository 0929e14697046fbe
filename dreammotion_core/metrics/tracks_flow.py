"""The embedded tracker: chains of optical flow that end where flow there and back disagree."""

from __future__ import annotations

import numpy as np

from dreammotion_core.evaluation.pixels import check_frames
from dreammotion_core.metrics.flow import Motion, is_consistent, sample
from dreammotion_core.metrics.tracks import Points, PointTracks
from dreammotion_core.values import Frames


class FlowTracker:
    """Follows points by DIS optical flow from frame to frame; needs no weights.

    A point that is hidden, leaves the frame or fails the check there and back is not seen again.
    """

    name = "RGB DIS flow"

    def __call__(self, frames: Frames, *, points: Points) -> PointTracks:
        """Tracks of (T, 2) points of the first frame.

        Raises:
            VideoError: if the clip has fewer than two frames, or is no clip.
        """
        check_frames(frames, fewest=2)
        return self.along(Motion.of(frames), points=points)

    def along(self, motion: Motion, *, points: Points) -> PointTracks:
        """The same where the motion of the clip is known already, of two frames at least."""
        positions, visible = [points], [np.ones(len(points), bool)]
        for there, back in motion.flows:
            stays = visible[-1] & is_consistent(there, back=back, points=positions[-1])
            positions.append(positions[-1] + sample(there, points=positions[-1]))
            visible.append(stays)
        height, width = motion.flows[0][0].shape[:2]
        return PointTracks(np.stack(positions), np.stack(visible), (height, width))
