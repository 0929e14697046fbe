"""The segmenter that needs no download: colour and edges find the object, motion carries it along.

Made for clean clips with one distinct object. It works on reduced copies, so an answer to a click takes
the same short time for every size. It has no weights and knows nothing about things in the world.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from segmentation.base import Frame, FrameMask, Frames, SegmenterSpec, check_frames, check_walk
from segmentation.boxes import object_in_box
from segmentation.clicks import Box, Click, Selection, check_selection
from segmentation.motion import Motion, motion_of
from segmentation.outlines import OutlineTracker
from segmentation.propagation import CarriedMask, follow
from segmentation.regions import (
    candidate_regions,
    colour_histogram,
    filled_component,
    likeness,
    refine_outline,
    score_region,
)
from segmentation.scaling import reduced, resized, scaled, scaled_box

EMBEDDED_SPEC = SegmenterSpec(
    name="embedded",
    label="Embedded (colour and motion)",
    licence="Apache-2.0",
    size_bytes=0,
    source="part of this software",
    description="Answers at once and needs no download. Good at cartoons and at objects that stand out "
    "by their colour; real footage often takes several clicks or a box.",
)

CLICK_SIDE = 128
BOX_SIDE = 256
OUTLINE_SIDE = 320
TRACK_SIDE = 480
OUTLINE_REACH = 0.012
"""How far a cut may move the outline, as a share of the image's long side."""

LOST_LIKENESS = 0.2
"""Overlap of colours with the first mask below which an object counts as gone."""


class EmbeddedSegmenter:
    """Finds objects by colour and edges; see `Segmenter`."""

    spec = EMBEDDED_SPEC

    def open(self, frames: Frames) -> EmbeddedSession:
        """Prepare a clip; see `Segmenter.open`."""
        check_frames(frames)
        return EmbeddedSession(frames)


class EmbeddedSession:
    """One clip, ready for clicks; see `SegmentationSession`. Holds nothing but the frames.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        """The object on the clicked frame; see `SegmentationSession.mask_at`."""
        self._check(selection, may_only_remove=prior is not None)
        frame = self._frames[selection.frame_index]
        small = reduced(frame, CLICK_SIDE)
        motion = motion_of(self._frames, selection.frame_index, image=small)
        if prior is not None:
            mask = resized(prior, reduced(frame, BOX_SIDE))
        elif selection.box is not None:
            mask = self._object_in_box(selection, selection.box)
        else:
            mask = np.zeros(small.shape[:2], dtype=np.bool_)
        mask = _with_clicks(mask, small, scaled(selection, frame, small), motion)
        return _refined(frame, mask) if mask.shape != frame.shape[:2] else mask

    def _object_in_box(self, selection: Selection, box: Box) -> FrameMask:
        frame = self._frames[selection.frame_index]
        image = reduced(frame, BOX_SIDE)
        motion = motion_of(self._frames, selection.frame_index, image=image)
        return object_in_box(image, scaled_box(box, frame, image), motion=motion)

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        """The object on every frame; see `SegmentationSession.propagate`."""
        self._check(selection)
        return self._propagate(selection)

    def _propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        first = self.mask_at(selection)
        yield from self.follow(selection.frame_index, first)

    def follow(
        self, start: int, mask: FrameMask, *, within: range | None = None
    ) -> Iterator[tuple[int, FrameMask]]:
        """Follow a given mask; see `SegmentationSession.follow`."""
        within = check_walk(self._frames, start, mask, within=within)
        look = colour_histogram(self._frames[start], mask)
        first = reduced(self._frames[start], TRACK_SIDE)
        # What was learned on the way forwards does not count on the way back.
        trackers = {is_later: OutlineTracker(first, resized(mask, first)) for is_later in (True, False)}

        def correct(index: int, carried: CarriedMask) -> FrameMask:
            frame = self._frames[index]
            refined = _tracked(trackers[index > start], frame, carried)
            # What has nothing of the object's colours left is what the object left behind.
            is_gone = likeness(look, colour_histogram(frame, refined)) < LOST_LIKENESS
            return np.zeros_like(refined) if is_gone else refined

        return follow(self._frames, start, mask, correct=correct, within=within)

    def _check(self, selection: Selection, *, may_only_remove: bool = False) -> None:
        num_frames, height, width = self._frames.shape[:3]
        check_selection(
            selection, num_frames=num_frames, height=height, width=width, may_only_remove=may_only_remove
        )


def _with_clicks(mask: FrameMask, image: Frame, selection: Selection, motion: Motion | None) -> FrameMask:
    """A mask of any size, with what the clicks add and without what they take away.

    The clicks are in pixels of the image.
    """
    for click in sorted(selection.clicks, key=lambda click: not click.is_positive):
        x, y = _pixel(click)
        if resized(mask, image)[y, x] != click.is_positive:
            region = resized(_region_at(image, click, selection, motion), mask)
            mask = mask | region if click.is_positive else mask & ~(region | _piece_at(mask, image, click))
    return mask


def _region_at(image: Frame, click: Click, selection: Selection, motion: Motion | None) -> FrameMask:
    """The best-looking region round a click that no click of the other sign contradicts."""
    regions = candidate_regions(image, _pixel(click), motion=motion)
    opposite = [_pixel(other) for other in selection.clicks if other.is_positive != click.is_positive]
    alike = [_pixel(other) for other in selection.clicks if other.is_positive == click.is_positive]

    def rank(region: FrameMask) -> tuple[int, int, float]:
        contradicted = sum(bool(region[y, x]) for x, y in opposite)
        confirmed = sum(bool(region[y, x]) for x, y in alike)
        return -contradicted, confirmed, score_region(image, region, motion=motion)

    best = max(regions, key=rank)
    return best & ~_around(best, opposite)


def _piece_at(mask: FrameMask, image: Frame, click: Click) -> FrameMask:
    """The whole piece of a mask under a click, where it lies apart from a larger rest; else nothing.

    The click is in pixels of the image.
    """
    across, down = mask.shape[1] / image.shape[1], mask.shape[0] / image.shape[0]
    piece = filled_component(mask, (int(click.x * across), int(click.y * down)))
    return piece if piece.sum() < 0.5 * mask.sum() else np.zeros_like(mask)


def _around(region: FrameMask, points: list[tuple[int, int]]) -> FrameMask:
    """The part of a region nearer to the given points than a fifth of its own breadth."""
    spots = np.zeros(region.shape, np.uint8)
    radius = max(1, round(0.2 * float(region.sum()) ** 0.5))
    for point in points:
        cv2.circle(spots, point, radius, 1, cv2.FILLED)
    return np.asarray(spots > 0, dtype=np.bool_)


def _refined(frame: Frame, mask: FrameMask) -> FrameMask:
    """A mask of any size brought to the frame's size, its outline drawn to the nearby colour edges."""
    image = reduced(frame, OUTLINE_SIDE)
    rough = resized(mask, image)
    moved = refine_outline(image, rough, reach=_reach(image))
    return resized(moved, frame)


def _tracked(tracker: OutlineTracker, frame: Frame, carried: CarriedMask) -> FrameMask:
    """A carried mask with the outline that the object's look gives it."""
    image = reduced(frame, TRACK_SIDE)
    size, scale = (image.shape[1], image.shape[0]), image.shape[1] / frame.shape[1]
    disagreement = cv2.resize(carried.disagreement, size) * np.float32(scale)
    rough = resized(carried.mask, image)
    return resized(tracker.refine(image, rough, disagreement=disagreement), frame)


def _reach(image: Frame) -> int:
    """How many pixels a cut may move the outline on this image."""
    height, width = image.shape[:2]
    return max(1, int(OUTLINE_REACH * max(height, width) + 0.5))


def _pixel(click: Click) -> tuple[int, int]:
    return int(click.x), int(click.y)
