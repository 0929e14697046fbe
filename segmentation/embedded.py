"""The segmenter that needs no download: colour, edges and motion find the object and carry it along.

Made for clean clips with one distinct object. It works on reduced copies, so an answer to a click takes
the same short time for every size. It has no weights and knows nothing about things in the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import cv2
import numpy as np

from segmentation.base import (
    Frame,
    FrameMask,
    Frames,
    SegmenterSpec,
    check_clicks,
    check_frames,
    check_walk,
    follow_selection,
)
from segmentation.boxes import object_in_box
from segmentation.clicks import Click, Selection
from segmentation.looks import agreement, describe_frame, grown_from, moving_regions
from segmentation.motion import Motion, drift_of
from segmentation.outlines import OutlineTracker
from segmentation.propagation import CarriedMask, follow
from segmentation.regions import (
    colour_histogram,
    filled_component,
    likeness,
    refine_outline,
    score_region,
)
from segmentation.retouching import SHARE_LEFT, retouched
from segmentation.scaling import reduced, resized, scaled, scaled_box, scaled_click

EMBEDDED_SPEC = SegmenterSpec(
    name="embedded",
    label="Embedded (colour and motion)",
    licence="Apache-2.0",
    size_bytes=0,
    source="part of this software",
    description="Answers at once and needs no download. Good at cartoons and at objects that stand out "
    "by their colour or by how they move; real footage often takes several clicks or a box.",
)

CLICK_SIDE = 128
BOX_SIDE = 256
OUTLINE_SIDE = 320
TRACK_SIDE = 480
GROWING_RADII = (0.05, 0.07, 0.1, 0.14, 0.2)
"""Of the discs round a click that regions grow from, as shares of the image's long side."""
AGREEMENT_WEIGHT = 1.0
"""Of the agreement with the other regions, against how much a region looks like an object."""
KEPT_MOTIONS = 4
OUTLINE_REACH = 0.012
"""How far a cut may move the outline, as a share of the image's long side."""

_OVERSIZED = 1e3
"""Taken off the rank of a region larger than the click allows."""

LOST_LIKENESS = 0.2
"""Overlap of colours with the first mask below which an object counts as gone."""


class EmbeddedSegmenter:
    """Finds objects by colour, edges and motion; see `Segmenter`."""

    spec = EMBEDDED_SPEC

    def open(self, frames: Frames) -> EmbeddedSession:
        """Prepare a clip; see `Segmenter.open`."""
        check_frames(frames)
        return EmbeddedSession(frames)


class EmbeddedSession:
    """One clip, ready for clicks; see `SegmentationSession`. Keeps the motion of frames clicked last.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._drift_at = lru_cache(maxsize=KEPT_MOTIONS)(partial(drift_of, frames))

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        """The object on the clicked frame; see `SegmentationSession.mask_at`.

        The first click, or the box, finds an object; each further one changes what it finds wrong.
        """
        check_clicks(self._frames, selection, may_only_remove=prior is not None)
        frame = self._frames[selection.frame_index]
        image = reduced(frame, BOX_SIDE)
        start = self._first_mask(selection, image) if prior is None else resized(prior, image)
        mask = self._with_clicks(start, image, selection)
        if prior is None:
            return _refined(frame, mask) if mask.shape != frame.shape[:2] else mask
        # What no click changed stays to the pixel.
        changed = cv2.dilate((mask ^ start).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return np.where(resized(changed, frame), _refined(frame, mask), prior)

    def _first_mask(self, selection: Selection, image: Frame) -> FrameMask:
        """What the box shows, or where there is none the first positive click; in the size of the image."""
        frame = self._frames[selection.frame_index]
        if selection.box is not None:
            motion = self._motion_on(image, selection.frame_index)
            return object_in_box(image, scaled_box(selection.box, frame, image), motion=motion)
        first = next(click for click in selection.clicks if click.is_positive)
        return resized(self._region_at(selection.frame_index, first), image)

    def _with_clicks(self, mask: FrameMask, image: Frame, selection: Selection) -> FrameMask:
        """A mask in the size of the image, with what the clicks add and without what they take away."""
        index = selection.frame_index
        clicks = scaled(selection, self._frames[index], image).clicks
        if all(mask[_pixel(click)[::-1]] == click.is_positive for click in clicks):
            return mask
        features = describe_frame(image, motion=self._motion_on(image, index))
        for number, click in enumerate(clicks):
            point = _pixel(click)
            if mask[point[::-1]] == click.is_positive:
                continue
            others = [other for other in clicks if other != click]
            alike = [_pixel(other) for other in others if other.is_positive == click.is_positive]
            opposite = [_pixel(other) for other in others if other.is_positive != click.is_positive]
            piece = _piece_at(mask, point)
            changed = retouched(
                mask,
                image=image,
                features=features,
                point=point,
                is_positive=click.is_positive,
                alike=alike,
                opposite=opposite,
            )
            if changed is None:
                room = (SHARE_LEFT[1] - 1) * float(mask.mean()) if mask.any() else 1.0
                region = resized(self._region_at(index, selection.clicks[number], largest=room), image)
                changed = mask | (region & ~_around(region, opposite))
                changed[point[::-1]] = True
            mask = changed & ~piece
        return mask

    def _region_at(self, index: int, click: Click, *, largest: float = 1.0) -> FrameMask:
        """The best-looking region round a click, on a small copy of its frame.

        Regions of more than the share `largest` of the frame count only where there is no other. Further
        clicks have no say here: what is seen is what they correct.
        """
        frame = self._frames[index]
        image = reduced(frame, CLICK_SIDE)
        motion = self._motion_on(image, index)
        point = _pixel(scaled_click(click, frame, image))
        features, side = describe_frame(image, motion=motion), max(image.shape[:2])
        regions = [
            grown_from(image, features=features, point=point, radius=radius * side)
            for radius in GROWING_RADII
        ]
        if motion is not None:
            regions += moving_regions(image, motion=motion, point=point)
        looks = [score_region(image, region, motion=motion) for region in regions]
        ranks = AGREEMENT_WEIGHT * agreement(regions) + np.array(looks)
        ranks[[region.mean() > largest for region in regions]] -= _OVERSIZED
        return regions[int(np.argmax(ranks))]

    def _motion_on(self, image: Frame, index: int) -> Motion | None:
        """The motion of a frame in the size of a copy of it."""
        drift = self._drift_at(index)
        return None if drift is None else drift.seen_on(image)

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        """The object on every frame; see `SegmentationSession.propagate`."""
        return follow_selection(self, frames=self._frames, selection=selection)

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


def _piece_at(mask: FrameMask, point: tuple[int, int]) -> FrameMask:
    """The whole piece of a mask round a point, where it lies apart from a larger rest; else nothing."""
    piece = filled_component(mask, point)
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
