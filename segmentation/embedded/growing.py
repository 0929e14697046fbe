"""What the object looks like against the rest of one frame, learned from a guess of where it is.

Few smooth features on purpose: what is learned from a rough guess must not learn its errors, so that a
piece of the object that the guess leaves out still looks like the object. Works on small images only.

The region that a single click means: grown by colours and motion in several ways, the best-looking chosen.

Further clicks have no say here: what is seen is what they correct. Works on small images only.

From a box to the object in it: what differs inside by colour, by motion or by both, and what fits best.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.clicks import Box
from segmentation.embedded.appearance import Appearance, PixelFeatures, describe_pixels
from segmentation.embedded.motion import Motion
from segmentation.embedded.outline import SCORE_WEIGHTS, cut, cut_by_odds, filled_component, score_region
from segmentation.vision import describe_region, signed_depth

NUM_WAVES = 64
KERNEL_WIDTH = 1.2
USUAL_SIDE = 512.0
"""Long side, in pixels, of the images that the breadths of `describe_pixels` are meant for here."""
MOTION_BREADTH = 1 / 64
"""Standard deviation of the surroundings whose mean motion counts, as a share of the long side."""
SAMPLES = 1200

GROWING_ROUNDS = 3
GROWING_LOOK = 4.0
"""Log odds of a pixel that looks just like the object."""
GROWING_PLACE = 0.2
"""Log odds of a pixel deep inside the guess: its place says little."""
MOVING_SHARES = (0.3, 0.4, 0.5, 0.6)
"""Of the motion at the click, from which on the rest moves along."""
SHARED_FATE = 0.5
"""Of the motion at the click, from which on the rest belongs to it, unless looks say otherwise."""
MOVING_SHARPNESS = 6.0
"""Log odds of what moves as much as the click does, against what does not move at all."""
LEAST_RISE = 0.3
"""Of the logarithmic motion at the click over that of the frame, for it to say anything."""

_LEAST_BLUR = 0.3
_DEEP = 0.5
"""Depth, as a share of the root of the area, from which a pixel counts as deep inside."""
_CERTAIN_ODDS = 6.0
_FEWEST_PIXELS = 5

Point = tuple[int, int]
"""x and y in pixels of the image."""


def describe_frame(image: Frame, *, motion: Motion | None) -> PixelFeatures:
    """Colours and motion of every pixel, each in standard deviations over the frame.

    Args:
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        motion: of the image; None where it is unknown.

    Returns:
        (H, W, 19) float32, or (H, W, 13) without motion.
    """
    side = max(image.shape[:2])
    colours = describe_pixels(image, scale=side / USUAL_SIDE)
    # A level of grey, or a third of the background's noise, is no difference.
    parts = [_standardised(colours, 1.0)]
    if motion is not None:
        moves = _standardised(motion.features, 0.3)
        around = cv2.GaussianBlur(moves, (0, 0), MOTION_BREADTH * side)
        parts += [moves, np.asarray(around, dtype=np.float32)]
    return np.concatenate(parts, axis=-1)


def likeness_to(
    features: PixelFeatures, inside: NDArray[np.float32], outside: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How much each pixel looks like the inside of a guess.

    Args:
        features: (H, W, C) from `describe_frame`.
        inside: (H, W) how much a pixel counts as an example of the object, from 0.
        outside: (H, W) the same of what is not the object.

    Returns:
        (H, W) about 1 on the object, about -1 beside it; 0 everywhere where either has no example.
    """
    flat = features.reshape(-1, features.shape[-1])
    rng = np.random.default_rng(0)
    examples = []
    for weights in (inside, outside):
        counting = np.flatnonzero(weights > 0)
        if not len(counting):
            return np.zeros(features.shape[:2], np.float32)
        shares = weights.ravel()[counting].astype(np.float64)
        count = min(SAMPLES, 2 * len(counting))
        examples.append(flat[rng.choice(counting, count, p=shares / shares.sum())])
    look = Appearance(*examples, num_waves=NUM_WAVES, kernel_width=KERNEL_WIDTH)
    return look.lean(flat).reshape(features.shape[:2])


def grown_from(image: Frame, *, features: PixelFeatures, point: Point, radius: float) -> FrameMask:
    """The region that a disc round a point grows into: learned, cut, and learned again from the cut.

    Args:
        image: (H, W, 3) uint8 RGB.
        features: (H, W, C) of it, from `describe_frame`.
        point: the centre, in pixels.
        radius: in pixels.

    Returns:
        (H, W) bool, connected, without holes; it contains the point.
    """
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    region: FrameMask = np.hypot(x - point[0], y - point[1]) < max(2.0, radius)
    for _ in range(GROWING_ROUNDS):
        if region.all():
            break
        depth = signed_depth(region)
        look = likeness_to(features, _counted(depth > 0), _counted(depth < 0))
        deep = _DEEP * max(1.0, float(region.sum()) ** 0.5)
        odds = GROWING_LOOK * look + GROWING_PLACE * np.clip(depth / deep, -1, 1)
        odds[point[1], point[0]] = _CERTAIN_ODDS
        grown = filled_component(cut_by_odds(image, odds, undecided=np.ones_like(region)), point)
        if grown.sum() < _FEWEST_PIXELS:
            break
        region = grown
    return region


def moving_regions(image: Frame, *, motion: Motion, point: Point) -> list[FrameMask]:
    """Regions round a point that move against the background at least by some share of what it does there.

    Args:
        image: (H, W, 3) uint8 RGB.
        motion: of it.
        point: in pixels.

    Returns:
        (H, W) bool, connected, without holes, with the point; none where nothing moves there.
    """
    share_moved = _moved_like(motion, point)
    if share_moved is None:
        return []
    regions = []
    for share in MOVING_SHARES:
        odds = np.asarray(MOVING_SHARPNESS * (share_moved - share), dtype=np.float32)
        odds[point[1], point[0]] = _CERTAIN_ODDS
        cut = cut_by_odds(image, odds, undecided=np.ones(odds.shape, np.bool_))
        regions.append(filled_component(cut, point))
    return [region for region in regions if region.any()]


def fate(regions: Sequence[FrameMask], *, image: Frame, motion: Motion, point: Point) -> NDArray[np.float64]:
    """How much of each region moves along with a point, and how much of what does it holds.

    Args:
        regions: (H, W) bool each.
        image: (H, W, 3) uint8 RGB.
        motion: of it.
        point: in pixels.

    Returns:
        (N,) F-measures in [0, 1] against the connected part that moves at least half as much as the point
        does; 0 where that part reaches the rim of the frame, as the background does, or nothing moves there.
    """
    nothing = np.zeros(len(regions))
    share_moved = _moved_like(motion, point)
    if share_moved is None:
        return nothing
    together = share_moved > SHARED_FATE
    _, parts = cv2.connectedComponents(together.astype(np.uint8))
    along = together & (parts == parts[point[1], point[0]])
    if not along.any():
        return nothing
    _, contact, _, _ = SCORE_WEIGHTS * describe_region(image, along)
    hits = [2 * float((region & along).sum()) / float(region.sum() + along.sum()) for region in regions]
    return np.asarray(np.array(hits) * max(0.0, 1 + contact), dtype=np.float64)


def _moved_like(motion: Motion, point: Point) -> NDArray[np.float32] | None:
    """(H, W) how far each pixel moves, 0 like most of the frame, 1 like a point; None where that stands."""
    side = max(motion.features.shape[:2])
    moved = cv2.GaussianBlur(motion.features[..., 2], (0, 0), max(_LEAST_BLUR, side / USUAL_SIDE * 4))
    reach = max(1, side // 32)
    rows, columns = (slice(max(0, place - reach), place + reach + 1) for place in (point[1], point[0]))
    still = float(np.median(moved))
    rise = float(np.median(moved[rows, columns])) - still
    return None if rise < LEAST_RISE else np.asarray((moved - still) / rise, dtype=np.float32)


def agreement(regions: Sequence[FrameMask]) -> NDArray[np.float64]:
    """(N,) mean IoU of each of N regions with all of them: what many ways lead to is seldom an accident."""
    flat = np.stack([region.ravel() for region in regions]).astype(np.float64)
    common = flat @ flat.T
    areas = np.diag(common)
    return np.asarray((common / (areas[:, None] + areas - common)).mean(axis=1), dtype=np.float64)


def _counted(part: FrameMask) -> NDArray[np.float32]:
    return part.astype(np.float32)


def _standardised(values: NDArray[np.float32], least: float) -> NDArray[np.float32]:
    flat = values.reshape(-1, values.shape[-1])
    return np.asarray((values - flat.mean(axis=0)) / (flat.std(axis=0) + least), dtype=np.float32)


GROWING_RADII = (0.05, 0.07, 0.1, 0.14, 0.2)
"""Of the discs round a click that regions grow from, as shares of the image's long side."""
AGREEMENT_WEIGHT = 1.0
"""Of the agreement with the other regions, against how much a region looks like an object. What moves along
with the click counts as much: it is one more opinion."""

_OVERSIZED = 1e3
"""Taken off the rank of a region larger than the click allows."""


def region_at(image: Frame, *, point: Point, motion: Motion | None, largest: float = 1.0) -> FrameMask:
    """The best-looking region round a point.

    Args:
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        point: in pixels.
        motion: of the image; None where it is unknown.
        largest: share of the frame; larger regions count only where there is no other.

    Returns:
        (H, W) bool, connected, with the point.
    """
    features, side = describe_frame(image, motion=motion), max(image.shape[:2])
    regions = [
        grown_from(image, features=features, point=point, radius=radius * side) for radius in GROWING_RADII
    ]
    opinions = np.zeros(len(regions))
    if motion is not None:
        regions += moving_regions(image, motion=motion, point=point)
        opinions = fate(regions, image=image, motion=motion, point=point)
    looks = np.array([score_region(image, region, motion=motion) for region in regions])
    ranks = looks + AGREEMENT_WEIGHT * (agreement(regions) + opinions)
    ranks[[region.mean() > largest for region in regions]] -= _OVERSIZED
    return regions[int(np.argmax(ranks))]


FIT_WEIGHT = 1.0
"""What it counts that a region reaches all four sides, against the edges along its outline."""
SMALLEST_SHARE = 0.1
"""A colour that also fills the surroundings leaves less of the box than this."""

_ROUNDS = 4

Corners = tuple[int, int, int, int]
"""Left, top, right, bottom, the last two exclusive."""


def object_in_box(image: Frame, box: Box, *, motion: Motion | None) -> FrameMask:
    """What differs inside a box from what lies outside it.

    Args:
        image: (H, W, 3) uint8 RGB, a side of at most a few hundred pixels.
        box: round the object, as tight as a user draws it.
        motion: of the image; None where it is unknown.

    Returns:
        (H, W) bool; the ellipse in the box where nothing in it differs.
    """
    height, width = image.shape[:2]
    x0, y0 = max(0, int(box.x0)), max(0, int(box.y0))
    corners = x0, y0, min(width, max(x0 + 1, round(box.x1))), min(height, max(y0 + 1, round(box.y1)))
    candidates = [_cut_inside(image, corners)]
    if motion is not None:
        moving = _cut_inside(motion.picture, corners)
        candidates += [moving, moving & candidates[0]]
    area = (corners[2] - x0) * (corners[3] - y0)
    large = [candidate for candidate in candidates if candidate.sum() > SMALLEST_SHARE * area]
    if not large:
        return _ellipse(image, corners)

    def rank(region: FrameMask) -> float:
        return score_region(image, region, motion=motion, any_size=True) + FIT_WEIGHT * _fit(region, corners)

    return max(large, key=rank)


def _cut_inside(picture: Frame, corners: Corners) -> FrameMask:
    x0, y0, x1, y1 = corners
    labels = np.full(picture.shape[:2], cv2.GC_BGD, np.uint8)
    labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
    return cut(picture, labels, rounds=_ROUNDS)


def _fit(region: FrameMask, corners: Corners) -> float:
    """How much of the box the region's own box fills; it cannot lie outside."""
    _, _, width, height = cv2.boundingRect(region.astype(np.uint8))
    x0, y0, x1, y1 = corners
    return width * height / ((x1 - x0) * (y1 - y0))


def _ellipse(image: Frame, corners: Corners) -> FrameMask:
    x0, y0, x1, y1 = corners
    drawn = np.zeros(image.shape[:2], np.uint8)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), (max(1, (x1 - x0) // 2), max(1, (y1 - y0) // 2))
    cv2.ellipse(drawn, centre, axes, 0, 0, 360, 1, cv2.FILLED)
    return np.asarray(drawn > 0, dtype=np.bool_)
