"""The segmenter that needs no download: colour, edges and motion find the object and carry it along.

Made for clean clips with one distinct object. It works on reduced copies, so an answer to a click takes
the same short time for every size. It has no weights and knows nothing about things in the world.
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
    check_clicks,
    check_frames,
    check_walk,
    follow_selection,
)
from segmentation.clicks import Click, Selection
from segmentation.embedded.correcting import SHARE_LEFT, Regrower, retouched
from segmentation.embedded.growing import describe_frame, object_in_box, region_at
from segmentation.embedded.motion import ClipMotion
from segmentation.embedded.outline import OutlineTracker, filled_component, refine_outline
from segmentation.propagation import CarriedMask, follow
from segmentation.vision import colour_histogram, likeness, reduced, resized, scaled, scaled_box, scaled_click

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
REGROWN_SIDE = 160
KEPT_REGIONS = 64
OUTLINE_REACH = 0.012
"""How far a cut may move the outline, as a share of the image's long side."""

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
    """One clip, ready for clicks; see `SegmentationSession`. Keeps its motion, as far as `ClipMotion` does.

    Args:
        frames: (F, H, W, 3) uint8 RGB.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._motion = ClipMotion(frames)
        # Every further click begins with what the first one found.
        self._region_at = lru_cache(maxsize=KEPT_REGIONS)(partial(_region_at, frames, self._motion))

    def prepare(self, frame_index: int) -> None:
        """Work out how a frame moves, which is most of its first answer; see `PreparingSession`."""
        self._motion.drift(frame_index)

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
            motion = self._motion.seen_on(image, selection.frame_index)
            return object_in_box(image, scaled_box(selection.box, frame, image), motion=motion)
        first = next(click for click in selection.clicks if click.is_positive)
        return resized(self._region_at(selection.frame_index, first), image)

    def _with_clicks(self, mask: FrameMask, image: Frame, selection: Selection) -> FrameMask:
        """A mask in the size of the image, with what the clicks add and without what they take away."""
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
        within = check_walk(self._frames, start, mask, within=within)
        look = colour_histogram(self._frames[start], mask)
        first = reduced(self._frames[start], TRACK_SIDE)
        # What was learned on the way forwards does not count on the way back.
        trackers = {is_later: OutlineTracker(first, resized(mask, first)) for is_later in (True, False)}
        small = reduced(self._frames[start], REGROWN_SIDE)
        regrower = Regrower(small, resized(mask, small), motion=self._motion.seen_on(small, start))

        def correct(index: int, carried: CarriedMask) -> FrameMask:
            frame = self._frames[index]
            small = reduced(frame, REGROWN_SIDE)
            grown = regrower.regrown(small, carried.mask, motion=self._motion.seen_on(small, index))
            refined = _tracked(trackers[index > start], frame, replace(carried, mask=grown))
            # What has nothing of the object's colours left is what the object left behind.
            is_gone = likeness(look, colour_histogram(frame, refined)) < LOST_LIKENESS
            return np.zeros_like(refined) if is_gone else refined

        return follow(
            self._frames,
            start,
            mask,
            correct=correct,
            within=within,
            flow_between=self._motion.flow,
        )


def _region_at(
    frames: Frames, motion: ClipMotion, index: int, click: Click, largest: float = 1.0
) -> FrameMask:
    """The region round a click on a small copy of its frame, not more than a share of it if that can be."""
    frame = frames[index]
    image = reduced(frame, CLICK_SIDE)
    point = _pixel(scaled_click(click, frame, image))
    return region_at(image, point=point, motion=motion.seen_on(image, index), largest=largest)


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
