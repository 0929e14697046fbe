"""What the object looks like against the rest of one frame, learned from a guess of where it is.

Few smooth features on purpose: what is learned from a rough guess must not learn its errors, so that a
piece of the object that the guess leaves out still looks like the object. Works on small images only.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.embedded.appearance import Appearance, PixelFeatures, describe_pixels
from segmentation.base import Frame, FrameMask
from segmentation.blending import signed_depth
from segmentation.embedded.motion import Motion
from segmentation.embedded.outline import cut_by_odds
from segmentation.regions import SCORE_WEIGHTS, describe_region, filled_component

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
