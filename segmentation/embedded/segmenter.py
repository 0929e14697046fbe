"""The embedded segmenter: colour, edges and motion find the object and carry it along.

Made for clean clips with one distinct object. It works on reduced copies, so an answer to a click takes the
same short time for every size. It has no weights and knows nothing about things in the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial

import cv2
import numpy as np

from segmentation.base import (
    Frame,
    FrameMask,
    Frames,
    SegmenterSpec,
    check_frames,
    check_walk,
    follow_selection,
)
from segmentation.clicks import Click, Selection, check_selection
from segmentation.embedded.appearance import describe_frame
from segmentation.embedded.correcting import SHARE_LEFT, Regrower, corrected
from segmentation.embedded.growing import object_in_box, region_at
from segmentation.embedded.motion import ClipMotion
from segmentation.embedded.outline import OutlineTracker, Point, filled_component, refine_outline
from segmentation.propagation import CarriedMask, follow
from segmentation.vision import colour_histogram, likeness, reduced, resized, scaled

# Long sides in pixels of the copies that each step works on.
CLICK_SIDE = 128
BOX_SIDE = 256
OUTLINE_SIDE = 320
TRACK_SIDE = 480
REGROWN_SIDE = 160
KEPT_REGIONS = 64
OUTLINE_REACH = 0.012  # Distance that a cut may move the outline, as a share of the image's long side.
LOST_LIKENESS = 0.2  # Overlap of colours with the first mask below which an object counts as gone.


class EmbeddedSegmenter:
    """Finds objects by colour, edges and motion; see `Segmenter`."""

    def __init__(self, spec: SegmenterSpec) -> None:
        self.spec = spec

    def open(self, frames: Frames) -> EmbeddedSession:
        """Prepare a clip; see `Segmenter.open`."""
        check_frames(frames)
        return EmbeddedSession(frames)


class EmbeddedSession:
    """One clip, ready for clicks; see `SegmentationSession`. Keeps its motion as `ClipMotion` does."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._motion = ClipMotion(frames)
        # Every further click begins with the region of the first one.
        self._region_at = lru_cache(maxsize=KEPT_REGIONS)(partial(_region_at, frames, self._motion))

    def prepare(self, frame_index: int) -> None:
        """Compute the motion of a frame, which is most of its first answer; see `PreparingSession`."""
        self._motion.drift(frame_index)

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        """The object on the clicked frame; see `SegmentationSession.mask_at`.

        The first click, or the box, finds an object; each further one changes what it finds wrong.
        """
        check_selection(selection, shape=self._frames.shape[:3], may_only_remove=prior is not None)
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
        """The object in the box, or the region of the first positive click; in the size of the image."""
        index = selection.frame_index
        box = scaled(selection, self._frames[index], image).box
        if box is not None:
            return object_in_box(image, box, motion=self._motion.seen_on(image, index))
        first = next(click for click in selection.clicks if click.is_positive)
        return resized(self._region_at(index, first), image)

    def _with_clicks(self, mask: FrameMask, image: Frame, selection: Selection) -> FrameMask:
        """A mask in the size of the image, changed by each click that it contradicts."""
        index = selection.frame_index
        clicks = scaled(selection, self._frames[index], image).clicks
        if all(mask[_pixel(click)[::-1]] == click.is_positive for click in clicks):
            return mask
        features = describe_frame(image, motion=self._motion.seen_on(image, index))
        for number, click in enumerate(clicks):
            point = _pixel(click)
            if mask[point[::-1]] == click.is_positive:
                continue
            others = [other for other in clicks if other != click]
            opposite = [_pixel(other) for other in others if other.is_positive != click.is_positive]
            piece = _piece_at(mask, point)
            changed = corrected(
                mask,
                image=image,
                features=features,
                point=point,
                is_positive=click.is_positive,
                alike=[_pixel(other) for other in others if other.is_positive == click.is_positive],
                opposite=opposite,
            )
            if changed is None:
                room = (SHARE_LEFT[1] - 1) * float(mask.mean()) if mask.any() else 1.0
                region = resized(self._region_at(index, selection.clicks[number], room), image)
                changed = mask | (region & ~_around(region, opposite))
                changed[point[::-1]] = True
            mask = changed & ~piece
        return mask

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        """The object on every frame; see `SegmentationSession.propagate`."""
        return follow_selection(self, frames=self._frames, selection=selection)

    def follow(
        self, start: int, mask: FrameMask, *, within: range | None = None
    ) -> Iterator[tuple[int, FrameMask]]:
        """Follow a given mask; see `SegmentationSession.follow`."""
        frames, motion = self._frames, self._motion
        within = check_walk(frames, start, mask, within=within)
        look = colour_histogram(frames[start], mask)
        first = reduced(frames[start], TRACK_SIDE)
        # What was learned on the way forwards does not count on the way back.
        trackers = {is_later: OutlineTracker(first, resized(mask, first)) for is_later in (True, False)}
        small = reduced(frames[start], REGROWN_SIDE)
        regrower = Regrower(small, resized(mask, small), motion=motion.seen_on(small, start))

        def correct(index: int, carried: CarriedMask) -> FrameMask:
            frame = frames[index]
            small = reduced(frame, REGROWN_SIDE)
            grown = regrower.regrown(small, carried.mask, motion=motion.seen_on(small, index))
            refined = _tracked(trackers[index > start], frame, replace(carried, mask=grown))
            # A region without any of the object's colours is what the object left behind.
            is_gone = likeness(look, colour_histogram(frame, refined)) < LOST_LIKENESS
            return np.zeros_like(refined) if is_gone else refined

        return follow(frames, start, mask, correct=correct, within=within, flow_between=motion.flow)


def _region_at(
    frames: Frames, motion: ClipMotion, index: int, click: Click, largest: float = 1.0
) -> FrameMask:
    """The region round a click on a small copy of its frame, at most a share of it if possible."""
    frame = frames[index]
    image = reduced(frame, CLICK_SIDE)
    (small_click,) = scaled(Selection(index, (click,)), frame, image).clicks
    return region_at(image, point=_pixel(small_click), motion=motion.seen_on(image, index), largest=largest)


def _piece_at(mask: FrameMask, point: Point) -> FrameMask:
    """The piece of a mask round a point, if it lies apart from a larger rest; else empty."""
    piece = filled_component(mask, point)
    return piece if piece.sum() < 0.5 * mask.sum() else np.zeros_like(mask)


def _around(region: FrameMask, points: list[Point]) -> FrameMask:
    """Discs round the given points, with a fifth of the region's breadth as radius."""
    spots = np.zeros(region.shape, np.uint8)
    radius = max(1, round(0.2 * float(region.sum()) ** 0.5))
    for point in points:
        cv2.circle(spots, point, radius, 1, cv2.FILLED)
    return np.asarray(spots > 0, dtype=np.bool_)


def _refined(frame: Frame, mask: FrameMask) -> FrameMask:
    """A mask of any size brought to the frame's size, its outline drawn to the nearby colour edges."""
    image = reduced(frame, OUTLINE_SIDE)
    reach = max(1, int(OUTLINE_REACH * max(image.shape[:2]) + 0.5))
    return resized(refine_outline(image, resized(mask, image), reach=reach), frame)


def _tracked(tracker: OutlineTracker, frame: Frame, carried: CarriedMask) -> FrameMask:
    """A carried mask with the outline that the object's look gives it."""
    image = reduced(frame, TRACK_SIDE)
    size, scale = (image.shape[1], image.shape[0]), image.shape[1] / frame.shape[1]
    disagreement = cv2.resize(carried.disagreement, size) * np.float32(scale)
    return resized(tracker.refine(image, resized(carried.mask, image), disagreement=disagreement), frame)


def _pixel(click: Click) -> Point:
    return int(click.x), int(click.y)
