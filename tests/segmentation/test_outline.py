"""The look of an object and the outline that follows from it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.embedded.appearance import Appearance, describe_pixels
from segmentation.embedded.outline import OutlineTracker, cut_by_odds, without_scraps

SIZE = 96
Y, X = np.mgrid[0:SIZE, 0:SIZE]
STILL = np.zeros((SIZE, SIZE), np.float32)


def disc(*, radius: float = 20, across: float = 48) -> NDArray[np.bool_]:
    return np.hypot(X - across, Y - 48) < radius


def picture(mask: NDArray[np.bool_], *, seed: int = 0) -> NDArray[np.uint8]:
    """A brown object on an olive ground, with noise that hides a single pixel's side."""
    noise = np.random.default_rng(seed).normal(0, 25, (*mask.shape, 1))
    colours = np.where(mask[..., None], (150, 100, 70), (110, 115, 70))
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


class TestAppearance:
    def test_tells_the_object_from_its_ground_on_another_frame(self) -> None:
        mask = disc()
        features = describe_pixels(picture(mask))
        looks = Appearance(features[mask], features[~mask])
        moved = disc(across=60)
        lean = looks.resemblance(describe_pixels(picture(moved, seed=1)).reshape(-1, 13)).reshape(SIZE, SIZE)
        assert ((lean > 0) == moved).mean() > 0.95

    def test_learns_a_ground_that_it_has_not_seen_before(self) -> None:
        mask = disc()
        features = describe_pixels(picture(mask))
        looks = Appearance(features[mask], features[~mask])
        # The new ground has a colour between the two known ones, but nearer to the object's.
        new = describe_pixels(np.full((SIZE, SIZE, 3), (140, 104, 70), np.uint8)).reshape(-1, 13)
        before = looks.resemblance(new).mean()
        for _ in range(6):
            looks.add(features[mask], new)
        assert looks.resemblance(new).mean() < before - 0.1
        assert looks.resemblance(features[mask]).mean() > looks.resemblance(new).mean()

    def test_a_larger_scale_sees_larger_surroundings(self) -> None:
        spot = np.zeros((SIZE, SIZE, 3), np.uint8)
        spot[48, 48] = 255
        near, far = (describe_pixels(spot, scale=scale)[48, 48, 3] for scale in (0.5, 2.0))
        assert near > far


class TestOutlineTracker:
    def test_an_outline_that_slipped_comes_back(self) -> None:
        mask, moved = disc(), disc(across=52)
        tracker = OutlineTracker(picture(mask), mask)
        doubtful = np.full_like(STILL, 5)
        found = mask
        for seed in range(1, 5):
            found = tracker.refine(picture(moved, seed=seed), found, disagreement=doubtful)
        assert overlap(found, moved) > max(0.9, overlap(mask, moved))

    def test_motion_that_agrees_with_itself_is_believed_more(self) -> None:
        mask, moved = disc(), disc(across=52)
        steps = []
        for disagreement in (0.0, 5.0):
            tracker = OutlineTracker(picture(mask), mask)
            steps.append(tracker.refine(picture(moved), mask, disagreement=STILL + np.float32(disagreement)))
        assert overlap(steps[0], mask) > overlap(steps[1], mask)

    @pytest.mark.parametrize("area", [0, 1, SIZE * SIZE])
    def test_what_teaches_nothing_stays_as_it_is(self, area: int) -> None:
        mask = np.arange(SIZE * SIZE).reshape(SIZE, SIZE) < area
        tracker = OutlineTracker(picture(mask), mask)
        assert np.array_equal(tracker.refine(picture(mask), mask, disagreement=STILL), mask)


class TestCut:
    def test_the_outline_runs_along_the_edge_where_the_odds_leave_it_open(self) -> None:
        image = np.where(disc()[..., None], (200, 200, 200), (20, 20, 20)).astype(np.uint8)
        inside = disc(radius=16).astype(np.uint8)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(
            1 - inside, cv2.DIST_L2, 5
        )
        odds = (0.3 * depth).astype(np.float32)
        assert overlap(cut_by_odds(image, odds, undecided=np.abs(depth) < 8), disc()) > 0.95

    def test_what_is_decided_stands(self) -> None:
        image = picture(disc())
        odds = np.where(X < 40, 1.0, -1.0).astype(np.float32)
        assert np.array_equal(cut_by_odds(image, odds, undecided=np.zeros((SIZE, SIZE), bool)), X < 40)

    def test_small_parts_go_and_large_ones_stay(self) -> None:
        mask = np.zeros((SIZE, SIZE), bool)
        mask[5:45, 5:45] = mask[60:80, 60:80] = mask[90:93, 5:8] = True
        expected = mask.copy()
        expected[90:93, 5:8] = False
        assert np.array_equal(without_scraps(mask), expected)
        assert not without_scraps(np.zeros((4, 4), bool)).any()
