"""A user who knows the truth: where they click first, and how they correct the worst frame.

Works with any session, the way the page does: with `Tracks` and `begin_prompt`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dreammotion_core.metrics.mask_overlap import region_similarity
from segmentation import Click, Project, Prompt, SegmentationSession, Selection, Tracks, begin_prompt
from segmentation.base import FrameMask, Frames
from segmentation.propagation import selection_from_mask

OBJECT = 1
MOST_CORRECTIONS = 3
CONTENT = 0.9
"""IoU of the worst frame from which on the user leaves everything as it is."""


def click_inside(mask: FrameMask, *, is_positive: bool = True) -> Click:
    """A click in the middle of the largest connected part of a mask, as far from its rim as can be.

    Args:
        mask: (H, W) bool, not empty; the rim of the frame is a rim too.
        is_positive: the sign of the click.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    spot = selection_from_mask(labels == largest, frame_index=0).clicks[0]
    return Click(spot.x, spot.y, is_positive)


def correcting_click(mask: FrameMask, *, truth: FrameMask) -> Click:
    """The click on the largest error: positive where something is missing, negative where it is too much.

    Args:
        mask: (H, W) bool, not equal to `truth`.
        truth: (H, W) bool.
    """
    missed, false = truth & ~mask, mask & ~truth
    is_missing = _largest_area(missed) >= _largest_area(false)
    return click_inside(missed if is_missing else false, is_positive=is_missing)


def correct_worst_frames(
    session: SegmentationSession, selection: Selection, *, frames: Frames, truth: NDArray[np.bool_]
) -> tuple[list[FrameMask], int]:
    """Select, propagate, then up to three times correct the frame that looks worst, as in the page.

    Each correction is one click on the largest error of the frame with the lowest IoU: it changes the mask
    that is seen there, and adds to earlier clicks on the same frame. Where the object is absent, the user
    says so instead. A corrected frame that became better is followed both ways up to the next corrected
    ones; one that did not waits for the next click on it.

    Args:
        session: of the clip.
        selection: what is clicked first.
        frames: (F, H, W, 3) uint8 RGB, of the clip.
        truth: (F, H, W) bool.

    Returns:
        F masks, (H, W) bool, and how many corrections were made, at most three; fewer where the user is
        content before.
    """
    tracks = Tracks(session, frames)
    project = tracks.new_project().add_object().with_prompt(OBJECT, Prompt(selection))
    masks = _followed(tracks, project)
    waiting: dict[int, Prompt] = {}
    for corrections in range(MOST_CORRECTIONS):
        overlaps = [region_similarity(mask, truth=true) for mask, true in zip(masks, truth, strict=True)]
        worst = int(np.argmin(overlaps))
        if overlaps[worst] >= CONTENT:
            return masks, corrections
        before = waiting.get(worst) or begin_prompt(tracks, project=project, number=OBJECT, frame_index=worst)
        waiting[worst] = prompt = _corrected(before, tracks, truth[worst])
        if region_similarity(tracks.preview(prompt), truth=truth[worst]) > overlaps[worst]:
            project = project.with_prompt(OBJECT, prompt)
            masks = _followed(tracks, project)
    return masks, MOST_CORRECTIONS


def _corrected(prompt: Prompt, tracks: Tracks, truth: FrameMask) -> Prompt:
    """The prompt with one more click, on the largest error of what it gives."""
    if not truth.any():
        return Prompt.of_mask(prompt.frame_index, truth)
    seen = np.zeros_like(truth) if prompt.is_empty else tracks.preview(prompt)
    return prompt.with_click(correcting_click(seen, truth=truth))


def _followed(tracks: Tracks, project: Project) -> list[FrameMask]:
    for _ in tracks.update(project):
        pass
    return [tracks.mask(project, number=OBJECT, frame_index=index) for index in range(project.num_frames)]


def _largest_area(mask: FrameMask) -> int:
    """Pixels of the largest connected part."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return int(statistics[1:, cv2.CC_STAT_AREA].max(initial=0))
