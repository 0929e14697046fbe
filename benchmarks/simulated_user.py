"""A user who knows the truth: where they click first, and how they correct the worst frame.

Pure functions over a session's public methods, so that any segmenter can be measured with them.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.davis_measures import region_similarity
from segmentation import Click, SegmentationSession, Selection
from segmentation.base import FrameMask
from segmentation.propagation import selection_from_mask

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
    session: SegmentationSession, selection: Selection, *, truth: NDArray[np.bool_]
) -> tuple[list[FrameMask], int]:
    """Select, propagate, then up to three times correct the frame that looks worst.

    Each correction is one click on the largest error of the frame with the lowest IoU. On a frame without
    clicks so far, it is joined by one inside the true object, because a session asks for a positive click;
    further corrections of the frame add to its clicks. A corrected frame that became better is followed
    both ways up to the next frames with clicks; one that did not is left as it was.

    Args:
        session: of the clip.
        selection: what is clicked first.
        truth: (F, H, W) bool.

    Returns:
        F masks, (H, W) bool, and how many corrections were made, at most three; fewer where the user is
        content before.
    """
    walked = dict(session.propagate(selection))
    masks = [walked[index] for index in range(len(truth))]
    selections, seen = {selection.frame_index: selection}, list(masks)
    confirmed = {selection.frame_index}
    for corrections in range(MOST_CORRECTIONS):
        overlaps = [region_similarity(mask, truth=true) for mask, true in zip(masks, truth, strict=True)]
        worst = int(np.argmin(overlaps))
        if overlaps[worst] >= CONTENT:
            return masks, corrections
        selections[worst] = _corrected(selections.get(worst), seen[worst], truth[worst], worst)
        seen[worst] = _answer(session, selections[worst], like=truth[worst])
        if region_similarity(seen[worst], truth=truth[worst]) > overlaps[worst]:
            confirmed.add(worst)
            for index, mask in _followed_between(session, worst, seen[worst], confirmed, len(truth)):
                masks[index] = seen[index] = mask
    return masks, MOST_CORRECTIONS


def _corrected(earlier: Selection | None, mask: FrameMask, truth: FrameMask, index: int) -> Selection:
    """The clicks on a frame, with one more on its largest error."""
    selection = earlier or Selection(index, (click_inside(truth),) if truth.any() else ())
    click = correcting_click(mask, truth=truth)
    # An object that is missed altogether asks for the click that is there already.
    return selection if click in selection.clicks else selection.with_click(click)


def _answer(session: SegmentationSession, selection: Selection, *, like: FrameMask) -> FrameMask:
    """The session's mask; none where the object is not there, so that only negative clicks are left."""
    if any(click.is_positive for click in selection.clicks) or selection.box is not None:
        return session.mask_at(selection)
    return np.zeros_like(like)


def _followed_between(
    session: SegmentationSession, start: int, mask: FrameMask, confirmed: set[int], num_frames: int
) -> Iterator[tuple[int, FrameMask]]:
    """A corrected mask and what follows from it, up to the confirmed frames on either side."""
    if not mask.any():
        # That the object is absent here says nothing about the frames round it.
        yield start, mask
        return
    first = max((index + 1 for index in confirmed if index < start), default=0)
    stop = min((index for index in confirmed if index > start), default=num_frames)
    yield from session.follow(start, mask, within=range(first, stop))


def _largest_area(mask: FrameMask) -> int:
    """Pixels of the largest connected part."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return int(statistics[1:, cv2.CC_STAT_AREA].max(initial=0))
