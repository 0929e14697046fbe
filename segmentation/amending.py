"""One mask from several that were followed to the same frame.

The nearer of two prompts counts more, because errors grow with the distance. What a correction changes counts
fully where it hangs together, from frame to frame, with the change on the corrected frame; elsewhere, half.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence

import cv2
import numpy as np

from segmentation.base import FrameMask
from segmentation.project import PackedMask
from segmentation.vision import reduced, resized, signed_depth, window_round

LEAST_OVERLAP = 0.5  # Least IoU of two masks that show the same thing.
SURE_DEPTH = 0.15  # Depth, as a share of the root of the area, at which a mask is sure of a pixel.
LOST_SHARE = 1 / 3  # Of the way from a mask without the object, where it counts as absent.
LINKING_SIDE = 427  # Long side, at most, of the copies on which differences are linked.
SLIVER = 3  # Pixels of such a copy up to which a difference is only another outline, which links nothing.
STEP = 2  # Pixels of such a copy that a difference may move from one frame to the next.
BELIEF_IN_FOLLOWED = 0.5  # Weight of the correction's own following, against what was seen before.
MOST_KEPT = 8  # States of objects, such as before and after a correction, whose differences are kept.
Seen = Callable[[int], tuple[FrameMask, FrameMask] | None]
"""Frame number -> (H, W) bool without the corrections, and with their own following; None if unknown."""


def blend_masks(before: FrameMask, after: FrameMask, *, share: float) -> FrameMask:
    """The object between two frames with prompts, (H, W) bool; `share` in [0, 1] of the way to the later.

    The nearer mask if they do not show the same thing. If one is empty, the other one, unless the empty one
    is much nearer.
    """
    if not before.any() or not after.any():
        seen, far = (before, share) if before.any() else (after, 1 - share)
        return seen if far <= 1 - LOST_SHARE else np.zeros_like(seen)
    if (before & after).sum() < LEAST_OVERLAP * (before | after).sum():
        return before if share < 0.5 else after
    sure = [max(1.0, SURE_DEPTH * float(mask.sum()) ** 0.5) for mask in (before, after)]
    # Farther from both than either is unsure of, there is nothing to find.
    window = window_round(before | after, margin=int(max(sure)) + 2)
    shares = [
        np.clip(signed_depth(mask[window]) / depth, -1, 1)
        for mask, depth in zip((before, after), sure, strict=True)
    ]
    blended = np.zeros_like(before)
    blended[window] = (1 - share) * shares[0] + share * shares[1] > 0
    return blended


def amend(before: FrameMask, followed: FrameMask, linked: FrameMask) -> FrameMask:
    """The object after a correction of another frame: `linked` changes for certain, the rest by half."""
    return blend_masks(np.where(linked, followed, before), followed, share=BELIEF_IN_FOLLOWED)


def linked_part(difference: FrameMask, *, neighbour: FrameMask) -> FrameMask:
    """The parts of a frame's difference that hang together with the linked part of its neighbour's."""
    small, near = (
        reduced(part.astype(np.uint8), LINKING_SIDE, interpolation=cv2.INTER_NEAREST)
        for part in (difference, neighbour)
    )
    kernel = np.ones((SLIVER, SLIVER), np.uint8)
    _, parts = cv2.connectedComponents(cv2.morphologyEx(small, cv2.MORPH_OPEN, kernel))
    reached = cv2.dilate(near, np.ones((2 * STEP + 1, 2 * STEP + 1), np.uint8)) > 0
    hit = np.unique(parts[reached & (parts > 0)])
    if not len(hit):
        return np.zeros_like(difference)
    linked = cv2.dilate(np.isin(parts, hit).astype(np.uint8), kernel) > 0
    return resized(linked, difference) & difference


class Amendments:
    """Links the differences of a clip's frames, each once. Several threads may ask at the same time."""

    def __init__(self) -> None:
        # Links are made one after the other: two threads at it would put one twice, and shift the rest.
        self._lock = threading.Lock()
        self._states: dict[Hashable, dict[tuple[int, int], list[PackedMask]]] = {}

    def amended(
        self, state: Hashable, frame_index: int, *, corrected: Sequence[int], seen: Seen
    ) -> FrameMask | None:
        """A 0-based frame after corrections of others, (H, W) bool; None if a frame between is unknown.

        `corrected` are the nearest corrected frames, at most one on either side; `state` is everything that
        the masks of `seen` depend on.
        """
        pair = seen(frame_index)
        if pair is None:
            return None
        linked = np.zeros_like(pair[0])
        for start in corrected:
            # Its own pair is known by now; the frames between are asked for.
            with self._lock:
                part = self._linked(
                    state, start, frame_index, lambda i: pair if i == frame_index else seen(i)
                )
            if part is None:
                return None
            linked |= part
        return amend(*pair, linked)

    def _linked(self, state: Hashable, start: int, frame_index: int, seen: Seen) -> FrameMask | None:
        """None if the change of the corrected frame is unknown."""
        while len(self._states) >= MOST_KEPT and state not in self._states:
            del self._states[next(iter(self._states))]
        way = 1 if frame_index > start else -1
        chain = self._states.setdefault(state, {}).setdefault((start, way), [])
        for index in range(start + way * len(chain), frame_index + way, way):
            pair = seen(index)
            if pair is None:
                return None
            difference = pair[0] ^ pair[1]
            if chain:
                difference = linked_part(difference, neighbour=chain[-1].unpacked())
            chain.append(PackedMask.of(difference))
        return chain[abs(frame_index - start)].unpacked()
