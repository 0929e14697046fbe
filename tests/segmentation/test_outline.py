"""Cuts along edges, and the outline that follows from the look of an object."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segmentation.embedded.outline import OutlineTracker, cut_by_odds, without_scraps
from tests.segmentation.clips import SIZE, disc, grainy_picture, overlap

X = np.arange(SIZE)[None].repeat(SIZE, axis=0)
STILL = np.zeros((SIZE, SIZE), np.float32)


class TestOutlineTracker:
    def test_an_outline_that_slipped_comes_back(self) -> None:
        mask, moved = disc(), disc(across=52)
        tracker = OutlineTracker(grainy_picture(mask), mask)
        doubtful = np.full_like(STILL, 5)
        found = mask
        for seed in range(1, 5):
            found = tracker.refine(grainy_picture(moved, seed=seed), found, disagreement=doubtful)
        assert overlap(found, moved) > max(0.9, overlap(mask, moved))

    def test_motion_that_agrees_with_itself_is_believed_more(self) -> None:
        mask, moved = disc(), disc(across=52)
        steps = []
        for disagreement in (0.0, 5.0):
            tracker = OutlineTracker(grainy_picture(mask), mask)
            steps.append(
                tracker.refine(grainy_picture(moved), mask, disagreement=STILL + np.float32(disagreement))
            )
        assert overlap(steps[0], mask) > overlap(steps[1], mask)

    @pytest.mark.parametrize("area", [0, 1, SIZE * SIZE])
    def test_what_teaches_nothing_stays_as_it_is(self, area: int) -> None:
        mask = np.arange(SIZE * SIZE).reshape(SIZE, SIZE) < area
        tracker = OutlineTracker(grainy_picture(mask), mask)
        assert np.array_equal(tracker.refine(grainy_picture(mask), mask, disagreement=STILL), mask)


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
        image = grainy_picture(disc())
        odds = np.where(X < 40, 1.0, -1.0).astype(np.float32)
        assert np.array_equal(cut_by_odds(image, odds, undecided=np.zeros((SIZE, SIZE), bool)), X < 40)

    def test_small_parts_go_and_large_ones_stay(self) -> None:
        mask = np.zeros((SIZE, SIZE), bool)
        mask[5:45, 5:45] = mask[60:80, 60:80] = mask[90:93, 5:8] = True
        expected = mask.copy()
        expected[90:93, 5:8] = False
        assert np.array_equal(without_scraps(mask), expected)
        assert not without_scraps(np.zeros((4, 4), bool)).any()
