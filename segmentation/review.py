"""The health of one object's masks within a project: what the strip under the player shows."""

from __future__ import annotations

from collections.abc import Iterator

from segmentation.base import FrameMask
from segmentation.health import FrameHealth, assess_masks
from segmentation.project import Project
from segmentation.resemblance import measure_resemblances
from segmentation.tracks import Tracks


def review_object(tracks: Tracks, *, project: Project, number: int) -> tuple[FrameHealth, ...]:
    """Assess an object's masks once they are followed; few of them are in memory at a time.

    Args:
        tracks: of the clip.
        project: with the object.
        number: of the object.

    Returns:
        One for each frame.

    Raises:
        SelectionError: if there is no such object.
        FramesError: if the project belongs to another clip.
    """
    confirmed = project.object(number).confirmed_frames

    def masks() -> Iterator[FrameMask]:
        for index in range(project.num_frames):
            yield tracks.mask(project, number=number, frame_index=index)

    likes = measure_resemblances(tracks.frames, masks=masks(), confirmed=confirmed, cuts=tracks.cuts)
    return assess_masks(masks(), confirmed=confirmed, cuts=tracks.cuts, resemblances=likes)
