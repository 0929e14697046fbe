"""Carry a mask from frame to frame along dense optical flow, or by its look where the flow fails.

`follow` serves every segmenter that knows single images only, and takes how it corrects a carried mask.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask, Frames
from segmentation.clicks import Box, Click, Selection
from segmentation.cuts import is_cut
from segmentation.errors import SceneCutWarning
from segmentation.vision import (
    Flow,
    describe_region,
    flow_disagreement,
    lengths,
    optical_flow,
    reduced,
    reduction,
    sample,
    window_round,
)

SEARCH_LONG_SIDE = 160  # Pixels; of the copies on which an object is searched by its look.
LOWEST_TRUST = 0.25  # Trust below which an object counts as lost.
SOLID_TRUST = 0.6  # Trust in the flow from which the look is not asked.
FOUND_TRUST = 0.7  # Least trust in the look of an object found again.
FOUND_OUTLINE = 0.6  # Least edge strength of an outline found again, against that when last seen.
WHOLE_SHARE = 0.5  # Least share of the first mask's area at which an object counts as whole.
STRANGE_DIFFERENCE = 48.0  # Root mean square, in 8-bit levels, at which looks have nothing in common.


@dataclass(frozen=True, eq=False)
class CarriedMask:
    """A mask as the flow brings it to the next frame.

    Attributes:
        mask: (H, W) bool.
        trust: in [0, 1]: the share of its pixels whose flow there and back agree, or the likeness of the
            object where it was found by its look.
        disagreement: (H, W) pixels by which the flow there and back differ; as large as the frame where
            the object was found by its look.
    """

    mask: FrameMask
    trust: float
    disagreement: NDArray[np.float32]


Correct = Callable[[int, CarriedMask], FrameMask]
"""A segmenter's mask from a carried one: (frame number, carried mask) -> (H, W) bool."""

FlowBetween = Callable[[int, int], Flow]
"""(number of a frame, number of its neighbour) -> (H, W, 2) pixels from the first to the second."""


def follow(
    frames: Frames,
    start: int,
    first_mask: FrameMask,
    *,
    correct: Correct,
    within: range | None = None,
    flow_between: FlowBetween | None = None,
) -> Iterator[tuple[int, FrameMask]]:
    """Stream the masks of a clip, (frame number, (H, W) bool), from the 0-based `start` outwards.

    First `start`, then the later frames in order, then the earlier ones backwards. While the object is lost
    (nothing left, or the flow contradicts itself on most of it) the masks are empty. It is found again where
    it looks as it last did, but never beyond a scene cut: from there on all masks are empty, with a
    `SceneCutWarning`. `correct` is called on every carried mask that can be trusted, `flow_between` knows
    flows already, and `within` None is the whole clip.
    """
    yield start, first_mask
    within = range(len(frames)) if within is None else within
    if flow_between is None:
        flow_between = partial(_flow_between, frames)
    for indices in (range(start + 1, within.stop), range(start - 1, within.start - 1, -1)):
        mask, previous = first_mask, start
        last_mask, last_seen = first_mask, start
        for index in _before_cut(frames, start, indices):
            if mask.any():
                flows = flow_between(previous, index), flow_between(index, previous)
                carried = carry_mask(mask, previous=frames[previous], frame=frames[index], flows=flows)
            else:
                carried = find_again(last_mask, seen=frames[last_seen], frame=frames[index])
            is_lost = carried.trust < LOWEST_TRUST
            mask = np.zeros_like(mask) if is_lost else correct(index, carried)
            # What little is left just before a loss would be found everywhere.
            if mask.sum() >= WHOLE_SHARE * first_mask.sum():
                last_mask, last_seen = mask, index
            previous = index
            yield index, mask
        beyond = indices[abs(previous - start) :]
        if beyond:
            first, last = sorted((beyond[0], beyond[-1]))
            message = (
                f"frames {first} to {last} show another scene, into which nothing is followed: their masks "
                "are empty. If the object is in it, select it there too; Tracks knows all scenes of a clip"
            )
            warnings.warn(message, SceneCutWarning, stacklevel=3)
        for index in beyond:
            yield index, np.zeros_like(first_mask)


def _flow_between(frames: Frames, source: int, target: int) -> Flow:
    return optical_flow(frames[source], frames[target])


def _before_cut(frames: Frames, start: int, indices: range) -> Iterator[int]:
    """The frames after or before `start` that show the same scene."""
    previous = start
    for index in indices:
        # In the order of time, so that the same cuts are found both ways, and by `find_cuts`.
        earlier, later = sorted((previous, index))
        if is_cut(frames[earlier], frame=frames[later]):
            return
        yield index
        previous = index


def carry_mask(mask: FrameMask, *, previous: Frame, frame: Frame, flows: tuple[Flow, Flow]) -> CarriedMask:
    """The object of an (H, W) bool mask of the previous frame on this one.

    Optical flow misses jumps longer than the object's own structure. Where it contradicts itself, the
    object is also searched by its look, and the answer with more trust counts. `flows` are (H, W, 2), there
    and back.
    """
    carried = _carry_by_flow(mask, *flows)
    if carried.trust >= SOLID_TRUST or not mask.any():
        return carried
    return max(carried, _carry_by_look(mask, previous, frame), key=lambda candidate: candidate.trust)


def find_again(mask: FrameMask, *, seen: Frame, frame: Frame) -> CarriedMask:
    """An object that was last whole on `seen`, on a later or earlier frame.

    The mask at the place that looks like the object and has an outline of its own (a wall of the object's
    colour has none); an empty mask with trust 0 if no place does.
    """
    found = _carry_by_look(mask, seen, frame)
    if found.trust >= FOUND_TRUST:
        outline, outline_before = (describe_region(*pair)[0] for pair in ((frame, found.mask), (seen, mask)))
        if outline >= FOUND_OUTLINE * outline_before:
            return found
    return replace(found, mask=np.zeros_like(mask), trust=0.0)


def _carry_by_flow(mask: FrameMask, forth: Flow, back: Flow) -> CarriedMask:
    height, width = mask.shape
    moved = sample(mask.astype(np.float32), back) > 0.5
    round_trip = flow_disagreement(back, forth)
    tolerance = 0.02 * max(height, width) ** 0.5 + 0.1 * lengths(back) + 0.5
    trust = float((round_trip[moved] < tolerance[moved]).mean()) if moved.any() else 0.0
    return CarriedMask(mask=moved, trust=trust, disagreement=round_trip)


def _carry_by_look(mask: FrameMask, previous: Frame, frame: Frame) -> CarriedMask:
    """The mask shifted to where the frame looks most like the object did."""
    height, width = mask.shape
    unknown = np.full(mask.shape, max(height, width), np.float32)
    small = reduced(mask.astype(np.uint8), SEARCH_LONG_SIDE, interpolation=cv2.INTER_NEAREST)
    if not small.any():
        return CarriedMask(mask=np.zeros_like(mask), trust=0.0, disagreement=unknown)
    old, new = (reduced(image, SEARCH_LONG_SIDE) for image in (previous, frame))
    left, top, across, down = cv2.boundingRect(small)
    weights = np.repeat(small[top : top + down, left : left + across, None], 3, axis=2)
    look = old[top : top + down, left : left + across]
    errors = cv2.matchTemplate(new, look, cv2.TM_SQDIFF, mask=weights)
    smallest, _, (x, y), _ = cv2.minMaxLoc(errors)
    difference = float(max(0.0, smallest) / weights.sum()) ** 0.5
    scale = reduction(mask, SEARCH_LONG_SIDE)
    shift = np.array([[1, 0, (x - left) / scale], [0, 1, (y - top) / scale]], dtype=np.float32)
    moved = cv2.warpAffine(mask.astype(np.uint8), shift, (width, height), flags=cv2.INTER_NEAREST) > 0
    trust = max(0.0, 1 - difference / STRANGE_DIFFERENCE) if moved.any() else 0.0
    return CarriedMask(mask=np.asarray(moved, dtype=np.bool_), trust=trust, disagreement=unknown)


def selection_from_mask(mask: FrameMask, *, frame_index: int) -> Selection:
    """The tight box of an (H, W) bool mask, not empty, and one positive click at its innermost pixel."""
    rows, columns = window_round(mask, margin=0)
    box = Box(float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return Selection(frame_index, (Click(float(x) + 0.5, float(y) + 0.5),), box)


def with_inner_click(selection: Selection, mask: FrameMask) -> Selection:
    """The selection with one more positive click, made before the others, in the middle of an existing mask.

    The selection itself where the mask is empty, or a negative click lies within 2 pixels of that middle.
    """
    if not mask.any():
        return selection
    (inner,) = selection_from_mask(mask, frame_index=selection.frame_index).clicks
    if any(not c.is_positive and math.hypot(c.x - inner.x, c.y - inner.y) < 2 for c in selection.clicks):
        return selection
    return replace(selection, clicks=(inner, *selection.clicks))
