"""The region that a first click or a box means: grown in several ways, the best-looking chosen.

From a click, regions grow by look and by what moves along; from a box, what differs inside is cut out by
colour, by motion and by both. Works on small images only.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segmentation.base import Frame, FrameMask
from segmentation.clicks import Box
from segmentation.embedded.appearance import USUAL_SIDE, PixelFeatures, describe_frame, resemblance_to
from segmentation.embedded.motion import Motion
from segmentation.embedded.outline import Point, cut, cut_by_odds, filled_component
from segmentation.vision import describe_region, ring_round, signed_depth

GROWING_RADII = (0.05, 0.07, 0.1, 0.14, 0.2)  # Of the discs round a click, of the long side.
GROWING_ROUNDS = 3
GROWING_LOOK = 4.0  # Log odds of a pixel that looks just like the object.
GROWING_PLACE = 0.2  # Log odds of a pixel deep inside the guess: its place says little.
MOVING_SHARES = (0.3, 0.4, 0.5, 0.6)  # Shares of the motion at the click, from which on a pixel moves along.
MOVING_SHARPNESS = 6.0  # Log odds of a pixel that moves as the click does, against one at rest.
LEAST_RISE = 0.3  # Least logarithmic motion at the click over that of the frame, for motion to say anything.
SHARED_FATE = 0.5  # Share of the click's motion from which a pixel moves along in `common_fate`.
SCORE_WEIGHTS = np.array([1.0, -6.0, -0.06, 0.06])  # Of `describe_region`, fitted to true overlaps.
MOTION_WEIGHT = 0.6  # Of the motion contrast with the ring round a region, in the same units.
AGREEMENT_WEIGHT = 1.0  # Of agreement with other regions and common fate, against the score.
FIT_WEIGHT = 1.0  # Weight of reaching all four sides of a box, against the score.
SMALLEST_SHARE = 0.1  # Least share of a box that a region fills.
_LEAST_BLUR = 0.3
_DEEP = 0.5  # Depth, as a share of the root of the area, from which a pixel counts as deep inside.
_CERTAIN_ODDS = 6.0
_FEWEST_PIXELS = 5
_OVERSIZED = 1e3  # Taken off the rank of a region larger than the click allows.
_BOX_ROUNDS = 4
Corners = tuple[int, int, int, int]  # Left, top, right, bottom, the last two exclusive.


def region_at(image: Frame, *, point: Point, motion: Motion | None, largest: float = 1.0) -> FrameMask:
    """The best-looking region round a point: (H, W) bool, connected, with the point.

    A region larger than the share `largest` of the frame is chosen only if there is no other.
    """
    features, side = describe_frame(image, motion=motion), max(image.shape[:2])
    regions = [
        grown_from(image, features=features, point=point, radius=radius * side) for radius in GROWING_RADII
    ]
    opinions = np.zeros(len(regions))
    if motion is not None:
        regions += moving_regions(image, motion=motion, point=point)
        opinions = common_fate(regions, image=image, motion=motion, point=point)
    looks = np.array([score_region(image, region, motion=motion) for region in regions])
    ranks = looks + AGREEMENT_WEIGHT * (agreement(regions) + opinions)
    ranks[[region.mean() > largest for region in regions]] -= _OVERSIZED
    return regions[int(np.argmax(ranks))]


def object_in_box(image: Frame, box: Box, *, motion: Motion | None) -> FrameMask:
    """The (H, W) bool part inside a tight box that differs from all outside it; else the ellipse in it."""
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
        _, _, across, down = cv2.boundingRect(region.astype(np.uint8))
        score = score_region(image, region, motion=motion, any_size=True)
        return score + FIT_WEIGHT * float(across * down / area)

    return max(large, key=rank)


def _cut_inside(picture: Frame, corners: Corners) -> FrameMask:
    x0, y0, x1, y1 = corners
    labels = np.full(picture.shape[:2], cv2.GC_BGD, np.uint8)
    labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
    return cut(picture, labels, rounds=_BOX_ROUNDS)


def _ellipse(image: Frame, corners: Corners) -> FrameMask:
    x0, y0, x1, y1 = corners
    drawn = np.zeros(image.shape[:2], np.uint8)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), (max(1, (x1 - x0) // 2), max(1, (y1 - y0) // 2))
    cv2.ellipse(drawn, centre, axes, 0, 0, 360, 1, cv2.FILLED)
    return np.asarray(drawn > 0, dtype=np.bool_)


def grown_from(image: Frame, *, features: PixelFeatures, point: Point, radius: float) -> FrameMask:
    """The region that a disc round a point grows into: learned, cut, and learned again from the cut.

    (H, W) bool, connected, without holes; it contains the point.
    """
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    region: FrameMask = np.hypot(x - point[0], y - point[1]) < max(2.0, radius)
    for _ in range(GROWING_ROUNDS):
        if region.all():
            break
        depth = signed_depth(region)
        look = resemblance_to(features, (depth > 0).astype(np.float32), (depth < 0).astype(np.float32))
        deep = _DEEP * max(1.0, float(region.sum()) ** 0.5)
        odds = GROWING_LOOK * look + GROWING_PLACE * np.clip(depth / deep, -1, 1)
        odds[point[1], point[0]] = _CERTAIN_ODDS
        grown = filled_component(cut_by_odds(image, odds, undecided=np.ones_like(region)), point)
        if grown.sum() < _FEWEST_PIXELS:
            break
        region = grown
    return region


def moving_regions(image: Frame, *, motion: Motion, point: Point) -> list[FrameMask]:
    """Regions round a point that move against the background, each at least by some share of its motion.

    (H, W) bool each, connected, without holes, with the point; no region if nothing moves there.
    """
    share_moved = _moved_like(motion, point)
    if share_moved is None:
        return []
    regions = []
    for share in MOVING_SHARES:
        odds = np.asarray(MOVING_SHARPNESS * (share_moved - share), dtype=np.float32)
        odds[point[1], point[0]] = _CERTAIN_ODDS
        along = cut_by_odds(image, odds, undecided=np.ones(odds.shape, np.bool_))
        regions.append(filled_component(along, point))
    return [region for region in regions if region.any()]


def _moved_like(motion: Motion, point: Point) -> NDArray[np.float32] | None:
    """(H, W) motion of each pixel, 0 as most of the frame, 1 as the point; None if the point stands still."""
    side = max(motion.features.shape[:2])
    moved = cv2.GaussianBlur(motion.features[..., 2], (0, 0), max(_LEAST_BLUR, side / USUAL_SIDE * 4))
    reach = max(1, side // 32)
    rows, columns = (slice(max(0, place - reach), place + reach + 1) for place in (point[1], point[0]))
    still = float(np.median(moved))
    rise = float(np.median(moved[rows, columns])) - still
    return None if rise < LEAST_RISE else np.asarray((moved - still) / rise, dtype=np.float32)


def common_fate(
    regions: Sequence[FrameMask], *, image: Frame, motion: Motion, point: Point
) -> NDArray[np.float64]:
    """How well each of N regions agrees with what moves along with a point, (N,) F-measures in [0, 1].

    Against the connected part that moves at least half as much as the point does; 0 if that part reaches the
    rim of the frame, as the background does, or nothing moves there.
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


def agreement(regions: Sequence[FrameMask]) -> NDArray[np.float64]:
    """(N,) mean IoU of each of N regions with all: a result of many ways is seldom an accident."""
    flat = np.stack([region.ravel() for region in regions]).astype(np.float64)
    common = flat @ flat.T
    areas = np.diag(common)
    return np.asarray((common / (areas[:, None] + areas - common)).mean(axis=1), dtype=np.float64)


def score_region(image: Frame, mask: FrameMask, *, motion: Motion | None, any_size: bool = False) -> float:
    """How much a region, which is not empty, looks like a whole object; comparable within one image.

    `any_size` ignores size and contact with the frame, because the user's box gives both.
    """
    counts = (1, 0, 0, 1) if any_size else (1, 1, 1, 1)
    look = float(np.dot(SCORE_WEIGHTS * counts, describe_region(image, mask)))
    if motion is None:
        return look
    ring = ring_round(mask)
    return look + MOTION_WEIGHT * motion.contrast(mask.astype(np.uint8), ring) if ring.any() else look
