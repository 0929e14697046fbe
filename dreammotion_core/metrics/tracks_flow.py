"""The embedded tracker: chains of optical flow that end where flow there and back disagree."""

from __future__ import annotations

import numpy as np

from dreammotion_core.metrics.clips import check_frames
from dreammotion_core.metrics.flow import consecutive_flows, is_consistent, sample
from dreammotion_core.metrics.tracks import Points, PointTracks
from dreammotion_core.values import Frames


class FlowTracker:
    """Follows points by DIS optical flow from frame to frame; needs no weights.

    A point that is hidden, leaves the frame or fails the check there and back is not seen again.
    """

    name = "DIS flow"

    def __call__(self, frames: Frames, *, points: Points) -> PointTracks:
        """Tracks of (T, 2) points of the first frame.

        Raises:
            VideoError: if the clip has fewer than two frames, or is no clip.
        """
        check_frames(frames, fewest=2)
        positions, visible = [points], [np.ones(len(points), bool)]
        for there, back in consecutive_flows(frames):
            stays = visible[-1] & is_consistent(there, back=back, points=positions[-1])
            positions.append(positions[-1] + sample(there, points=positions[-1]))
            visible.append(stays)
        return PointTracks(np.stack(positions), np.stack(visible), frames.shape[1:3])
