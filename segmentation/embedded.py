"""The segmenter that needs no download: colour and edges find the object, motion carries it along.

Made for clean clips with one distinct object. It works on reduced copies, so an answer to a click takes
the same short time for every size. It has no weights and knows nothing about things in the world.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from segmentation.base import Frame, FrameMask, Frames, SegmenterSpec, check_frames, check_walk
from segmentation.clicks import Box, Click, Selection, check_selection
from segmentation.propagation import CarriedMask, follow
from segmentation.regions import (
    candidate_regions,
    colour_histogram,
    cut,
    filled_component,
    likeness,
    refine_outline,
    score_region,
)

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
OUTLINE_SIDE = 320
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
        small = _reduced(frame, CLICK_SIDE)
        small_prior = None if prior is None else _resized(prior, small)
        mask = _find_object(small, _scaled(selection, frame, small), prior=small_prior)
        return _refined(frame, mask) if small.shape != frame.shape else mask

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

        def correct(index: int, carried: CarriedMask) -> FrameMask:
            frame = self._frames[index]
            refined = _refined(frame, carried.mask)
            # What has nothing of the object's colours left is what the object left behind.
            is_gone = likeness(look, colour_histogram(frame, refined)) < LOST_LIKENESS
            return np.zeros_like(refined) if is_gone else refined

        return follow(self._frames, start, mask, correct=correct, within=within)

    def _check(self, selection: Selection, *, may_only_remove: bool = False) -> None:
        num_frames, height, width = self._frames.shape[:3]
        check_selection(
            selection, num_frames=num_frames, height=height, width=width, may_only_remove=may_only_remove
        )


def _find_object(image: Frame, selection: Selection, *, prior: FrameMask | None) -> FrameMask:
    """The object on a reduced frame, from a selection in its pixels and what it corrects."""
    if prior is not None:
        mask = prior.copy()
    elif selection.box is not None:
        mask = _object_in_box(image, selection.box)
    else:
        mask = np.zeros(image.shape[:2], dtype=np.bool_)
    for click in selection.clicks:
        x, y = _pixel(click)
        if click.is_positive and not mask[y, x]:
            mask |= _region_at(image, click, selection)
    for click in selection.clicks:
        x, y = _pixel(click)
        if not click.is_positive and mask[y, x]:
            mask &= ~(_region_at(image, click, selection) | _piece_at(mask, click))
    return mask


def _region_at(image: Frame, click: Click, selection: Selection) -> FrameMask:
    """The best-looking region round a click that no click of the other sign contradicts."""
    regions = candidate_regions(image, _pixel(click))
    opposite = [_pixel(other) for other in selection.clicks if other.is_positive != click.is_positive]
    alike = [_pixel(other) for other in selection.clicks if other.is_positive == click.is_positive]

    def rank(region: FrameMask) -> tuple[int, int, float]:
        contradicted = sum(bool(region[y, x]) for x, y in opposite)
        confirmed = sum(bool(region[y, x]) for x, y in alike)
        return -contradicted, confirmed, score_region(image, region)

    best = max(regions, key=rank)
    return best & ~_around(best, opposite)


def _piece_at(mask: FrameMask, click: Click) -> FrameMask:
    """The whole piece of a mask under a click, where it lies apart from a larger rest; else nothing."""
    piece = filled_component(mask, _pixel(click))
    return piece if piece.sum() < 0.5 * mask.sum() else np.zeros_like(mask)


def _around(region: FrameMask, points: list[tuple[int, int]]) -> FrameMask:
    """The part of a region nearer to the given points than a fifth of its own breadth."""
    spots = np.zeros(region.shape, np.uint8)
    radius = max(1, round(0.2 * float(region.sum()) ** 0.5))
    for point in points:
        cv2.circle(spots, point, radius, 1, cv2.FILLED)
    return np.asarray(spots > 0, dtype=np.bool_)


def _object_in_box(image: Frame, box: Box) -> FrameMask:
    """What differs inside a box from what lies outside it."""
    height, width = image.shape[:2]
    x0, y0 = max(0, int(box.x0)), max(0, int(box.y0))
    x1, y1 = min(width, max(x0 + 1, round(box.x1))), min(height, max(y0 + 1, round(box.y1)))
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
    found = cut(image, labels, rounds=4)
    middle = np.zeros((height, width), np.uint8)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), (max(1, (x1 - x0) // 2), max(1, (y1 - y0) // 2))
    cv2.ellipse(middle, centre, axes, 0, 0, 360, 1, cv2.FILLED)
    # A colour that also fills the surroundings leaves nothing behind; the box itself is then the best answer.
    return found if found.sum() > 0.1 * (x1 - x0) * (y1 - y0) else np.asarray(middle > 0, dtype=np.bool_)


def _refined(frame: Frame, mask: FrameMask) -> FrameMask:
    """A mask of any size brought to the frame's size, its outline drawn to the nearby colour edges."""
    image = _reduced(frame, OUTLINE_SIDE)
    rough = _resized(mask, image)
    moved = refine_outline(image, rough, reach=_reach(image))
    return _resized(moved, frame)


def _reach(image: Frame) -> int:
    """How many pixels a cut may move the outline on this image."""
    height, width = image.shape[:2]
    return max(1, int(OUTLINE_REACH * max(height, width) + 0.5))


def _reduced(frame: Frame, long_side: int) -> Frame:
    height, width = frame.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _resized(mask: FrameMask, image: Frame) -> FrameMask:
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.resize(mask.astype(np.float32), size) > 0.5, dtype=np.bool_)


def _scaled(selection: Selection, frame: Frame, image: Frame) -> Selection:
    """The selection in pixels of a reduced copy of its frame."""
    across, down = image.shape[1] / frame.shape[1], image.shape[0] / frame.shape[0]
    clicks = tuple(Click(c.x * across, c.y * down, c.is_positive) for c in selection.clicks)
    box = selection.box
    if box is not None:
        box = Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)
    return Selection(selection.frame_index, clicks, box)


def _pixel(click: Click) -> tuple[int, int]:
    return int(click.x), int(click.y)
